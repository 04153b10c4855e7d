"""Which points a recipe takes from landmarks, and the array it works on.

Inside a recipe a clip is (M, T, V, C) float32 whose last channel is the visibility, as it is at the end; but a point
that is not seen is NaN in every channel until `clear_unseen` makes it zero.
"""

from functools import lru_cache

import numpy as np

from raysign import skeleton
from raysign.bones import FSL_FACE, MINIMAL_POINTS
from raysign.errors import ClipError, ConfigError, nearest
from raysign.skeleton import LAYOUTS, Skeleton

_FOUR = np.complex128  # four float32, 16 bytes, handled as one


@lru_cache(maxsize=16)
def mediapipe(name: str) -> dict[tuple[str, int], int]:
    """Where MediaPipe's points are in a layout: (part, index within the part) -> index; empty for other skeletons."""
    if name not in LAYOUTS or not set(LAYOUTS[name].slices) <= set(skeleton.COUNTS):
        return {}
    picked = {"minimal_27": MINIMAL_POINTS, "fsl_78": {"face": FSL_FACE}}.get(name, {})
    kept = [(part, picked.get(part, tuple(range(count)))) for part, count in LAYOUTS[name].parts]
    return {point: i for i, point in enumerate((part, point) for part, points in kept for point in points)}


def whole(name: str) -> Skeleton:
    """All points of a layout. ConfigError when it has none: clips of features alone."""
    found = skeleton.layout(name)
    if not found.points:
        raise ConfigError("prepare.kind: needs points, found clips of features alone; use stored_features")
    return found


def subset(given: str, wanted: str) -> list[int]:
    """Which points of the layout `given` make up the layout `wanted`. ConfigError when one is missing."""
    if given == wanted:
        return list(range(skeleton.layout(given).points))
    there, needed = mediapipe(given), mediapipe(wanted)
    missing = [f"{part} {point}" for part, point in needed if (part, point) not in there]
    if missing or not needed:
        lacks = missing[0] if there and missing else "them"
        raise ConfigError(f"prepare: needs the points of {wanted}; {skeleton.layout(given).name} lacks {lacks}")
    return [there[point] for point in needed]


def hands(name: str) -> dict[str, slice]:
    """The whole hands of 21 points a layout has: `hand`, or `left_hand` and `right_hand`. ConfigError without."""
    found = skeleton.layout(name)
    sizes = dict(found.parts)
    for parts in (("hand",), ("left_hand", "right_hand")):
        if all(sizes.get(part) == 21 for part in parts):
            return {part: found.slices[part] for part in parts}
    raise ConfigError(f"prepare: needs hands of 21 points, {found.name} has none")


def named(known: Skeleton, which: int | str, setting: str) -> int:
    """The point that a setting means, by its number or its name. ConfigError when the skeleton has none such."""
    if isinstance(which, int):
        if not 0 <= which < known.points:
            raise ConfigError(f"{setting}: found {which}, expected 0 to {known.points - 1} for {known.name}")
        return which
    names = dict(known.names)
    if which not in names:
        of = f"a number from 0 to {known.points - 1}" + (f" or one of {', '.join(names)}" if names else "")
        raise ConfigError(f"{setting}: found {which!r}, expected {of} for {known.name}{nearest(which, names)}")
    return names[which]


def joined(values: np.ndarray, visibility: np.ndarray, at: list[int] | slice | None = None) -> np.ndarray:
    """The array to work on, (M, T, V, 4): x, y, z, visibility of the points `at` (None: of all), NaN where unseen.

    A point with any NaN is unseen. Raises ClipError when nothing is seen at all.
    """
    places = slice(None) if at is None else at
    seen = visibility[:, :, places]
    x = np.empty((*seen.shape, 4), np.float32)
    for c in range(3):  # channel by channel: the inner loop runs over points instead of over three numbers
        x[..., c] = values[:, :, places, c]
    x[..., 3] = seen
    gone = unseen(x)
    if gone.all():
        raise ClipError(f"none of the {seen.shape[2]} points used is seen in any of {seen.shape[1]} frames")
    x.view(_FOUR)[..., 0][gone] = np.full(4, np.nan, np.float32).view(_FOUR)
    return x


def unseen(x: np.ndarray) -> np.ndarray:
    """Which points of x (..., V, C) have NaN in any channel: (..., V) bool."""
    nan = np.isnan(x)
    return np.asarray(nan.view(np.uint32)[..., 0] != 0 if x.shape[-1] == 4 else nan.any(-1))  # four flags at once


def clear_unseen(x: np.ndarray) -> np.ndarray:
    """Zeros, visibility included, for the points of x (..., V, C) that are not seen; which these are, (..., V) bool."""
    gone = unseen(x)
    if x.shape[-1] == 4:
        x.view(_FOUR)[..., 0][gone] = 0
    else:
        x[gone] = 0
    return gone
