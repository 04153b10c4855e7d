"""Any skeleton seen from one of its joints, as ST-GCN and its descendants are given it. Every point stays."""

from typing import Literal

import numpy as np
from pydantic import Field

from raysign import skeleton as skeletons
from raysign.clips.recipes._frames import Frames, kept
from raysign.errors import ClipError, ConfigError
from raysign.schema import Landmarks
from raysign.skeleton import Skeleton

CHANNELS: tuple[str, ...] = ("x", "y", "z", "visibility")


class Options(Frames):
    """Joint-centred landmarks."""

    kind: Literal["joint_centered"] = "joint_centered"
    centre: int | None = Field(None, ge=0, description="the joint that becomes the origin; None: the layout's centre")
    origin: Literal["clip", "frame"] = Field(
        "clip", description="clip: where the centre is in the first frame that shows it; frame: anew in each frame"
    )
    scale: Literal["none", "size"] = Field(
        "none", description="size: divide by the median distance of the points from the centre, over the whole clip"
    )


def skeleton(options: Options, layout: str) -> Skeleton:
    """The layout's own. ConfigError when it has no such joint."""
    found = skeletons.layout(layout)
    if options.centre is not None and options.centre >= found.points:
        raise ConfigError(f"prepare.centre: found {options.centre}, expected 0 to {found.points - 1} for {found.name}")
    return found


def channels(options: Options, layout: str) -> tuple[str, ...]:  # noqa: ARG001 - some recipes' depend on them
    """Place and visibility."""
    return CHANNELS


def apply(landmarks: Landmarks, options: Options) -> np.ndarray:
    """(M, T, V, 4) float32: x, y, z from the centre, in the source's units unless scaled, and visibility.

    All persons share the origin of the first one who shows it, so that how they stand to each other is kept; with
    origin=frame a frame that does not show it uses the last that did. A point that is not seen is 0 with visibility 0.
    Raises ClipError for a clip that is too short, or that never shows the centre.
    """
    values, visibility = kept(landmarks, options)
    persons, frames, points, _ = values.shape
    known = skeleton(options, landmarks.layout)
    centre = known.centre if options.centre is None else options.centre
    at = values[:, :, centre]
    shown = ~np.isnan(at[..., 0])
    if not shown.any():
        raise ClipError(f"point {centre}, the centre, is seen in none of {frames} frames")
    moved = values - _origin(at, shown, options.origin)
    if options.scale == "size":
        size = np.nanmedian(np.linalg.norm(moved, axis=-1))
        moved = moved / size if size > 0 else moved
    x = np.empty((persons, frames, points, 4), np.float32)
    x[..., :3], x[..., 3] = moved, visibility
    x[np.isnan(x).any(-1)] = 0
    return x


def _origin(at: np.ndarray, shown: np.ndarray, per: str) -> np.ndarray:
    """What to take from the values, (1, 1, 1, 3) or (1, T, 1, 3). at (M, T, 3), shown (M, T)."""
    first = shown.argmax(0)  # of each frame the first person who shows it
    line = at[first, np.arange(len(first))]
    known = np.flatnonzero(shown.any(0))
    if per == "clip":
        return line[known[0]][None, None, None]
    last = known[np.maximum(np.searchsorted(known, np.arange(len(line)), side="right") - 1, 0)]
    return line[last][None, :, None]
