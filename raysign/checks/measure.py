"""One clip in some numbers: what is seen of it, how it moves, and a quality in [0, 1]."""

import numpy as np

from raysign.bones import HANDS
from raysign.checks import limits
from raysign.skeleton import Skeleton

# faults that only the numbers of a stage themselves can tell: how many a clip has
FAULTS = (
    "infinite",  # numbers that are infinite
    "nan",  # clips: numbers that are NaN
    "half_seen",  # landmarks: points of which some coordinates are NaN and others not
    "visibility_off",  # visibilities outside [0, 1]; landmarks: or NaN where the point is seen
    "features_off",  # landmarks: frames of features that are finite in part, or all of features that are none
    "unseen_kept",  # clips: points of visibility 0 at the commonest place of such points, when many are there
)
# NaN where the layout or the length cannot give one
MEANINGS = {
    "frames": "length, frames",
    "body": "share of frames in which a point of the body is seen",
    "left_hand": "share of frames in which the left hand is seen",
    "right_hand": "share of frames in which the right hand is seen",
    "hands": "share of frames in which any hand is seen",
    "gaps": "share of frames unseen between a hand's first and last, the worse hand's",
    "spread": "largest standard deviation of a point over time, body sizes",
    "jump": "longest way of a point from one frame to the next, body sizes",
    "jitter": "middle distance of a point from between its neighbours in time, body sizes",
    "outside": "share of seen points far outside the image",
}
NAMES = tuple(name for name in (*FAULTS, *MEANINGS) if name != "frames")  # (N,) float32 each


def measure(values: np.ndarray, seen: np.ndarray, skeleton: Skeleton) -> dict[str, float]:
    """What is seen and how it moves.

    values: (M, T, V, 2) places. seen: (M, T, V) bool. Numbers that the layout or the length cannot give are NaN.
    """
    found = _shown(seen, skeleton)
    inside = (values > limits.OUTSIDE[0]) & (values < limits.OUTSIDE[1])
    found["outside"] = 1 - float((inside.all(-1) & seen).sum() / seen.sum()) if seen.any() else np.nan
    person = int(seen.sum((1, 2)).argmax())  # the one who is seen most
    return found | _moves(values[person], seen[person], body_size(values[person], seen[person], skeleton))


def _shown(seen: np.ndarray, skeleton: Skeleton) -> dict[str, float]:
    frames = {part: np.asarray(seen[:, :, points].any((0, 2))) for part, points in skeleton.slices.items()}
    body = frames.get("pose", frames.get("body"))
    hands = [frames[part] for part in HANDS if part in frames]
    found = {part: float(frames[part].mean()) if part in frames else np.nan for part in HANDS[:2]}
    found["body"] = float(body.mean()) if body is not None else np.nan
    found["hands"] = float(np.logical_or.reduce(hands).mean()) if hands else np.nan
    return found | {"gaps": max(map(_gaps, hands), default=np.nan)}


def _gaps(shown: np.ndarray) -> float:
    """Share of the frames from the first to the last in which it is shown where it is not."""
    at = np.flatnonzero(shown)
    return float(1 - len(at) / (at[-1] - at[0] + 1)) if len(at) else 0.0


def shoulders(seen: np.ndarray, skeleton: Skeleton) -> list[int]:
    """The left and the right shoulder; none unless the skeleton names both and a frame shows both. seen: (T, V)."""
    names = dict(skeleton.names)
    pair = [names[name] for name in ("left_shoulder", "right_shoulder") if name in names]
    return pair if len(pair) == 2 and seen[:, pair].all(1).any() else []


def body_size(places: np.ndarray, seen: np.ndarray, skeleton: Skeleton) -> float:
    """Middle distance between the shoulders, or of the seen points from their centre; 1 when there is none.

    places: (T, V, 2), seen: (T, V).
    """
    if pair := shoulders(seen, skeleton):
        both = seen[:, pair].all(1)
        apart = np.linalg.norm(places[both, pair[0]] - places[both, pair[1]], axis=-1)
    else:
        shown = places[seen]
        apart = np.linalg.norm(shown - shown.mean(0), axis=-1) if len(shown) else shown
    size = float(np.median(apart)) if len(apart) else 0.0
    return size if size > 0 and np.isfinite(size) else 1.0


def _moves(places: np.ndarray, seen: np.ndarray, size: float) -> dict[str, float]:
    """Spread, jump and jitter of the points of one person; places (T, V, 2), seen (T, V)."""
    found: dict[str, float] = dict.fromkeys(("spread", "jump", "jitter"), np.nan)
    if len(places) < 2 or not seen.any():
        return found
    count = np.maximum(seen.sum(0), 1)[:, None]
    known = np.where(seen[..., None], places, 0)
    middle = known.sum(0) / count
    off = np.where(seen[..., None], places - middle, 0)
    found["spread"] = float(np.sqrt((off * off).sum((0, 2)) / count[:, 0]).max()) / size
    steps, both = np.diff(known, axis=0), seen[1:] & seen[:-1]
    way = np.hypot(steps[..., 0], steps[..., 1])[both]
    found["jump"] = float(way.max()) / size if len(way) else np.nan
    bend, three = np.diff(steps, axis=0) / 2, both[1:] & both[:-1]
    stray = np.hypot(bend[..., 0], bend[..., 1])[three]
    found["jitter"] = float(np.median(stray)) / size if len(stray) else np.nan
    return found


# ---------------------------------------------------------------- quality

PARTS = ("body", "hands", "steady", "length", "whole")


def quality(measures: dict[str, np.ndarray], frames: np.ndarray) -> dict[str, np.ndarray]:
    """Quality of each clip and its parts, (N,) float32 in [0, 1] each.

    body, hands: share of frames in which they are seen. steady: 1 - jitter / limits.JITTER. length: frames against
    half of the stage's middle length, at most 1. whole: 1 - gaps. What a layout or a length cannot give counts as 1.
    quality = (body * hands * steady * length * whole) ** (1/5): one part that is nil makes it nil.
    """
    half = max(1.0, float(np.median(frames)) / 2) if len(frames) else 1.0
    parts = {
        "body": measures["body"],
        "hands": measures["hands"],
        "steady": 1 - measures["jitter"] / limits.JITTER,
        "length": frames / half,
        "whole": 1 - measures["gaps"],
    }
    parts = {name: np.clip(np.nan_to_num(part, nan=1.0), 0, 1).astype(np.float32) for name, part in parts.items()}
    product = np.prod([parts[name] for name in PARTS], axis=0, dtype=np.float64)
    return {"quality": (product ** (1 / len(PARTS))).astype(np.float32), **parts}
