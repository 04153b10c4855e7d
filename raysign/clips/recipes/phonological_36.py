"""How a sign is built, as 36 numbers a frame: shape, location, orientation and movement of both hands, and the face."""

from typing import Literal

import numpy as np
from pydantic import Field

from raysign import skeleton as skeletons
from raysign.bones import LEFT_SHOULDER, NOSE, RIGHT_SHOULDER
from raysign.clips import geometry, handcrafted, points
from raysign.clips.recipes import _features, _frames
from raysign.errors import ConfigError
from raysign.schema import Landmarks
from raysign.skeleton import Skeleton

BODY = ("pose", NOSE), ("pose", LEFT_SHOULDER), ("pose", RIGHT_SHOULDER)
HANDS = tuple((part, point) for part in ("left_hand", "right_hand") for point in range(21))
FACE = tuple(("face", point) for point in handcrafted.FACE)


class Options(_frames.Frames):
    """Phonological features."""

    kind: Literal["phonological_36"] = "phonological_36"
    aspect: bool = Field(False, description=_frames.ASPECT)


def skeleton(options: Options, layout: str) -> Skeleton:  # noqa: ARG001 - some recipes' depend on them
    """One point. ConfigError when the layout has not MediaPipe's pose and both hands; the face may be missing."""
    there = points.mediapipe(layout)
    if not {*BODY, *HANDS} <= set(there):
        name = skeletons.layout(layout).name
        raise ConfigError(f"prepare.kind: phonological_36 needs MediaPipe's pose and both hands, found {name}")
    return _features.SKELETON


def channels(options: Options, layout: str) -> tuple[str, ...]:  # noqa: ARG001 - some recipes' depend on them
    """The names of the features, and `visibility`."""
    return (*handcrafted.PHONOLOGICAL, "visibility")


def apply(landmarks: Landmarks, options: Options) -> np.ndarray:
    """(M, T, 1, 37) float32. A frame counts when it shows nose, shoulders and a whole hand, else it is 0 throughout.

    In a frame that counts, what cannot be told (of a hand or a face that is not seen) is 0. Raises ClipError for a
    clip that is too short, or none of whose frames counts.
    """
    skeleton(options, landmarks.layout)
    values, _ = _frames.kept(landmarks, options)
    there = points.mediapipe(landmarks.layout)
    face = FACE if FACE[0] in there else ()
    values = values[:, :, [there[point] for point in (*BODY, *HANDS, *face)]]
    if options.aspect:
        values = geometry.in_width(values, landmarks.width, landmarks.height)
    persons, frames = values.shape[:2]
    body, hands, face = values[:, :, :3], values[:, :, 3:45].reshape(persons, frames, 2, 21, 3), values[:, :, 45:]
    if not face.shape[2]:
        face = np.full((persons, frames, len(FACE), 3), np.nan, np.float32)
    features = handcrafted.phonological(body, hands, face)
    whole = np.asarray(np.isfinite(hands).all((3, 4)))  # (M, T, 2)
    computed = np.isfinite(body).all((2, 3)) & whole.any(axis=2)
    return _features.clip(features, np.asarray(computed), "the nose, both shoulders and a whole hand")
