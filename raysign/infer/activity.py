"""Where in landmarks somebody signs: while a hand is raised, unless it is held still for long."""

from itertools import pairwise

import numpy as np

from raysign.schema import Landmarks
from raysign.skeleton import HANDS, Skeleton, layout

FPS = 25.0  # where the landmarks do not tell
SMOOTH = 0.1  # seconds to either side over which places and energies are averaged: points jitter
STILL = 0.1  # share of the clip's own fast movements up to which a hand is still
LEAST_FAST = 1.5  # shoulder widths (or sizes of what is seen) a second: nothing slower is a fast movement
REST = 0.35  # seconds without a raised hand that end a stretch
HOLD = 2.0  # seconds after which a hand that is raised and still rests: signs hold still for less
LOST = 0.4  # share of the time around it in which a hand must be seen
LOW = 1.3  # shoulder widths below the shoulders, where hands rest
SURE = 0.5  # visibility from which a wrist without a hand counts as in view


def rate(landmarks: Landmarks) -> float:
    """Frames a second; FPS where the landmarks do not tell."""
    return landmarks.fps if 0 < landmarks.fps < np.inf else FPS


def stretches(landmarks: Landmarks, shortest: float = 0.0) -> list[tuple[int, int]]:
    """[start, stop) frames of each stretch of signing, in order and apart; the whole clip where it has no points.

    shortest: seconds; what is shorter is no sign.
    """
    frames, fps = landmarks.values.shape[1], rate(landmarks)
    if not landmarks.values.size:
        return [(0, frames)]
    level, signing = energy(landmarks)
    for start, stop in runs(level > STILL):
        if level[start] <= STILL and stop - start >= HOLD * fps:
            signing[start:stop] = False
    found = _joined([(start, stop) for start, stop in runs(signing) if signing[start]], REST * fps)
    return [(start, stop) for start, stop in found if stop - start >= shortest * fps]


def runs(x: np.ndarray) -> list[tuple[int, int]]:
    """[start, stop) of each run of equal values."""
    edges = [0, *(np.flatnonzero(x[1:] != x[:-1]) + 1).tolist(), len(x)]
    return list(pairwise(edges))


def _joined(found: list[tuple[int, int]], rest: float) -> list[tuple[int, int]]:
    """Stretches with fewer frames between them than that, as one."""
    joined: list[tuple[int, int]] = []
    for start, stop in found:
        if joined and start - joined[-1][1] < rest:
            joined[-1] = joined[-1][0], stop
        else:
            joined.append((start, stop))
    return joined


def energy(landmarks: Landmarks) -> tuple[np.ndarray, np.ndarray]:
    """(T,) float64: how fast the faster raised hand of anyone moves, as a share of the clip's fast movements; and (T,)
    bool: whether a hand is raised. One that hangs or is out of view is not.
    """
    skeleton, fps = layout(landmarks.layout), rate(landmarks)
    tall = landmarks.height / landmarks.width if landmarks.width and landmarks.height else 1.0
    reach = max(1, round(SMOOTH * fps))
    xy = landmarks.values[..., :2].astype(float) * [1.0, tall]
    xy[np.nan_to_num(landmarks.visibility) < _sure(skeleton)] = np.nan
    level, raised = np.zeros(xy.shape[1]), np.zeros(xy.shape[1], bool)
    for places in xy:  # of each person
        size, line = _body(places, skeleton)
        for hand in _hands(skeleton):
            # a detector loses hands for some frames: one is up while it is seen so for much of the time around
            up = _averaged(_above(places[:, hand, 1], line).any(1).astype(float), 2 * reach) > LOST
            level = np.maximum(level, up * _speed(places[:, hand], reach) * fps / size)
            raised |= up
    level = _averaged(level, reach)
    return level / max(float(np.percentile(level, 95)), LEAST_FAST), raised


