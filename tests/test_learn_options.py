"""What a training can be told beside its rate: each option does what it says, through the real loop."""

from pathlib import Path

import pytest
import torch
from made_clips import settings, write
from test_learn_loop import fit

from raysign import pipeline, store
from raysign.errors import BundleError, ConfigError, TrainError
from raysign.learn import bundle, checkpoint, compute, distribute, history, transfer
from raysign.learn.tasks import classification


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def trained(clips, tmp_path_factory) -> Path:
    """A bundle."""
    place = tmp_path_factory.mktemp("trained")
    return distribute.train(settings(place, "train.epochs=2"), clips, place / "train")


def newest(directory: Path) -> dict:
    state = checkpoint.newest(directory)
    assert state is not None
    return state


# ---------------------------------------------------------------- how long


def test_a_training_that_gets_no_better_ends_and_is_finished(clips, tmp_path, capsys):
    config = settings(tmp_path, "train.epochs=40", "train.patience=2", "train.lr=0.05", "train.checkpoint_every=50")
    made = distribute.train(config, clips, tmp_path / "train")
    rows, card = history.read_metrics(made.parent), bundle.load(made).card
    assert len(rows) == card["epoch"] + 2 < 40
    assert card["ended"] == "no better val/top1 for 2 epochs"
    assert f"ended after epoch {len(rows)} of 40: no better" in capsys.readouterr().err
    written = store.stamp(made / "weights.pt")
    assert distribute.train(config, clips, tmp_path / "train") == made
    assert store.stamp(made / "weights.pt") == written
    assert fit(config, clips, made.parent) == fit(config, clips, made.parent)  # not an epoch more
    assert len(history.read_metrics(made.parent)) == len(rows)


def test_a_training_that_is_good_enough_ends(clips, tmp_path):
    rows = fit(settings(tmp_path, "train.epochs=25", "train.lr=0.01", "train.stop_at=0.5"), clips, tmp_path / "t")
    assert [row["val/top1"] >= 0.5 for row in rows] == [False] * (len(rows) - 1) + [True]


def test_an_epoch_that_repeats_takes_the_steps_of_several(clips, tmp_path):
    several = fit(settings(tmp_path, "train.epochs=4"), clips, tmp_path / "a")
    twice = fit(settings(tmp_path, "train.epochs=2", "train.repeat=2"), clips, tmp_path / "b")
    for i in (0, 1):
        assert twice[i]["val/loss"] == several[2 * i + 1]["val/loss"]
        assert twice[i]["train/loss"] == pytest.approx(
            (several[2 * i]["train/loss"] + several[2 * i + 1]["train/loss"]) / 2
        )


def test_a_smoke_test_is_one_epoch_over_few_clips_and_leaves_the_bundle_alone(clips, tmp_path):
    config = settings(tmp_path, "train.smoke=true")
    assert config.train.epochs == 1
    made = pipeline._trained(config, clips)
    assert made == config.home / "smoke" / "bundle"
    assert not (config.home / "bundle").exists() and not (config.home / "train").exists()
    state = newest(next((config.home / "smoke" / "train").iterdir()))
    assert state["epoch"] == 1
    assert max(int(s["step"]) for s in state["optimizer"]["state"].values()) == 1


# ---------------------------------------------------------------- steps


