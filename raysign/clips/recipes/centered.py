"""Any skeleton seen from one of its points, as ST-GCN and its descendants are given it: the general recipe.

Steps, in this order: points, hands given back to their wrists, aspect, frame rate, gaps, centre, scale, length, stream.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from raysign import skeleton as skeletons
from raysign.bones import LEFT_WRIST, RIGHT_WRIST
from raysign.clips import geometry, points, timing
from raysign.clips.recipes import _frames
from raysign.errors import ClipError, ConfigError
from raysign.schema import Landmarks
from raysign.skeleton import LayoutName, Skeleton

CHANNELS: tuple[str, ...] = ("x", "y", "z", "visibility")
MOST_FRAMES = 100  # made of one
_HANDS_AND_WRISTS = {("left_hand", 0), ("right_hand", 0), ("pose", LEFT_WRIST), ("pose", RIGHT_WRIST)}


class Options(_frames.Fitted):
    """Centred landmarks."""

    kind: Literal["centered"] = "centered"
    layout: LayoutName | None = Field(None, description="a smaller layout to take points for; None: all of them")
    repair_hands: bool = Field(False, description="give each hand to the wrist of the pose that it is nearest to")
    aspect: bool = Field(False, description=_frames.ASPECT)
    fps: float | None = Field(None, gt=0, description="frames a second, interpolated; None keeps those there are")
    gaps: int = Field(0, ge=0, description="longest run of frames over which an unseen point is interpolated")
    hold: bool = Field(False, description="after that, an unseen point stays where it was last")
    centre: int | str | None = Field(
        None, description="the origin: a point's number or name, or shoulders, their middle; None: the layout's centre"
    )
    origin: Literal["clip", "frame"] = Field(
        "clip", description="clip: where the centre is in the first frame that shows it; frame: anew in each frame"
    )
    scale: Literal["none", "size", "shoulders", "max_norm"] = Field(
        "none",
        description="divide by: size: the median distance of points from the centre; shoulders: the median distance "
        "between them; max_norm: the largest distance from the centre, of each frame when origin=frame",
    )


def skeleton(options: Options, layout: str) -> Skeleton:
    """The layout's own, or the smaller one. ConfigError when it lacks what the options name."""
    found = points.whole(layout)
    if options.layout is not None:
        points.subset(layout, options.layout)
        found = skeletons.layout(options.layout)
    _centre(options, found)
    if options.scale == "shoulders":
        _pair(found, "shoulder", "prepare.scale")
    if options.repair_hands and not set(points.mediapipe(found.name)) >= _HANDS_AND_WRISTS:
        raise ConfigError(f"prepare.repair_hands: needs both hands and the wrists of the pose, found {found.name}")
    return found


def channels(options: Options, layout: str) -> tuple[str, ...]:  # noqa: ARG001 - some recipes' depend on them
    """Place and visibility."""
    return CHANNELS


def apply(landmarks: Landmarks, options: Options, sampling: _frames.Sampling | None = None) -> np.ndarray:
    """(M, T, V, 4) float32: x, y, z from the centre, in the source's units unless scaled, and visibility.

    All persons share the origin and the scale, so that how they stand to each other is kept; with origin=frame a frame
    that does not show the centre uses the last that did. A point that is not seen is 0 with visibility 0. Raises
    ClipError for a clip that is too short, that never shows the centre (or the shoulders to scale by), in which
    nothing is left, or whose frame rate is asked for but unknown.
    """
    _frames.long_enough(landmarks, options)
    known = skeleton(options, landmarks.layout)
    at = points.subset(landmarks.layout, options.layout) if options.layout else None
    x = points.joined(landmarks.values, landmarks.visibility, at)
    if options.repair_hands:
        hands = known.slices["left_hand"], known.slices["right_hand"]
        x = geometry.with_own_hands(x, *hands, _pair(known, "wrist", "prepare.repair_hands"))
    if options.aspect:
        x = geometry.in_width(x, landmarks.width, landmarks.height)
    x = _in_time(x, landmarks.fps, options)
    centre = _centre(options, known)
    middle = geometry.middle(x, centre)
    if np.isnan(middle[..., 0]).all():
        place = f"point {centre[0]}, the centre," if len(centre) == 1 else "the middle of the shoulders, the centre,"
        raise ClipError(f"{place} is seen in none of {x.shape[1]} frames")
    x = geometry.shifted(x, geometry.origin(middle, options.origin))
    return _frames.fitted(_scaled(x, known, options), options, known, sampling)


def _in_time(x: np.ndarray, fps: float, options: Options) -> np.ndarray:
    """At the frame rate that is asked for, with gaps filled."""
    if options.fps is not None:
        if not fps > 0:
            raise ClipError("found no frame rate, expected one to resample from; leave prepare.fps out")
        if options.fps > MOST_FRAMES * fps:  # a clip of a few frames would fill the memory
            raise ClipError(f"found {fps:g} frames a second, expected at least 1/{MOST_FRAMES} of prepare.fps; mend it")
        x = timing.to_fps(x, fps, options.fps)
    x = timing.fill_gaps(x, options.gaps)
    return timing.hold_last(x) if options.hold else x


def _scaled(x: np.ndarray, known: Skeleton, options: Options) -> np.ndarray:
    """x divided by what `scale` says; as it is where that is 0."""
    if options.scale == "none":
        return x
    if options.scale == "shoulders":
        width = geometry.apart(x, *_pair(known, "shoulder", "prepare.scale"))
        if np.isnan(width).all():
            raise ClipError(f"the shoulders, to scale by, are seen together in none of {x.shape[1]} frames")
        return geometry.scaled(x, np.nanmedian(width))
    away = geometry.distances(x)
    if options.scale == "size":
        return geometry.scaled(x, np.nanmedian(away))
    per_frame = np.where(np.isnan(away), 0, away).max(axis=(0, 2))[None]
    return geometry.scaled(x, per_frame if options.origin == "frame" else per_frame.max())


def _centre(options: Options, known: Skeleton) -> list[int]:
    """The points whose middle is the centre."""
    if options.centre == "shoulders":
        return _pair(known, "shoulder", "prepare.centre")
    return [known.centre if options.centre is None else points.named(known, options.centre, "prepare.centre")]


def _pair(known: Skeleton, name: str, setting: str) -> list[int]:
    """The left and the right point of a name. ConfigError when the skeleton has not both."""
    names, wanted = dict(known.names), [f"{side}_{name}" for side in ("left", "right")]
    if not set(wanted) <= set(names):
        there = ", ".join(names) or "no points"
        raise ConfigError(f"{setting}: needs {' and '.join(wanted)}, {known.name} names {there}")
    return [names[point] for point in wanted]
