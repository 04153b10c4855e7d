"""Tasks that name one class of a clip: what each setting of the loss does, and what cannot be trained on."""

import pyarrow as pa
import pytest
import torch

from raysign import config
from raysign.errors import ConfigError, TrainError
from raysign.kinds import kind_module
from raysign.learn.labels import Labels
from raysign.learn.tasks import _head, two_heads

LABELS = Labels(list("abcd"), ["vowel", "consonant"])
both = pytest.mark.parametrize("kind", ["classification", "two_heads"])


def task(kind: str, *overrides: str):
    torch.manual_seed(0)
    settings = [f"task.{setting}" for setting in ("label_smoothing=0", *overrides)]
    tree = config.load(["source.kind=synthetic", f"task.kind={kind}", *settings])
    return kind_module("task", kind).Task(tree.task, 8, LABELS)


def told(kind: str, glosses: str = "aabacbd") -> torch.Tensor:
    rows = {"gloss": [[g] for g in glosses], "category": ["vowel" if g == "a" else "consonant" for g in glosses]}
    return kind_module("task", kind).targets(pa.table(rows), LABELS)


def logits(kind: str, clips: int = 7) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(clips, 4 if kind == "classification" else 6) * 3


@both
def test_focal_loss_without_gamma_is_cross_entropy(kind):
    plain = task(kind).loss(logits(kind), told(kind))
    assert torch.equal(task(kind, "loss=focal", "gamma=0").loss(logits(kind), told(kind)), plain)


def test_focal_loss_is_the_smaller_the_surer_a_clip_is_told():
    x, t = logits("classification"), told("classification")
    ratio = task("classification", "loss=focal").loss(x, t) / task("classification").loss(x, t)
    assert torch.allclose(ratio, (1 - torch.softmax(x, 1).gather(1, t[:, None])[:, 0]) ** 2, atol=1e-5)


@both
def test_what_is_told_without_any_doubt_leaves_finite_gradients_of_the_focal_loss(kind):
    sure = torch.nn.functional.one_hot(told("classification"), 4 if kind == "classification" else 6) * 200.0
    sure.requires_grad_()
    task(kind, "loss=focal", "gamma=0.5").loss(sure, told(kind)).sum().backward()
    assert sure.grad is not None
    assert sure.grad.isfinite().all()


@both
def test_class_weights_of_even_counts_change_nothing_and_others_make_classes_count_alike(kind):
    weighted, even = task(kind, "class_weights=true"), told(kind, "abcd")
    if kind == "two_heads":
        even[:, 1] = torch.tensor([0, 1, 0, 1])
    weighted.balance(even)
    assert torch.equal(weighted.loss(logits(kind), told(kind)), task(kind).loss(logits(kind), told(kind)))
    weighted.balance(told(kind))
    one = torch.zeros_like(logits(kind))  # the same loss for each clip, but for the weights
    per_clip, classes = weighted.loss(one, told(kind)), told("classification")
    assert torch.isclose(per_clip.mean(), task(kind).loss(one, told(kind)).mean())
    if kind == "classification":
        sums = torch.zeros(4).index_add(0, classes, per_clip)
        assert torch.allclose(sums, sums[:1])
    assert weighted.state_dict().keys() == task(kind).state_dict().keys()


def test_the_loss_of_two_heads_is_that_of_each_times_its_weight():
    x, t = logits("two_heads"), told("two_heads")
    losses = torch.nn.functional.cross_entropy
    gloss, category = losses(x[:, :4], t[:, 0], reduction="none"), losses(x[:, 4:], t[:, 1], reduction="none")
    assert torch.allclose(task("two_heads", "alpha=0.8", "beta=0.2").loss(x, t), 0.8 * gloss + 0.2 * category)
    sums = task("two_heads", "alpha=0.8", "beta=0.2", "curriculum=gloss_first").sums(x, t)
    assert torch.allclose(sums["loss"], 0.8 * gloss + 0.2 * category)
    assert torch.allclose(sums["category_loss"], category)
    assert sums["category_top1"].tolist() == (x[:, 4:].argmax(1) == t[:, 1]).float().tolist()


