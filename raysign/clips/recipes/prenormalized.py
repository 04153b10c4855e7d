"""Skeletons as pyskl prepares them for ST-GCN++ and its zoo: PreNormalize3D and PreNormalize2D (Duan et al., 2022).

3: frames without anybody are left out; a joint of the first frame is the origin, in which the spine points to +z, then
the line of the shoulders to +x. 2: x and y from -1 to 1 across the image, points of next to no score not seen.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from raysign import skeleton as skeletons
from raysign.clips import geometry, points
from raysign.clips.recipes import _frames
from raysign.errors import ClipError
from raysign.schema import Landmarks
from raysign.skeleton import Skeleton

THRESHOLD = 0.01


class Options(_frames.Fitted):
    """Skeletons in a frame of their own (3) or of the image (2)."""

    kind: Literal["prenormalized"] = "prenormalized"
    dimensions: Literal[2, 3] | None = Field(None, description="None: 3 for the joints of NTU RGB+D, else 2")
    root: int | str = Field(1, description="the point of the first frame that becomes the origin, in 3 dimensions")
    spine: tuple[int | str, int | str] = Field((0, 1), description="points below and above: +z in 3 dimensions")
    shoulders: tuple[int | str, int | str] = Field(
        (8, 4), description="right and left: from the left one to the right one is +x in 3 dimensions"
    )


def skeleton(options: Options, layout: str) -> Skeleton:
    """The layout's own. ConfigError when it has not the points that tell how a body stands."""
    found = points.whole(layout)
    if _dimensions(options, found) == 3:
        _posture(options, found)
    return found


def channels(options: Options, layout: str) -> tuple[str, ...]:
    """x, y, in 3 dimensions z, and the visibility."""
    planar = _dimensions(options, skeletons.layout(layout)) == 2
    return ("x", "y", "visibility") if planar else ("x", "y", "z", "visibility")


def axes(options: Options, layout: str) -> tuple[str, str]:
    """In 3 dimensions x and z, which grows upwards."""
    return ("x", "y") if _dimensions(options, skeletons.layout(layout)) == 2 else ("x", "z")


def apply(landmarks: Landmarks, options: Options, sampling: _frames.Sampling | None = None) -> np.ndarray:
    """(M, T, V, C) float32, C as `channels` says. A point that is not seen is 0 with visibility 0.

    In 3 dimensions the person seen in the most frames comes first and frames without them are left out. Raises
    ClipError for a clip that is too short, whose first person never shows the posture's points together, or in which
    nothing is left.
    """
    _frames.long_enough(landmarks, options)
    known = skeleton(options, landmarks.layout)
    x = points.joined(landmarks.values, landmarks.visibility)
    if _dimensions(options, known) == 2:
        x = geometry.in_image(x, THRESHOLD)
        return np.ascontiguousarray(_frames.fitted(x, options, known, sampling)[..., [0, 1, 3]])
    x = first_person(x)
    root, spine, shoulders = _posture(options, known)
    told = np.isfinite(x[0][:, [root, *spine, *shoulders], 0]).all(axis=1)
    if not told.any():
        some = ", ".join(str(point) for point in dict.fromkeys((root, *spine, *shoulders)))
        raise ClipError(f"points {some} are seen together in none of {x.shape[1]} frames")
    frame = int(told.argmax())
    x = geometry.shifted(x, x[0, frame, root, :3])
    return _frames.fitted(geometry.turned(x, spine, shoulders, frame), options, known, sampling)


def first_person(x: np.ndarray) -> np.ndarray:
    """The person seen in the most frames first, the others in their order; only frames that show that person."""
    shown = np.asarray(np.isfinite(x[..., 0]).any(axis=2))  # (M, T)
    order = np.argsort(-shown.sum(axis=1), kind="stable")
    return x[order][:, shown[order[0]]]


def _dimensions(options: Options, known: Skeleton) -> int:
    return options.dimensions or (3 if known.name.startswith("ntu") else 2)


def _posture(options: Options, known: Skeleton) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """The points that the options name."""
    root = points.named(known, options.root, "prepare.root")
    low, high = (points.named(known, point, "prepare.spine") for point in options.spine)
    right, left = (points.named(known, point, "prepare.shoulders") for point in options.shoulders)
    return root, (low, high), (right, left)
