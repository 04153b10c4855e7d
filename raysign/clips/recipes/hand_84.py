"""One hand as 84 numbers a frame: 63 places seen from the wrist and 21 distances. For alphabets and photographs."""

from typing import Literal

import numpy as np
from pydantic import Field

from raysign.clips import geometry, handcrafted, points
from raysign.clips.recipes import _features, _frames
from raysign.schema import Landmarks
from raysign.skeleton import Skeleton


class Options(_frames.Frames):
    """Features of one hand."""

    kind: Literal["hand_84"] = "hand_84"
    hand: Literal["most_seen", "left", "right"] = Field(
        "most_seen", description="of each person; most_seen: the one seen in more frames, the right one of equals"
    )
    order: handcrafted.Order = Field(
        "sorted", description="of the 21 distances; legacy: as classifiers made with MediaPipe's old program have them"
    )
    aspect: bool = Field(False, description=_frames.ASPECT)


def skeleton(options: Options, layout: str) -> Skeleton:  # noqa: ARG001 - some recipes' depend on them
    """One point. ConfigError when the layout has no whole hand."""
    points.hands(layout)
    return _features.SKELETON


def channels(options: Options, layout: str) -> tuple[str, ...]:  # noqa: ARG001 - some recipes' depend on them
    """`x_0, y_0, z_0, x_1 ...`, `d_0_1 ...`, and `visibility`."""
    return (*handcrafted.hand_names(options.order), "visibility")


def apply(landmarks: Landmarks, options: Options) -> np.ndarray:
    """(M, T, 1, 85) float32; a frame that does not show all of the hand is 0 with visibility 0.

    Raises ClipError for a clip that is too short or shows no whole hand.
    """
    values, _ = _frames.kept(landmarks, options)
    found = points.hands(landmarks.layout)
    sides = list(found) if options.hand == "most_seen" else [f"{options.hand}_hand"]
    both = [values[:, :, found[side]] for side in sides if side in found] or [values[:, :, found["hand"]]]
    features = handcrafted.hand_shape(_in_width(_most_seen(both), landmarks, options), options.order)
    return _features.clip(features, ~np.isnan(features[..., 0]), "a whole hand")


def _most_seen(hands: list[np.ndarray]) -> np.ndarray:
    """Of each person the hand seen in the most frames, the later of equals: (M, T, 21, 3)."""
    counts = np.stack([np.isfinite(hand).all((2, 3)).sum(1) for hand in hands])[::-1]
    which = len(hands) - 1 - counts.argmax(0)
    return np.stack([hands[hand][person] for person, hand in enumerate(which)])


def _in_width(hand: np.ndarray, landmarks: Landmarks, options: Options) -> np.ndarray:
    return geometry.in_width(hand, landmarks.width, landmarks.height) if options.aspect else hand
