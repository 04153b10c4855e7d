"""Learning rates, the best epoch and what follows from it, averaged weights: held against torch's own."""

import copy

import numpy as np
import pytest
import torch
from made_clips import settings

from raysign import config
from raysign.errors import ConfigError
from raysign.learn import best, optimizer
from raysign.learn.tasks import classification


def train(*overrides: str) -> config.Train:
    return config.load(["source.kind=synthetic", *overrides]).train


def rates(told: config.Train, steps: int = 100) -> list[float]:
    return [optimizer.rate_at(step, steps, told) for step in range(steps + 1)]


@pytest.mark.parametrize("schedule", ["cosine", "step", "plateau", "constant"])
@pytest.mark.parametrize("lr", ["1e-3", "1e-6"])
def test_the_rate_rises_over_the_warm_up_and_never_again(schedule, lr):
    told = train(f"train.schedule={schedule}", "train.steps=[30]", f"train.lr={lr}")
    found = rates(told)
    assert found[0] < found[4] < found[5] == pytest.approx(told.lr)
    assert found[5:] == sorted(found[5:], reverse=True)


def test_the_cosine_ends_at_its_least_rate():
    assert rates(train())[100] == pytest.approx(train().min_lr)


def test_steps_are_those_of_torch():
    told = train("train.schedule=step", "train.steps=[3, 7]", "train.epochs=10", "train.warmup=0", "train.gamma=0.2")
    sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=told.lr)
    schedule = torch.optim.lr_scheduler.MultiStepLR(sgd, [3, 7], gamma=0.2)
    for epoch in range(10):
        assert optimizer.rate_at(epoch * 4 + 3, 40, told) == pytest.approx(schedule.get_last_lr()[0])
        sgd.step()
        schedule.step()


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_plateaus_are_those_of_torch(patience):
    values = np.random.default_rng(patience).integers(0, 20, 60).astype(float)
    told = train("train.schedule=plateau", "train.warmup=0", "train.min_lr=1e-6", "train.factor=0.5")
    sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=told.lr)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        sgd, "max", factor=0.5, patience=patience, threshold=0, min_lr=1e-6, eps=0
    )
    scores = []
    for value in values:
        scores.append((value, 0.0))
        schedule.step(value)
        falls = best.falls(scores, patience)
        assert optimizer.rate_at(0, 1, told, falls) == pytest.approx(schedule.get_last_lr()[0])
    assert best.falls(scores, patience) > 2


def test_steps_without_their_epochs_are_refused():
    with pytest.raises(ConfigError, match=r"train\.steps: found \(\); expected the epochs"):
        train("train.schedule=step")


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_only_what_is_no_bias_and_no_scale_is_decayed(kind):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    before = copy.deepcopy(network.state_dict())
    made = optimizer.optimizer(train(f"train.optimizer={kind}", "train.weight_decay=0.5"), network)
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    made.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"0.weight"}


def test_what_is_frozen_is_not_the_optimizers(tmp_path):
    network = torch.nn.Linear(3, 4)
    network.bias.requires_grad_(False)
    groups = optimizer.optimizer(settings(tmp_path).train, network).param_groups
    assert [len(group["params"]) for group in groups] == [1, 0]


# ---------------------------------------------------------------- the best epoch


def test_the_best_epoch_is_the_first_of_the_highest_scores():
    assert best.epoch_of([]) == 0
    assert best.epoch_of([(0.5, -2.0), (0.5, -1.0), (0.5, -1.0), (0.4, 0.0)]) == 2


def test_a_training_ends_so_many_epochs_after_its_best_one():
    told, scores = train("train.patience=3"), [(value, 0.0) for value in (0.1, 0.4, 0.2, 0.3, 0.4, 0.9)]
    assert [bool(best.ended(told, scores[:count], 1)) for count in range(1, 6)] == [False, False, False, False, True]
    assert best.ended(told, scores[:5], 1) == "no better val/top1 for 3 epochs"


def test_a_training_ends_when_it_is_good_enough_whichever_way_good_is():
    assert best.ended(train("train.stop_at=0.5"), [(0.4, 0.0)], 1) == ""
    assert best.ended(train("train.stop_at=0.5"), [(0.5, 0.0)], 1) == "val/top1 is as good as 0.5"
    loss = train("train.stop_at=0.5", "train.best=val/loss")
    sign = best.sign(classification.Task, "val/loss")
    assert best.ended(loss, [best.score({"train/loss": 0, "val/loss": 0.6}, "val/loss", sign)], sign) == ""
    assert best.ended(loss, [best.score({"train/loss": 0, "val/loss": 0.4}, "val/loss", sign)], sign) != ""


def test_a_task_says_of_which_metrics_less_is_better():
    class Task:
        LOWER = ("errors",)

    assert [best.sign(Task, f"val/{name}") for name in ("category_loss", "errors", "top1")] == [-1, -1, 1]


@pytest.mark.parametrize("told", ["train.patience=2", "train.stop_at=0.5", "train.schedule=plateau"])
def test_nothing_goes_by_validation_clips_that_are_not_there(told):
    with pytest.raises(ConfigError, match="no validation clips"):
        best.check(train(told), ("loss", "top1"), validated=False)
    best.check(train(told, "train.best=train/loss"), ("loss", "top1"), validated=False)
    best.check(train(told), ("loss", "top1"), validated=True)


# ---------------------------------------------------------------- averaged weights


def test_averaged_weights_are_the_weighted_mean_of_all_the_weights_there_were():
    network = torch.nn.BatchNorm1d(2)
    averaged, expected = copy.deepcopy(network), network.weight.detach().clone()
    for step in range(30):
        torch.nn.init.normal_(network.weight)
        network.running_mean += 1  # pyright: ignore[reportOperatorIssue]
        network.num_batches_tracked += 1  # pyright: ignore[reportOperatorIssue]
        optimizer.follow(averaged, network, 0.7, step)
        keep = min(0.7, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * network.weight.detach()
    assert torch.allclose(averaged.weight, expected)
    assert averaged.num_batches_tracked == 30
    assert torch.all(averaged.running_mean < network.running_mean)  # pyright: ignore
