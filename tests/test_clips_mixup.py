"""Laws of mixup."""

from dataclasses import replace

import pytest
import torch

from raysign.clips.augment.mixup import mixup, shares
from raysign.clips.batch import Batch


def batch(seed: int, frames: list[int], persons: list[int]) -> Batch:
    """Clips of 6 points, of which the last is never seen."""
    x = torch.rand(len(frames), max(persons), max(frames), 6, 4, generator=torch.Generator().manual_seed(seed)) + 0.1
    x[..., 5, :] = 0
    steps, people = torch.arange(max(frames)), torch.arange(max(persons))
    lengths, counts = torch.tensor(frames), torch.tensor(persons)
    inside = (steps < lengths[:, None])[:, None] & (people < counts[:, None])[:, :, None]
    return Batch(x * inside[..., None, None], lengths, counts, torch.arange(len(frames)), len(frames))


FIRST, SECOND = batch(1, [5, 9, 1], [1, 2, 1]), batch(2, [8, 3, 4], [2, 1, 1])


def test_a_clip_mixed_with_itself_stays_as_it_is():
    assert torch.allclose(mixup(FIRST, FIRST, torch.full((3,), 0.3)).x, FIRST.x, atol=1e-6)


def test_what_is_mixed_lasts_as_long_as_the_first_and_shows_everyone():
    assert mixup(FIRST, SECOND, torch.full((3,), 0.3)).persons.tolist() == [2, 2, 1]
    ramp, flat = batch(1, [20], [1]), batch(2, [10], [1])
    ramp.x[..., :5, :] = torch.arange(1.0, 21)[:, None, None]
    mixed = mixup(flat, ramp, torch.full((1,), 0.001)).x[0, 0, :, 0, 0]
    assert torch.allclose(mixed, torch.arange(1.5, 21, 2), atol=0.05)  # of twice the length, so every other frame


def test_clips_of_one_length_are_averaged_by_their_shares():
    second = batch(3, [5, 9, 1], [1, 2, 1])
    share = torch.tensor([0.2, 0.5, 0.9])[:, None, None, None, None]
    assert torch.allclose(mixup(FIRST, second, share.flatten()).x, share * FIRST.x + (1 - share) * second.x, atol=1e-6)


def test_a_point_that_one_does_not_see_is_where_the_other_sees_it():
    blind = replace(FIRST, x=FIRST.x * (torch.arange(6) != 2)[:, None])
    assert torch.allclose(mixup(FIRST, blind, torch.full((3,), 0.3)).x, FIRST.x, atol=1e-6)
    assert torch.allclose(mixup(blind, FIRST, torch.full((3,), 0.3)).x, FIRST.x, atol=1e-6)


def test_what_neither_sees_and_what_lies_outside_stays_zero():
    mixed = mixup(FIRST, SECOND, torch.full((3,), 0.3)).x
    assert not mixed[..., 5, :].any()
    assert not mixed[0, :, 5:].any()
    assert not mixed[2, 1].any()


@pytest.mark.parametrize("alpha", [0.1, 1.0, 8.0])
def test_shares_follow_their_seed_and_are_even_on_average(alpha):
    drawn = shares(alpha, 4000, 1, 2)
    assert torch.equal(drawn, shares(alpha, 4000, 1, 2))
    assert not torch.equal(drawn, shares(alpha, 4000, 1, 3))
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.03)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
    assert drawn.min() > 0 and drawn.max() < 1