def _sure(skeleton: Skeleton) -> np.ndarray:
    """(V,) visibility from which a point counts as seen: MediaPipe guesses where a wrist outside the image is."""
    least = np.full(skeleton.points, SURE)
    for part in HANDS:
        least[skeleton.slices.get(part, slice(0))] = 0.0
    return least


def _hands(skeleton: Skeleton) -> list[list[int]]:
    """The points of each hand, its wrist in the pose among them; of all points where no hand is known."""
    names, found = dict(skeleton.names), []
    for side in ("left", "right"):
        part, wrist = skeleton.slices.get(f"{side}_hand", slice(0)), names.get(f"{side}_wrist")
        found.append(sorted({*range(part.start or 0, part.stop), *([] if wrist is None else [wrist])}))
    one = skeleton.slices.get("hand", slice(0, skeleton.points))
    return [points for points in found if points] or [list(range(one.start, one.stop))]


def _body(places: np.ndarray, skeleton: Skeleton) -> tuple[float, float]:
    """The length that others are measured by, and how far down (y) hands are raised; (T, V, 2) places of one person.

    y grows downwards, as in images. Of skeletons without shoulders hands are raised wherever they are.
    """
    names = dict(skeleton.names)
    if {"left_shoulder", "right_shoulder"} <= set(names):
        left, right = (places[:, names[f"{side}_shoulder"]] for side in ("left", "right"))
        size = _median(np.linalg.norm(left - right, axis=-1))
        if size > 0:
            upwards = _median(places[:, names["nose"], 1] if "nose" in names else left[:, 1]) > _median(left[:, 1])
            return size, np.inf if upwards else _median((left + right)[:, 1] / 2) + LOW * size
    spread = _median(np.linalg.norm(_range(places), axis=-1))
    return spread or 1.0, np.inf


def _above(y: np.ndarray, line: float) -> np.ndarray:
    """Which are seen above a line of the image, which has smaller y."""
    return np.isfinite(y) & (np.nan_to_num(y) < line)


def _speed(places: np.ndarray, reach: int) -> np.ndarray:
    """(T,) mean distance a frame of points (T, V, 2), each averaged over time first; 0 where none is seen."""
    smooth = _smoothed(places, reach)
    ahead, behind = (np.clip(np.arange(len(places)) + step, 0, len(places) - 1) for step in (reach, -reach))
    moved = np.linalg.norm(smooth[ahead] - smooth[behind], axis=-1) / np.maximum(ahead - behind, 1)[:, None]
    seen = np.isfinite(moved)
    return np.where(seen, moved, 0).sum(1) / np.maximum(seen.sum(1), 1)


def _smoothed(places: np.ndarray, reach: int) -> np.ndarray:
    """Places averaged over `reach` frames to either side, of those that are seen; NaN where none of them is."""
    seen = np.isfinite(places)
    total, count = (_sums(part, reach) for part in (np.where(seen, places, 0.0), seen.astype(float)))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _averaged(x: np.ndarray, reach: int) -> np.ndarray:
    """(T,) averaged over `reach` frames to either side, of those there are."""
    return _sums(x, reach) / _sums(np.ones_like(x), reach)


def _sums(x: np.ndarray, reach: int) -> np.ndarray:
    """Of each frame (axis 0), the sum over those at most `reach` away."""
    total = np.concatenate([np.zeros_like(x[:1]), np.cumsum(x, axis=0)])
    at = np.arange(len(x))
    return total[np.minimum(at + reach + 1, len(x))] - total[np.maximum(at - reach, 0)]


def _range(places: np.ndarray) -> np.ndarray:
    """(T, 2) how far the seen points of a frame reach; NaN where none is seen."""
    low, high = (np.where(np.isfinite(places), places, end) for end in (np.inf, -np.inf))
    reach = high.max(1) - low.min(1)
    return np.where(np.isfinite(reach), reach, np.nan)


def _median(x: np.ndarray) -> float:
    """Of what is not NaN; 0 when all is."""
    known = x[np.isfinite(x)]
    return float(np.median(known)) if len(known) else 0.0
