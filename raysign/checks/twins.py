"""Clips that are the same, or nearly: equal numbers, and copies that were noised, resized or cut a little elsewhere.

Of each clip a track is kept: a few points through time, seen from the body and in its size. Candidates are clips whose
points have nearly the same mean and spread over time; of those, tracks are laid on each other at every small shift.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import KDTree

from raysign.checks import limits
from raysign.checks.measure import shoulders
from raysign.skeleton import Skeleton

STEPS, POINTS = 48, 8  # of a track: 1.5 KB as float16
_SHIFTS = np.linspace(-limits.SHIFT, limits.SHIFT, 41)  # shares of the length: every frame of clips up to 100 long
_NEAREST = limits.NEIGHBOURS + 1  # each clip is the nearest to itself
_BLOCK = 256  # clips looked up at a time, each with _NEAREST others at most
_FINGERS = (4, 8, 20)  # tips of thumb, index and little finger


@dataclass(frozen=True)
class Twins:
    """equal: groups of two or more clips whose numbers are equal. near: (P, 2) pairs of other clips, lower first, and
    how far apart they are, (P,) body sizes. All as places in the stage.
    """

    equal: list[list[int]]
    near: np.ndarray
    apart: np.ndarray


def tracked(skeleton: Skeleton) -> list[int]:
    """The points of a track: wrists and finger tips, or points spread evenly over a skeleton without those."""
    names, parts = dict(skeleton.names), dict(skeleton.parts)
    if {"left_wrist", "right_wrist"} <= names.keys() and parts.get("left_hand") == parts.get("right_hand") == 21:
        tips = [skeleton.slices[hand].start + tip for hand in ("left_hand", "right_hand") for tip in _FINGERS]
        return [names["left_wrist"], names["right_wrist"], *tips]
    return np.linspace(0, skeleton.points - 1, POINTS).round().astype(int).tolist()


def track(places: np.ndarray, seen: np.ndarray, skeleton: Skeleton, size: float) -> np.ndarray:
    """(STEPS, POINTS, 2) float16: the tracked points at even times, from the body's middle, in body sizes.

    places: (T, V, 2), seen: (T, V), of one person. A point keeps its nearest known place while it is unseen; one that
    is never seen stays in the middle.
    """
    roots = shoulders(seen, skeleton)
    known = seen[:, roots] if roots else seen
    around = (places[:, roots] if roots else places)[known]
    middle = np.median(around, axis=0) if len(around) else np.zeros(2)
    at, made = np.linspace(0, len(places) - 1, STEPS), np.zeros((STEPS, POINTS, 2))
    for i, point in enumerate(tracked(skeleton)):
        when = np.flatnonzero(seen[:, point])
        if len(when):
            way = (places[when, point] - middle) / size
            made[:, i] = np.stack([np.interp(at, when, way[:, 0]), np.interp(at, when, way[:, 1])], axis=-1)
    return np.clip(made, -1e4, 1e4).astype(np.float16)


def find(tracks: np.ndarray, frames: np.ndarray, contents: Sequence[bytes]) -> Twins:
    """The twins among clips. tracks: (N, STEPS, POINTS, 2), NaN for a clip without places, which is near to none.
    frames: (N,). contents: equal for equal numbers.

    Clips whose numbers are equal count as one when near twins are looked for.
    """
    groups = defaultdict(list)
    for place, content in enumerate(contents):
        groups[content].append(place)
    equal = [group for group in groups.values() if len(group) > 1]
    firsts = np.array([group[0] for group in groups.values()], int)
    firsts = firsts[np.isfinite(tracks[firsts, 0, 0, 0])]
    found = [_apart(tracks, frames, pairs) for pairs in _candidates(tracks, firsts)]
    pairs = np.concatenate([np.zeros((0, 2), int), *(pairs for pairs, _ in found)])
    pairs, first = np.unique(pairs, axis=0, return_index=True)  # two blocks may have the same pair
    return Twins(equal, pairs, np.concatenate([np.zeros(0), *(apart for _, apart in found)])[first])


def _candidates(tracks: np.ndarray, among: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs (P, 2) of clips whose points have nearly the same mean and spread, a block at a time."""
    if len(among) < 2:
        return
    coarse = np.concatenate([_coarse(tracks[among[i : i + 4096]]) for i in range(0, len(among), 4096)])
    tree = KDTree(coarse)
    for start in range(0, len(among), _BLOCK):
        block = coarse[start : start + _BLOCK]
        apart, near = tree.query(block, k=min(_NEAREST, len(among)))
        close = apart <= limits.CANDIDATE
        own = np.broadcast_to(np.arange(start, start + len(block))[:, None], near.shape)
        pairs = np.unique(np.sort(np.stack([own[close], near[close]], axis=1), axis=1), axis=0)
        if len(pairs := pairs[pairs[:, 0] < pairs[:, 1]]):
            yield among[pairs]


def _coarse(tracks: np.ndarray) -> np.ndarray:
    """(N, 4 * POINTS): mean and standard deviation of each point over time; distances are those of a point."""
    tracks = tracks.astype(np.float32)
    return np.concatenate([tracks.mean(1), tracks.std(1)], axis=-1).reshape(len(tracks), -1) / np.sqrt(POINTS)


def _apart(tracks: np.ndarray, frames: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs that are twins, and how far apart: root mean square over points and times, at the best shift."""
    a, b = (tracks[pairs[:, side]].astype(np.float32) for side in (0, 1))
    spans = [np.maximum(frames[pairs[:, side]] - 1, 1).astype(np.float32) for side in (0, 1)]
    best, before = _distance(a, b), np.full(len(pairs), np.nan)
    for share in _SHIFTS:
        shift = np.rint(share * np.minimum(*spans))
        if (shift == before).all():  # short clips have few whole frames to be shifted by
            continue
        before = shift
        start, end = np.maximum(0, -shift), np.minimum(spans[0], spans[1] - shift)
        usable = end - start >= (1 - 1.5 * limits.SHIFT) * np.minimum(*spans)
        when = start[:, None] + np.linspace(0, 1, STEPS, dtype=np.float32) * (end - start)[:, None]
        laid = _distance(_at(a, when / spans[0][:, None]), _at(b, (when + shift[:, None]) / spans[1][:, None]))
        best = np.where(usable, np.minimum(best, laid), best)
    close = best < limits.TWIN
    return pairs[close], best[close]


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sqrt(((a - b) ** 2).sum(-1).mean((1, 2)))


def _at(tracks: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Tracks (P, STEPS, POINTS, 2) at the given shares of their length (P, STEPS), between their steps linearly."""
    place = np.clip(share, 0, 1) * (STEPS - 1)
    before = np.minimum(place.astype(int), STEPS - 2)
    rest = (place - before)[..., None, None].astype(np.float32)
    row = np.arange(len(tracks))[:, None]
    return tracks[row, before] * (1 - rest) + tracks[row, before + 1] * rest
