"""Convolution and attention along time."""

import pytest
import torch
from torch import nn

from raysign.errors import ConfigError
from raysign.kinds import validated
from raysign.models import conv_transformer
from raysign.models.conv_transformer import AttentionBlock, ConvBlock, DropPath, Options, motion
from raysign.skeleton import Skeleton


def options(**settings) -> Options:
    return validated(Options, {"dim": 8, "heads": 2, "kernel_size": 5, "dropout": 0.0, **settings}, "model.")


def clips(features: int = 8, frames: int = 9):
    """(h, mask): three clips of 9, 4 and no frames, with numbers beyond their ends as well."""
    torch.manual_seed(0)
    return torch.randn(3, frames, features), torch.arange(frames) < torch.tensor([[frames], [4], [0]])


def test_motion_is_the_way_to_where_the_point_will_be():
    place = torch.tensor([0.0, 1.0, 0.5, 3.5, 6.5, 8.5]).view(1, 6, 1, 1)
    seen = torch.tensor([True, True, False, True, True, False]).view(1, 6, 1, 1)
    assert motion(place, seen, 1).flatten().tolist() == [1, 0, 0, 3, 0, 0]
    assert motion(place, seen, 2).flatten().tolist() == [0, 2.5, 0, 0, 0, 0]
    assert not motion(place, seen, 6).any()
    assert not motion(place, seen, 9).any()


def test_a_convolution_block_on_a_whole_clip_is_one_of_plain_layers():
    block, h = ConvBlock(options()), clips()[0][:1]
    norm, convolution = nn.BatchNorm1d(16), nn.Conv1d(16, 16, 5, padding=2, groups=16, bias=False)
    convolution.weight.data = block.convolution.weight.data[..., 0]
    wide = norm(convolution(nn.functional.silu(block.widen(h)).transpose(1, 2)))
    wide = wide * torch.sigmoid(block.weigh(wide.mean(2)[:, None])).transpose(1, 2)
    expected = h + block.narrow(wide.transpose(1, 2))
    assert torch.allclose(block(h, torch.ones(1, 9, dtype=torch.bool)), expected, atol=1e-5)


def test_attention_on_a_whole_clip_is_that_of_torch():
    block, h = AttentionBlock(options()).eval(), clips()[0][:1]
    theirs = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    theirs.in_proj_weight.data, theirs.out_proj.weight.data = block.qkv.weight.data, block.projection.weight.data
    with torch.no_grad():
        block.narrow.weight.zero_()
    normal = block.norms[0](h, torch.ones(1, 9, dtype=torch.bool))
    expected = h + theirs(normal, normal, normal)[0]
    assert torch.allclose(block(h, torch.ones(1, 9, dtype=torch.bool)), expected, atol=1e-5)


@pytest.mark.parametrize("block", [ConvBlock, AttentionBlock])
@pytest.mark.parametrize("training", [True, False])
def test_a_clip_without_frames_stays_finite_and_moves_nothing(block, training):
    layer, (h, mask) = block(options()).train(training), clips()
    more = layer(h, mask)
    assert more.isfinite().all()
    assert torch.allclose(more[:2], layer(h[:2], mask[:2]), atol=1e-5)


def test_a_causal_convolution_never_looks_ahead():
    h, mask = clips(frames=12)
    later = h.clone()
    later[:, 7:] += 1
    mask = torch.ones_like(mask)
    for causal in (True, False):
        block = ConvBlock(options(causal=causal)).eval()
        with torch.no_grad():
            block.weigh.weight.zero_()  # what the clip holds as a whole looks ahead by its nature
        assert torch.allclose(block(h, mask)[:, :7], block(later, mask)[:, :7], atol=1e-6) == causal


def test_a_kernel_may_be_even():
    h, mask = clips()
    assert ConvBlock(options(kernel_size=4))(h, mask).shape == h.shape


def test_a_path_is_left_out_for_whole_clips():
    torch.manual_seed(0)
    found = DropPath(0.5)(torch.ones(64, 3, 5)).flatten(1)
    assert (found == found[:, :1]).all()
    assert set(found.unique().tolist()) == {0.0, 2.0}


def test_a_dimension_that_heads_cannot_share_is_refused():
    with pytest.raises(ConfigError, match=r"model.heads: found 3; expected a number that divides model.dim, 8"):
        options(heads=3)


def test_the_points_of_the_competition_are_given_as_its_winner_had_them():
    points = Skeleton("winner", (("lips", 40), ("hands", 42), ("nose", 4), ("eyes", 32)), ())
    net = conv_transformer.Encoder(validated(Options, {"bones": False}), points, ("x", "y"))
    assert net.stem.in_features == 708
