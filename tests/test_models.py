"""Every model, on every layout of points: laws that hold for all of them, whatever is added."""

import pytest
import torch

from raysign.kinds import kind_module, kinds
from raysign.learn.recogniser import Recogniser
from raysign.learn.tasks import classification
from raysign.models import stgcn
from raysign.models._layers import MaskedBatchNorm, merge_frames
from raysign.skeleton import LAYOUTS, of_parts

SKELETONS = [
    LAYOUTS["hands_42"],
    LAYOUTS["pose_33"],
    of_parts("upper_body", {"pose": tuple(range(17)), "left_hand": tuple(range(21)), "right_hand": tuple(range(21))}),
]
every = pytest.mark.parametrize("kind", kinds("model"))
everywhere = pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)


def network(kind: str, skeleton, labels: int = 4, **task) -> Recogniser:
    torch.manual_seed(0)
    module = kind_module("model", kind)
    encoder = module.Encoder(module.Options(), skeleton, 4)
    return Recogniser(
        encoder, classification.Task(classification.Options(**task), encoder.width, list("abcdefgh"[:labels]))
    )


def batch(skeleton, clips: int = 6, persons: int = 2, time: int = 12):
    torch.manual_seed(1)
    frames = torch.tensor([time, 1, 5, 3, 8, 2][:clips])
    return torch.randn(clips, persons, time, skeleton.points, 4), frames, torch.tensor([2, 1, 1, 2, 1, 2][:clips])


@every
@everywhere
def test_each_parameter_gets_a_gradient(kind, skeleton):
    net = network(kind, skeleton)
    net(*batch(skeleton)).square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@every
@everywhere
@pytest.mark.parametrize("training", [True, False])
def test_padding_never_changes_logits(kind, skeleton, training):
    net = network(kind, skeleton).train(training)
    x, frames, persons = batch(skeleton)
    torch.manual_seed(2)
    plain = net(x, frames, persons)
    padded = torch.full((len(x), 3, 31, skeleton.points, 4), 7.0)
    for i in range(len(x)):
        padded[i, : persons[i], : frames[i]] = x[i, : persons[i], : frames[i]]
    torch.manual_seed(2)
    assert torch.allclose(net(padded, frames, persons), plain, atol=1e-4)


@every
def test_a_clip_alone_gets_the_logits_it_has_in_a_batch(kind):
    net = network(kind, SKELETONS[-1]).eval()
    x, frames, persons = batch(SKELETONS[-1])
    together = net(x, frames, persons)
    for i in range(len(x)):
        assert torch.allclose(net(x[i : i + 1, :, : frames[i]], frames[i : i + 1], persons[i : i + 1])[0], together[i],
                              atol=1e-4)  # fmt: skip


@every
def test_a_clip_of_one_frame_has_finite_logits(kind):
    x, frames, persons = batch(SKELETONS[-1], clips=2, time=1)
    assert network(kind, SKELETONS[-1]).train()(x, frames.clamp(max=1), persons).isfinite().all()


@every
def test_one_batch_can_be_learnt_by_heart(kind):
    net, (x, frames, persons) = network(kind, SKELETONS[0], dropout=0.0), batch(SKELETONS[0])
    targets, optimizer = torch.tensor([0, 1, 2, 3, 0, 1]), torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x, frames, persons), targets).backward()
        optimizer.step()
    assert (net(x, frames, persons).argmax(1) == targets).all()


@every
def test_saved_and_loaded_weights_give_equal_logits(kind, tmp_path):
    net, clips = network(kind, SKELETONS[0]).eval(), batch(SKELETONS[0])
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    other = network(kind, SKELETONS[0])
    for p in other.parameters():
        torch.nn.init.zeros_(p)
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(other.eval()(*clips), net(*clips))


def test_bones_point_from_seen_parents_to_seen_points():
    x = torch.tensor([[1.0, 2.0, 3.0, 0.9], [1.5, 2.0, 2.0, 0.8], [0.0, 0.0, 0.0, 0.0], [4.0, 4.0, 4.0, 1.0]])
    found = stgcn.bones(x.view(1, 1, 4, 4), torch.tensor([0, 0, 1, 2]))
    assert found.view(4, 3).tolist() == [[0, 0, 0], [0.5, 0, -1], [0, 0, 0], [0, 0, 0]]


def test_masked_normalisation_of_a_full_batch_is_batch_normalisation():
    ours, theirs = MaskedBatchNorm(5, axis=2), torch.nn.BatchNorm1d(5)
    x = torch.randn(4, 6, 5) * 3 + 10
    out = ours(x, torch.ones(4, 6, dtype=torch.bool))
    assert torch.allclose(out, theirs(x.transpose(1, 2)).transpose(1, 2), atol=1e-5)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.allclose(ours.state_dict()[k], v, atol=1e-5) for k, v in theirs.state_dict().items())


def test_merged_frames_are_means_of_real_frames():
    x, mask = torch.arange(5.0).view(1, 5, 1), torch.tensor([[True, True, True, False, False]])
    merged, real = merge_frames(x, mask, 2, axis=1)
    assert merged.flatten().tolist() == [0.5, 2.0, 0.0]
    assert real.tolist() == [[True, True, False]]