@pytest.mark.parametrize("parts", [2, 3, 50])
def test_a_step_in_parts_is_the_step(clips, tmp_path, parts):
    still = ("train.freeze=[encoder]", "task.dropout=0", "train.epochs=3", "train.lr=0.01")  # batch norms see parts
    whole = fit(settings(tmp_path, *still), clips, tmp_path / "a")
    cut = fit(settings(tmp_path, *still, f"train.accumulate={parts}"), clips, tmp_path / "b")
    for one, other in zip(whole, cut, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_each_optimizer_learns(clips, tmp_path, kind):
    lr = "0.1" if kind == "sgd" else "0.01"
    told = (f"train.optimizer={kind}", "train.epochs=12", f"train.lr={lr}", "train.schedule=constant")
    rows = fit(settings(tmp_path, *told), clips, tmp_path / "t")
    assert rows[-1]["train/loss"] < 0.8 * rows[0]["train/loss"]


def test_averaged_weights_are_what_is_evaluated_and_kept(clips, tmp_path):
    fit(settings(tmp_path, "train.ema=0.99", "train.epochs=2", "train.best=train/loss"), clips, tmp_path / "t")
    state = newest(tmp_path / "t")
    assert state["best"]["epoch"] == 2
    plain = fit(settings(tmp_path, "train.epochs=2", "train.best=train/loss"), clips, tmp_path / "u")
    rows = history.read_metrics(tmp_path / "t")
    assert [row["train/loss"] for row in rows] == [row["train/loss"] for row in plain]  # the steps are the same
    assert [row["val/loss"] for row in rows] != [row["val/loss"] for row in plain]
    assert any(not torch.equal(state["averaged"][name], value) for name, value in state["network"].items())
    assert all(torch.equal(state["averaged"][name], value) for name, value in state["best"]["weights"].items())


# ---------------------------------------------------------------- what it begins with


def test_what_is_frozen_stays_as_it_was_statistics_included(clips, tmp_path, trained):
    config = settings(tmp_path, f"train.start_from={trained}", "train.freeze=[encoder]", "train.epochs=2")
    fit(config, clips, tmp_path / "t")
    before, after = bundle.load(trained).network.state_dict(), newest(tmp_path / "t")["network"]
    same = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert same == {name for name in before if name.startswith("encoder.")}


@pytest.mark.parametrize(("pattern", "frozen"), [
    ("1", {"1.weight", "1.bias"}), ("1.", {"1.weight", "1.bias"}), ("1.bias", {"1.bias"}),
    ("*.bias", {f"{i}.bias" for i in range(12)}), ("1*.bias", {f"{i}.bias" for i in (1, 10, 11)}),
])  # fmt: skip
def test_a_part_is_known_by_its_whole_name(pattern, frozen):
    network = torch.nn.Sequential(*[torch.nn.Linear(1, 1) for _ in range(12)])
    transfer.freeze(network, [pattern])
    assert {name for name, p in network.named_parameters() if not p.requires_grad} == frozen


def test_nothing_to_freeze_and_nothing_to_train_are_refused(clips, tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'encoder'"):
        fit(settings(tmp_path, "train.freeze=[encodr]"), clips, tmp_path / "t")
    with pytest.raises(ConfigError, match="nothing is left to train"):
        fit(settings(tmp_path, "train.freeze=['*']"), clips, tmp_path / "t")


def test_a_training_starts_from_what_fits_of_a_bundle_and_tells_the_rest(tmp_path, trained, caplog):
    clips = write(tmp_path / "clips", glosses=4)
    told = ("train.epochs=1", "train.lr=1e-9", "train.min_lr=0", f"train.start_from={trained}")
    fit(settings(tmp_path, *told), clips, tmp_path / "t")
    before, after = bundle.load(trained).network.state_dict(), newest(tmp_path / "t")["network"]
    assert torch.allclose(before["encoder.readout.weight"], after["encoder.readout.weight"], atol=1e-6)
    lines = [record.message for record in caplog.records if str(trained) in record.message]
    assert [("as they begin here" in line, "not taken over" in line) for line in lines] == [
        (True, False),
        (False, True),
    ]
    assert all("task.head.1.weight" in line and "encoder" not in line for line in lines)


def test_what_is_ignored_of_a_bundle_is_not_taken(clips, tmp_path, trained):
    told = ("train.epochs=1", "train.lr=1e-9", "train.min_lr=0", f"train.start_from={trained}")
    fit(settings(tmp_path, *told, "train.ignore=['encoder.*.norm', task]"), clips, tmp_path / "t")
    before, after = bundle.load(trained).network.state_dict(), newest(tmp_path / "t")["network"]
    same = {name for name in before if torch.allclose(before[name].float(), after[name].float(), atol=1e-6)}
    assert "encoder.readout.weight" in same and "task.head.1.weight" not in same


def test_a_training_is_known_by_the_bundle_it_starts_from_wherever_that_lies(tmp_path, trained):
    copy = tmp_path / "copy"
    bundle.load(trained).save(copy)
    keys = {distribute.key_of(settings(tmp_path, *told), "k")
            for told in ((f"train.start_from={trained}",), (f"train.start_from={copy}",), ())}  # fmt: skip
    assert len(keys) == 2
    with pytest.raises(BundleError, match="found no bundle"):
        distribute.key_of(settings(tmp_path, f"train.start_from={tmp_path}"), "k")


def test_a_bundle_that_the_training_would_replace_is_no_start(clips, tmp_path):
    config = settings(tmp_path, f"train.start_from={settings(tmp_path).home / 'bundle'}")
    with pytest.raises(ConfigError, match="is where this bundle goes too"):
        pipeline._trained(config, clips)


def test_a_bundle_of_another_model_is_refused(clips, tmp_path, trained):
    told = (f"train.start_from={trained}", "train.ignore=['*']")
    with pytest.raises(TrainError, match="no weights of this model"):
        fit(settings(tmp_path, *told), clips, tmp_path / "t")


def test_a_task_is_told_of_its_targets_and_its_epochs(clips, tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr(classification.Task, "balance", lambda _, told: heard.append(len(told)), raising=False)
    monkeypatch.setattr(classification.Task, "start", lambda _, *told: heard.append(told), raising=False)
    fit(settings(tmp_path, "train.epochs=3"), clips, tmp_path / "t", last=2)
    fit(settings(tmp_path, "train.epochs=3"), clips, tmp_path / "t")
    assert heard == [24, (0,), (1,), 24, (2,)]


# ---------------------------------------------------------------- how it is computed


@pytest.mark.filterwarnings("ignore")  # of the compiler's own parts
def test_a_compiled_network_takes_the_same_steps_and_its_weights_keep_their_names(tmp_path):
    clips = write(tmp_path / "clips", val=0)  # each graph and each layer takes its seconds to compile
    small = ("model.num_blocks=1", "model.frame_blocks=0", "model.merges=0")
    told = ("train.epochs=1", "train.batch=24", *small)
    plain = fit(settings(tmp_path, *told), clips, tmp_path / "a")
    fast = fit(settings(tmp_path, *told, "train.compile=true"), clips, tmp_path / "b")
    assert fast[0] == pytest.approx(plain[0], rel=1e-3)
    one, other = (newest(tmp_path / name) for name in "ab")
    assert list(one["network"]) == list(other["network"])
    assert list(one["best"]["weights"]) == list(other["best"]["weights"])


def test_without_a_compiler_compiling_is_refused(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match=r"install g\+\+"):
        compute.compiled(torch.nn.Linear(1, 1))


def test_an_operation_with_other_bits_each_time_is_refused_in_a_word():
    said = r"train\.deterministic: put_ does not have .* set train\.device=cpu"
    with pytest.raises(TrainError, match=said), compute.deterministic(True):
        torch.zeros(3).put_(torch.tensor([1]), torch.ones(1))
    assert not torch.are_deterministic_algorithms_enabled()


# ---------------------------------------------------------------- figures by epoch


def test_figures_come_back_as_they_were_written(tmp_path):
    rows = [{"epoch": i, "train/loss": 1 / 3 + i, "train/grad_norm": float("inf")} for i in (1, 2, 3)]
    for row in rows:
        history.append(tmp_path, row)
    assert history.read_metrics(tmp_path) == rows
    history.forget_after(tmp_path, 2)
    assert history.read_metrics(tmp_path) == rows[:2]
    history.append(tmp_path, rows[2])
    assert history.read_metrics(tmp_path) == rows
    history.forget_after(tmp_path, 0)
    assert history.read_metrics(tmp_path) == []


def test_every_torn_file_of_figures_gives_the_whole_rows_before_the_tear(tmp_path):
    rows = [{"epoch": i, "train/loss": i / 7} for i in (1, 2, 3)]
    for row in rows:
        history.append(tmp_path, row)
    whole = (tmp_path / history.FILE).read_bytes()
    for size in range(len(whole)):
        (tmp_path / history.FILE).write_bytes(whole[:size])
        found = history.read_metrics(tmp_path)
        assert found == rows[: len(found)]
        assert len(found) == max(0, whole[:size].count(b"\n") - 1)
