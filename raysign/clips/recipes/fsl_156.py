"""Pose, hands and eleven points of the face in the image, as the FSL-105 Transformer is given them: 78 x and y.

x and y stay where they are in the image, held between 0 and 1. As they are counted from its border, clips of this
recipe have no mirror image.
"""

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from raysign.clips import handcrafted, points, timing
from raysign.clips.recipes import _frames
from raysign.errors import ClipError
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS, Skeleton

SKELETON = replace(LAYOUTS["fsl_78"], name="fsl_156", mirror=())


class Options(_frames.Frames):
    """Points in the image."""

    kind: Literal["fsl_156"] = "fsl_156"
    gaps: int = Field(5, ge=0, description="longest run of frames over which an unseen point is interpolated")
    drop_occluded: bool = Field(
        False,
        description="drop a clip everyone in which is hidden: less than 0.6 of the points seen in 40 % of the frames, "
        "or in 15 frames in a row",
    )


def skeleton(options: Options, layout: str) -> Skeleton:  # noqa: ARG001 - some recipes' depend on them
    """78 points: pose 0-24, both hands, face. ConfigError when the layout has not all of them."""
    points.subset(layout, "fsl_78")
    return SKELETON


def channels(options: Options, layout: str) -> tuple[str, ...]:  # noqa: ARG001 - some recipes' depend on them
    """Place in the image and visibility."""
    return ("x", "y", "visibility")


def apply(landmarks: Landmarks, options: Options) -> np.ndarray:
    """(M, T, 78, 3) float32: x and y from 0 to 1, and visibility, 1 or 0.

    A pose point is seen when MediaPipe's visibility is 0.5 or more, another one when it lies inside the image; what is
    not seen, and no short gap, is 0 with visibility 0. Raises ClipError for a clip that is too short, shows nothing,
    or is occluded when such clips are to be dropped.
    """
    values, visibility = _frames.kept(landmarks, options)
    x = points.joined(values, visibility, points.subset(landmarks.layout, "fsl_78"))
    seen = handcrafted.trusted(x, SKELETON.slices["pose"])
    if not seen.any():
        raise ClipError(f"none of {seen.shape[2]} points is seen inside the image in any of {seen.shape[1]} frames")
    if options.drop_occluded and handcrafted.occluded(seen).all():
        raise ClipError("occluded: too few points are seen in too many frames (prepare.drop_occluded)")
    x[..., 3] = 1
    x[~seen] = np.nan
    x = np.clip(timing.fill_gaps(x, options.gaps), 0, 1)
    points.clear_unseen(x)
    return np.ascontiguousarray(x[..., [0, 1, 3]])
