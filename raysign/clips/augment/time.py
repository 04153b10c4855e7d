"""Changes in time: which frames a clip has, and when. (B, M, T, V, C) to another T; zeros outside a clip stay zeros."""

from dataclasses import replace

import torch

from raysign import config
from raysign.clips.augment.draws import Draws, below
from raysign.clips.augment.occlusion import seen
from raysign.clips.batch import Batch


def changed(batch: Batch, options: config.Augment, draw: Draws) -> Batch:
    """The batch with every change in time that is switched on."""
    if options.crop:
        batch = cropped(batch, options.crop, draw)
    if options.time_stretch or options.time_shift:
        batch = replayed(batch, options.time_stretch, options.time_shift, draw)
    if options.sample:
        batch = sampled(batch, options.sample, draw)
    if options.window:
        batch = windowed(batch, options.window, draw)
    return batch


def cropped(batch: Batch, most: float, draw: Draws) -> Batch:
    """Clips without up to a share `most` of their frames, at both ends together."""
    frames = (batch.frames * (1 - most * draw("crop"))).ceil().long().clamp(min=1)
    first = below(draw("crop_start"), batch.frames - frames + 1)
    steps = torch.arange(int(frames.max()), device=frames.device)
    inside = steps < frames[:, None]
    x = taken(batch.x, torch.where(inside, first[:, None] + steps, 0))
    return replace(batch, x=x * inside[:, None, :, None, None], frames=frames)


def replayed(batch: Batch, stretch: float, shift: float, draw: Draws) -> Batch:
    """Clips played slower or faster and moved along time; the first or last frame stands where none is left."""
    old = batch.frames
    frames = (old * (1 + draw.either_way("stretch", stretch))).round().long().clamp(min=1)
    return replace(batch, x=played(batch, frames, draw.either_way("move", shift) * old), frames=frames)


def played(batch: Batch, frames: torch.Tensor, move: torch.Tensor | float = 0.0) -> torch.Tensor:
    """Clips (B, M, S, V, C) that last `frames` (B,), S the longest of them; `move` (B,): frames they begin later."""
    steps, old = torch.arange(int(frames.max()), device=frames.device), batch.frames[:, None]
    place = (steps + 0.5) * (old / frames[:, None]) - 0.5 + torch.as_tensor(move, device=frames.device)[..., None]
    place = torch.minimum(place.clamp(min=0), old - 1)
    return between_frames(batch.x, place) * (steps < frames[:, None])[:, None, :, None, None]


def sampled(batch: Batch, count: int, draw: Draws) -> Batch:
    """Clips of `count` frames drawn in order: one of each of so many equal stretches.

    A clip of fewer frames is gone round from a random one; of one with fewer than twice as many, frames that are not
    wanted are passed over one at a time. PoseConv3D (Duan et al. 2022), uniform sampling.
    """
    old, steps = batch.frames[:, None], torch.arange(count, device=batch.frames.device)
    numbers = draw.many("sample", count + 1)
    around = (below(numbers[:, :1], old) + steps) % old
    passed = numbers.argsort(1).argsort(1) < old - count  # before which of the frames one is passed over
    each = steps + passed[:, :count].cumsum(1)
    low, high = steps * old // count, (steps + 1) * old // count
    spread = low + below(numbers[:, :count], high - low)
    index = torch.where(old < count, around, torch.where(old < 2 * count, each, spread))
    return replace(batch, x=taken(batch.x, index), frames=torch.full_like(batch.frames, count))


def windowed(batch: Batch, count: int, draw: Draws) -> Batch:
    """Clips seen through a window of `count` frames: a random stretch of a long one, a short one somewhere in it.

    Nothing is seen in the frames around a short one. ST-GCN (Yan et al. 2018), random choice of frames.
    """
    more = batch.frames - count
    first = below(draw("window"), more.abs() + 1) * more.sign()
    index = first[:, None] + torch.arange(count, device=more.device)
    inside = (index >= 0) & (index < batch.frames[:, None])
    x = taken(batch.x, torch.where(inside, index, 0)) * inside[:, None, :, None, None]
    return replace(batch, x=x, frames=torch.full_like(batch.frames, count))


def taken(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Frames of clips: x (B, M, T, V, C), index (B, S) int64 -> (B, M, S, V, C)."""
    rows = torch.arange(len(x), device=x.device)[:, None]
    return x.transpose(1, 2)[rows, index].transpose(1, 2)


def between_frames(x: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Clips at times between their frames. x (B, M, T, V, C); place (B, S) in frames, 0 to T-1 -> (B, M, S, V, C).

    A point is interpolated between two frames that see it, taken from the nearer one when the other does not see it,
    and unseen when the nearer one does not.
    """
    low = place.floor().long()
    weight = (place - low)[:, None, :, None, None]
    first, second = taken(x, low), taken(x, place.ceil().long())
    seen_first, seen_second = seen(first), seen(second)
    a, b = (1 - weight) * seen_first, weight * seen_second
    nearer = torch.where(weight <= 0.5, seen_first, seen_second)
    return (a * first + b * second) / (a + b).clamp(min=1e-6) * nearer
