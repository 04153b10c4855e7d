"""Layers that encoders share."""

import pytest
import torch

from raysign.kinds import kind_module
from raysign.models._layers import MaskedBatchNorm, RowDropout, merge_frames
from raysign.skeleton import Skeleton


def given_to(kind: str, x: torch.Tensor, skeleton: Skeleton) -> torch.Tensor:
    """What an encoder makes of x (1, T, V, 4) before it looks at it, (1, T, V, C)."""
    module, given = kind_module("model", kind), []
    encoder = module.Encoder(module.Options(), skeleton, ("x", "y", "z", "visibility"))
    encoder.input.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    encoder(x, torch.ones(x.shape[:2], dtype=torch.bool))
    return given[0].unflatten(2, (skeleton.points, -1))


def test_bones_point_from_seen_parents_to_seen_points():
    x = torch.tensor([[1.0, 2.0, 3.0, 0.9], [1.5, 2.0, 2.0, 0.8], [0.0, 0.0, 0.0, 0.0], [4.0, 4.0, 4.0, 1.0]])
    chain = Skeleton("chain", (("body", 4),), ((0, 1), (1, 2), (2, 3)))
    found = given_to("stgcn", x.view(1, 1, 4, 4), chain)[0, 0, :, :3]
    assert found.tolist() == [[0, 0, 0], [0.5, 0, -1], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("kind", ["stgcn", "conv_transformer"])
def test_a_point_may_be_seen_at_the_origin(kind):
    pair = Skeleton("pair", (("body", 2),), ((0, 1),))
    x = torch.tensor([[[0.0, 0.0, 0.0, 0.9], [1.0, 2.0, 3.0, 0.8]], [[5.0, 6.0, 7.0, 0.9], [0.0, 0.0, 0.0, 0.0]]])
    found = given_to(kind, x[None], pair)[0, 0]
    for length in (1, 2, 3):
        assert (found[1] == length).sum() == 2  # the place, and the bone from the origin to it
    if kind == "conv_transformer":
        assert {5, 6, 7} <= set(found[0].tolist())  # the way from the origin


def test_without_bones_in_the_skeleton_there_are_no_channels_of_them():
    loose = Skeleton("loose", (("body", 3),), ())
    x = torch.randn(1, 2, 3, 4)
    assert torch.equal(given_to("stgcn", x, loose), x)


def test_masked_normalisation_of_a_full_batch_is_batch_normalisation():
    ours, theirs = MaskedBatchNorm(5), torch.nn.BatchNorm1d(5)
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


def test_dropout_strikes_a_feature_in_all_frames_and_the_same_ones_whatever_the_persons():
    layer, x = RowDropout(0.5), torch.ones(6, 5, 3, 40)
    torch.manual_seed(0)
    one = layer(x)
    assert set(one.unique().tolist()) == {0.0, 2.0}
    assert (one == one[:, :1, :1]).all()
    layer.persons = 2
    torch.manual_seed(0)
    assert torch.equal(layer(x.repeat_interleave(2, 0))[::2], one)


@pytest.mark.parametrize("between", [(), (4,)])
@pytest.mark.parametrize("features", [1, 5])
def test_gradients_of_masked_normalisation_are_those_of_its_formula(between, features):
    layer = MaskedBatchNorm(features)
    for value in (layer.weight, layer.bias):
        torch.nn.init.normal_(value)
    x = (torch.randn(3, 6, *between, features) * 3 + 2).requires_grad_()
    mask, wanted = torch.arange(6) < torch.tensor([[6], [2], [4]]), torch.randn_like(x)
    real, others = x[mask].flatten(0, -2), (layer.weight, layer.bias, x)
    variance, mean = torch.var_mean(real, 0, correction=0)
    expected = (x - mean) / (variance + layer.eps).sqrt() * layer.weight + layer.bias
    found = layer(x, mask)
    assert torch.allclose(found, expected, atol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad((found * wanted).sum(), others), torch.autograd.grad((expected * wanted).sum(), others),
        strict=True,
    ):  # fmt: skip
        assert torch.allclose(ours, theirs, atol=1e-4)
