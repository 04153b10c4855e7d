"""When frames are: steps that recipes are composed of, and which frames a clip of a fixed length is made of.

x is (M, T, V, C) float32 with NaN for points not seen, in every channel. A point that is made up between frames is
seen, and its visibility lies between theirs.
"""

from typing import Literal

import numpy as np

Fit = Literal["first", "uniform", "resize", "loop"]


def fill_gaps(x: np.ndarray, most: int) -> np.ndarray:
    """Points unseen for up to `most` frames in a row, on a straight line between where they vanish and return.

    Longer gaps stay, and so do those before the first and after the last frame that shows the point.
    """
    gone = np.isnan(x[..., 0])
    if not most or not gone.any():
        return x
    before, after = _neighbours(~gone)
    m, t, v = np.nonzero(gone & (before >= 0) & (after < x.shape[1]) & (after - before - 1 <= most))
    a, b = before[m, t, v], after[m, t, v]
    weight = ((t - a) / (b - a)).astype(np.float32)[:, None]
    x = x.copy()
    x[m, t, v] = (1 - weight) * x[m, a, v] + weight * x[m, b, v]
    return x


def hold_last(x: np.ndarray) -> np.ndarray:
    """Unseen points where they were seen last; those not seen yet stay unseen."""
    gone = np.isnan(x[..., 0])
    before, _ = _neighbours(~gone)
    m, t, v = np.nonzero(gone & (before >= 0))
    x = x.copy()
    x[m, t, v] = x[m, before[m, t, v], v]
    return x


def _neighbours(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each (M, T, V) the last frame up to it that shows the point, or -1, and the first from it on, or T."""
    frames = seen.shape[1]
    time = np.arange(frames)[:, None]
    before = np.maximum.accumulate(np.where(seen, time, -1), axis=1)
    after = np.minimum.accumulate(np.where(seen, time, frames)[:, ::-1], axis=1)[:, ::-1]
    return before, after


def at_times(x: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The clip at times between its frames, place (S,) in frames from 0 to T-1: (M, S, V, C), linear.

    Between a frame that shows a point and one that does not, it is as in the nearer of them (of two, the earlier).
    """
    low, high = np.floor(place).astype(int), np.ceil(place).astype(int)
    weight = (place - low).astype(np.float32)[:, None, None]
    first, second = x[:, low], x[:, high]
    out = first + weight * (second - first)
    torn = np.isnan(out[..., 0])
    if torn.any():
        out[torn] = np.where(weight <= 0.5, first, second)[torn]
    return out


def to_fps(x: np.ndarray, fps: float, wanted: float) -> np.ndarray:
    """The clip at another number of frames a second; its first frame stays the first."""
    if fps == wanted:
        return x
    frames = int((x.shape[1] - 1) * wanted / fps + 1e-6) + 1
    return at_times(x, np.minimum(np.arange(frames) * (fps / wanted), x.shape[1] - 1))


def to_length(x: np.ndarray, fit: Fit, frames: int) -> np.ndarray:
    """The clip in at most `frames` frames (`first`) or in exactly so many.

    first: the first ones. loop: the clip again and again from its beginning. uniform: one frame from each of equal
    stretches, see `uniform`. resize: interpolated in time, each frame the same share of the clip.
    """
    length = x.shape[1]
    if fit == "first":
        return x[:, :frames]
    if fit == "loop":
        return x[:, np.arange(frames) % length]
    if fit == "uniform":
        return x[:, uniform(length, frames)]
    place = (np.arange(frames) + 0.5) * (length / frames) - 0.5
    return at_times(x, np.clip(place, 0, length - 1))


def uniform(frames: int, length: int) -> np.ndarray:
    """(length,) frames of a clip, from the middle of each of `length` equal stretches; a shorter clip is looped.

    The deterministic centre of `uniform_clips`.
    """
    if frames < length:
        return np.arange(length) % frames
    edges = np.arange(length + 1) * frames // length
    return (edges[:-1] + edges[1:] - 1) // 2


def uniform_clips(frames: int, length: int, clips: int, seed: int) -> np.ndarray:
    """(clips, length) frames of `clips` different samplings of one clip, whose scores are averaged in testing.

    UniformSample of pyskl (Duan et al., 2022). A clip of fewer than `length` frames is looped, from starts spread
    evenly over it; of fewer than twice as many, frames are left out at random, never two in a row; of more, one is
    taken at random from each of `length` equal stretches. Draws from a generator of its own: the same for the same
    arguments, and no other draw depends on it.
    """
    draw = np.random.default_rng(seed)
    if frames < length:
        start = np.arange(clips) if frames < clips else np.arange(clips) * frames // clips
        return (start[:, None] + np.arange(length)) % frames
    if frames < 2 * length:
        skip = draw.permuted(np.tile(np.arange(length + 1) < frames - length, (clips, 1)), axis=1)
        return np.arange(length) + np.cumsum(skip, axis=1)[:, :-1]
    edges = np.arange(length + 1) * frames // length
    return edges[:-1] + draw.integers(np.diff(edges), size=(clips, length))
