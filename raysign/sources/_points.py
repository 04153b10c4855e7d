"""What readers of skeletons share: which layout so many points are, and NaN wherever a point is not seen."""

from dataclasses import replace

import numpy as np

from raysign import skeleton
from raysign.errors import ClipError
from raysign.schema import Landmarks

BY_POINTS = {
    17: "coco_17", 18: "openpose_18", 21: "hand_21", 24: "ntu_edge_24", 25: "ntu_25", 27: "minimal_27",
    75: "holistic_75",
}  # fmt: skip


def layout_by_points(declared: str | None, points: int, place: str) -> str:
    """The declared layout, else the one usual for so many points. ClipError when it has another number of points."""
    name = declared or BY_POINTS.get(points)
    if name is None or skeleton.layout(name).points != points:
        raise ClipError(f"{place}: {points} points, which is not {name or 'a known layout'}; set source.layout")
    return name


def landmarks(values: np.ndarray, visibility: np.ndarray, layout: str, place: str, **about) -> Landmarks:
    """Landmarks without the points that are not seen: not finite, zero in every coordinate, or of visibility 0.

    values: (M, T, V, 3). visibility: (M, T, V), clipped to [0, 1]. about: fps, width, height. ClipError when no point
    is left.
    """
    x, y, z = values[..., 0], values[..., 1], values[..., 2]  # three long steps instead of many of three numbers
    with np.errstate(over="ignore", invalid="ignore"):
        seen = np.isfinite(x + y + z) & ((x != 0) | (y != 0) | (z != 0)) & (visibility > 0)
    if not seen.any():
        raise ClipError(f"{place}: no point is seen in any of {values.shape[1]} frames")
    nan = np.float32(np.nan)
    clipped = np.clip(visibility, 0, 1).astype(np.float32)
    xyz = values.astype(np.float32)
    xyz[~seen] = nan
    return Landmarks(xyz, np.where(seen, clipped, nan), layout, **about)


def trimmed(found: Landmarks) -> Landmarks:
    """The clip without persons who are never seen, and without the frames at its end in which nobody is."""
    seen = np.isfinite(found.visibility)
    persons, frames = seen.any((1, 2)), int(np.flatnonzero(seen.any((0, 2)))[-1]) + 1
    return replace(found, values=found.values[persons, :frames], visibility=found.visibility[persons, :frames])


def surest(people: np.ndarray, at: np.ndarray, frames: int, most: int) -> np.ndarray:
    """People found in single frames, (N, V, C) with the score as last channel, as (M, T, V, C): the surest first.

    at: (N,) the frame of each. NaN where a frame shows fewer people. A place is no person: who comes first may change
    from frame to frame.
    """
    sure = np.nansum(people[..., -1].clip(0, 1), axis=1)
    order = np.lexsort((-sure, at))
    people, at = people[order], at[order]
    place = np.arange(len(at)) - np.searchsorted(at, at)  # the how manieth of its frame
    stacked = np.full((min(most, int(place.max(initial=-1)) + 1), frames, *people.shape[1:]), np.nan, np.float32)
    kept = place < most
    stacked[place[kept], at[kept]] = people[kept]
    return stacked
