"""Upper body and hands, each in a box of its own in each frame, as SPOTER has them (Bohacek and Hruz, WACV-W 2022).

Unlike the published program, which cuts the body's box off at the border of the image, clips do not depend on where in
the image somebody stands.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from raysign.clips import geometry, points
from raysign.clips.recipes import _frames
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS, Skeleton

SKELETON = LAYOUTS["top_body_59"]


class Options(_frames.Fitted):
    """Points in boxes."""

    kind: Literal["spoter_boxes"] = "spoter_boxes"
    aspect: bool = Field(False, description=_frames.ASPECT)


def skeleton(options: Options, layout: str) -> Skeleton:  # noqa: ARG001 - some recipes' depend on them
    """59 points: pose 0-16 and both hands. ConfigError when the layout has not all of them."""
    points.subset(layout, SKELETON.name)
    return SKELETON


def channels(options: Options, layout: str) -> tuple[str, ...]:  # noqa: ARG001 - some recipes' depend on them
    """Place in the box and visibility."""
    return ("x", "y", "visibility")


def apply(landmarks: Landmarks, options: Options, sampling: _frames.Sampling | None = None) -> np.ndarray:
    """(M, T, 59, 3) float32: x and y in the box, from -0.5 to 0.5 where inside it, and visibility.

    The pose is not seen before the first frame that shows its shoulders and left eye. A point that is not seen is 0
    with visibility 0. Raises ClipError for a clip that is too short or in which nothing is left.
    """
    _frames.long_enough(landmarks, options)
    at = points.subset(landmarks.layout, SKELETON.name)
    x = points.joined(landmarks.values, landmarks.visibility, at)
    if options.aspect:
        x = geometry.in_width(x, landmarks.width, landmarks.height)
    named = dict(SKELETON.names)
    left, right, eye = (x[:, :, named[name], :3] for name in ("left_shoulder", "right_shoulder", "left_eye"))
    parts = [geometry.body_box(x[:, :, SKELETON.slices["pose"]], left, right, eye)]
    parts += [geometry.square_box(x[:, :, SKELETON.slices[hand]]) for hand in ("left_hand", "right_hand")]
    x = np.concatenate(parts, axis=2)
    return np.ascontiguousarray(_frames.fitted(x, options, SKELETON, sampling)[..., [0, 1, 3]])