def test_the_category_is_told_by_name():
    x = torch.tensor([[0.0, 0, 0, 9, 1, 2], [0, 0, 0, 9, 3, 2]])
    assert task("two_heads").told(x) == [{"predicted_category": "consonant"}, {"predicted_category": "vowel"}]


def test_learnt_weights_go_to_one_over_the_loss_of_each_head():
    net, x, t = task("two_heads", "weighting=uncertainty"), logits("two_heads"), told("two_heads")
    optimizer = torch.optim.Adam([net.log_variances], lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        net.loss(x, t).mean().backward()
        optimizer.step()
    fixed = [task("two_heads", *only).loss(x, t).mean() for only in (("alpha=1", "beta=0"), ("alpha=0", "beta=1"))]
    # the derivative of exp(-s) L + s / 2 is 0 where exp(-s) = 1 / (2 L)
    assert torch.allclose(torch.exp(-net.log_variances), 1 / (2 * torch.stack(fixed)), rtol=1e-2)


def test_a_worker_without_a_clip_has_a_gradient_for_each_parameter():
    net = task("two_heads", "weighting=uncertainty")
    (net(torch.randn(1, 3, 8), torch.ones(1, 3, dtype=torch.bool)).sum() * 0).backward()
    assert all(p.grad is not None and not p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("rise", two_heads.RISE)
@pytest.mark.parametrize("kind", ["gloss_first", "category_first", "dynamic"])
def test_a_curriculum_goes_steadily_from_one_head_to_what_is_told(kind, rise):
    settings = ["alpha=0.6", "beta=0.3", f"curriculum={kind}", f"curriculum_rise={rise}", "curriculum_epochs=4"]
    net, weights = task("two_heads", *settings, "curriculum_warmup=3"), []
    for epoch in range(12):
        net.start(epoch)
        weights.append(net.weights)
    assert [sum(pair) for pair in weights] == pytest.approx([0.9] * 12)
    begun = 3 if kind == "dynamic" else 0
    assert weights[:begun] == [(0.6, 0.3)] * begun
    assert weights[begun + 4 :] == [(0.6, 0.3)] * (8 - begun)
    small = [pair[kind == "gloss_first"] for pair in weights[begun : begun + 5]]
    assert small[0] == pytest.approx(0.09)
    assert small == sorted(set(small))


def test_weights_that_say_nothing_or_two_things_are_refused():
    with pytest.raises(ConfigError, match="alpha and beta are both 0"):
        task("two_heads", "alpha=0", "beta=0")
    with pytest.raises(ConfigError, match="curriculum dynamic sets the weights that uncertainty learns"):
        task("two_heads", "curriculum=dynamic", "weighting=uncertainty")


@pytest.mark.parametrize(
    ("category", "said"),
    [(None, "a clip of 'a' without a category"), ("vowl", "no training clip.*did you mean 'vowel'")],
)
def test_a_clip_without_a_known_category_is_told(category, said):
    with pytest.raises(TrainError, match=said):
        two_heads.targets(pa.table({"gloss": [["a"]], "category": [category]}), LABELS)


def test_of_glosses_told_alike_the_first_comes_first():
    sums = task("classification").sums(torch.zeros(4, 4), torch.tensor([0, 1, 2, 3]))
    assert sums["top1"].tolist() == [1, 0, 0, 0]


def test_label_smoothing_spreads_its_share_over_all_glosses():
    x, t = logits("classification"), told("classification")
    logs = torch.log_softmax(x, 1)
    expected = -(0.7 * logs.gather(1, t[:, None])[:, 0] + 0.3 * logs.mean(1))
    assert torch.allclose(task("classification", "label_smoothing=0.3").loss(x, t), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["mean", "max", "mean_max"])
def test_real_frames_alone_are_pooled(kind):
    torch.manual_seed(0)
    h, lengths = torch.randn(3, 5, 2), [5, 2, 0]
    found = _head.pool(h, torch.arange(5) < torch.tensor(lengths)[:, None], kind)
    for row, clip, length in zip(found, h, lengths, strict=True):
        real = clip[:length]
        mean, highest = (real.mean(0), real.amax(0)) if length else (torch.zeros(2), torch.zeros(2))
        expected = {"mean": mean, "max": highest, "mean_max": torch.cat([mean, highest])}[kind]
        assert torch.allclose(row, expected, atol=1e-6)
