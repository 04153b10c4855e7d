"""Every model with every task, on every layout of points: laws that hold for all of them, whatever is added."""

import pyarrow as pa
import pytest
import torch

from raysign import config
from raysign.errors import ConfigError
from raysign.kinds import kind_module, kinds
from raysign.learn.labels import Labels
from raysign.learn.recogniser import Recogniser, build
from raysign.skeleton import LAYOUTS, of_parts

SKELETONS = [
    LAYOUTS["hands_42"],
    LAYOUTS["pose_33"],
    of_parts("upper_body", {"pose": tuple(range(17)), "left_hand": tuple(range(21)), "right_hand": tuple(range(21))}),
]
CHANNELS = ("x", "y", "z", "visibility")
LABELS = Labels(list("abcd"), ["vowel", "consonant"])
TOLD = pa.table({
    "gloss": [[gloss] for gloss in "abcdab"],
    "category": ["vowel" if gloss == "a" else "consonant" for gloss in "abcdab"],
})  # fmt: skip
every = pytest.mark.parametrize("kind", kinds("model"))
each_task = pytest.mark.parametrize("task", kinds("task"))
everywhere = pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)


def network(kind: str, task: str, skeleton, *overrides: str) -> Recogniser:
    torch.manual_seed(0)
    tree = config.load(["source.kind=synthetic", f"model.kind={kind}", f"task.kind={task}", *overrides])
    return build(tree, skeleton, CHANNELS, LABELS)


def batch(skeleton, clips: int = 6, persons: int = 2, time: int = 12):
    torch.manual_seed(1)
    frames = torch.tensor([time, 1, 5, 3, 8, 2][:clips])
    return torch.randn(clips, persons, time, skeleton.points, 4), frames, torch.tensor([2, 1, 1, 2, 1, 2][:clips])


def targets(task: str) -> torch.Tensor:
    return kind_module("task", task).targets(TOLD, LABELS)


@every
@each_task
@everywhere
def test_each_parameter_gets_a_gradient(kind, task, skeleton):
    net = network(kind, task, skeleton)
    net.task.loss(net(*batch(skeleton)), targets(task)).sum().backward()
    assert [
        name for name, p in net.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
    ] == []


@every
@each_task
@everywhere
@pytest.mark.parametrize("training", [True, False])
def test_padding_never_changes_what_is_told_of_a_clip(kind, task, skeleton, training):
    net = network(kind, task, skeleton).train(training)
    x, frames, persons = batch(skeleton)
    padded = torch.full((len(x), 3, 31, skeleton.points, 4), 7.0)
    for i in range(len(x)):
        padded[i, : persons[i], : frames[i]] = x[i, : persons[i], : frames[i]]
    torch.manual_seed(2)
    plain = net(x, frames, persons)
    torch.manual_seed(2)
    more = net(padded, frames, persons)
    assert torch.allclose(net.task.probabilities(more), net.task.probabilities(plain), atol=1e-4)
    assert torch.allclose(net.task.loss(more, targets(task)), net.task.loss(plain, targets(task)), atol=1e-3)


@every
@each_task
def test_a_clip_alone_is_told_as_it_is_in_a_batch(kind, task):
    net = network(kind, task, SKELETONS[-1]).eval()
    x, frames, persons = batch(SKELETONS[-1])
    together = net.task.probabilities(net(x, frames, persons))
    assert torch.allclose(together.sum(1), torch.ones(6, dtype=torch.float64))
    for i in range(len(x)):
        alone = net(x[i : i + 1, :, : frames[i]], frames[i : i + 1], persons[i : i + 1])
        assert torch.allclose(net.task.probabilities(alone)[0], together[i], atol=1e-4)


@every
@each_task
def test_a_clip_of_one_frame_has_a_finite_loss(kind, task):
    x, frames, persons = batch(SKELETONS[-1], time=1)
    net = network(kind, task, SKELETONS[-1]).train()
    assert net.task.loss(net(x, frames.clamp(max=1), persons), targets(task)).isfinite().all()


@every
@each_task
def test_one_batch_can_be_learnt_by_heart(kind, task):
    net, clips = network(kind, task, SKELETONS[0]), batch(SKELETONS[0])
    for layer in net.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        logits = net(*clips)
        if net.task.sums(logits, targets(task))["top1"].all():
            return
        net.task.loss(logits, targets(task)).sum().backward()
        optimizer.step()
    pytest.fail("not learnt in 100 steps")


@every
@each_task
def test_saved_and_loaded_weights_tell_the_same(kind, task, tmp_path):
    net, clips = network(kind, task, SKELETONS[0]).eval(), batch(SKELETONS[0])
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    other = network(kind, task, SKELETONS[0])
    for p in other.parameters():
        torch.nn.init.zeros_(p)
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(other.eval()(*clips), net(*clips))


@each_task
def test_metrics_are_those_that_are_told(task):
    net = network(kinds("model")[0], task, SKELETONS[0])
    sums = net.task.sums(net(*batch(SKELETONS[0])), targets(task))
    assert set(sums) == {*net.task.METRICS, *getattr(net.task, "PER", {}).values()} >= {"loss", "top1"}
    assert all(value.shape == (6,) for value in sums.values())


def test_an_encoder_can_be_given_some_of_the_channels():
    tree = config.load(["source.kind=synthetic", "model.inputs=[y, x]"])
    net = build(tree, SKELETONS[0], CHANNELS, Labels(["a", "b"])).eval()
    x, frames, persons = batch(SKELETONS[0])
    plain = net(x, frames, persons)
    x[..., 2:] = 9
    assert torch.equal(net(x, frames, persons), plain)
    assert not torch.equal(net(x[..., [1, 0, 2, 3]], frames, persons), plain)
    with pytest.raises(ConfigError, match=r"model.inputs: found 'w', expected some of x, y, z, visibility"):
        build(config.load(["source.kind=synthetic", "model.inputs=[w]"]), SKELETONS[0], CHANNELS, Labels(["a", "b"]))


def test_an_encoder_can_be_given_all_but_some_of_the_channels():
    trees = [
        config.load(["source.kind=synthetic", f"model.inputs={names}"]) for names in ("[x, y, z]", "[-visibility]")
    ]
    some, but = trees
    x, frames, persons = batch(SKELETONS[0])
    torch.manual_seed(0)
    named = build(some, SKELETONS[0], CHANNELS, LABELS).eval()(x, frames, persons)
    torch.manual_seed(0)
    assert torch.equal(build(but, SKELETONS[0], CHANNELS, LABELS).eval()(x, frames, persons), named)
    for names, said in {
        "[-visibilty]": "did you mean 'visibility'",
        "[-x, -y, -z, -visibility]": "none of the channels",
        "[x, -y]": "not both",
    }.items():
        with pytest.raises(ConfigError, match=said):
            build(config.load(["source.kind=synthetic", f"model.inputs={names}"]), SKELETONS[0], CHANNELS, LABELS)
