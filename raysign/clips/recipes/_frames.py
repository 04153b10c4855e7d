"""Which frames of a clip a recipe uses: settings and steps that recipes share."""

from collections.abc import Callable

import numpy as np
from pydantic import Field

from raysign.clips import points, streams, timing
from raysign.errors import ClipError
from raysign.kinds import Section
from raysign.schema import Landmarks
from raysign.skeleton import Skeleton

Sampling = Callable[[int], np.ndarray]  # a clip's number of frames -> those to take, instead of what `frames` says
ASPECT = "count y in units of the image's width, as x is, where the image's size is known"


class Frames(Section):
    """Bounds on a clip's length."""

    max_frames: int = Field(300, ge=1, description="frames kept, from the first")
    min_frames: int = Field(1, ge=1, description="a clip of fewer frames is dropped")


class Fitted(Frames):
    """How a clip gets its length, and what of its skeleton is kept."""

    max_frames: int = Field(300, ge=1, description="frames a clip has at most; exactly, unless frames=first")
    frames: timing.Fit = Field(
        "first",
        description="first: the first max_frames; uniform: one from each of equal stretches, short clips looped; "
        "resize: interpolated in time; loop: again and again from the beginning",
    )
    stream: streams.Stream = Field(
        "joint", description="joint: where points are; bone: from the point each hangs on; motion: to the next frame"
    )


def long_enough(landmarks: Landmarks, options: Frames) -> None:
    """ClipError when the clip has too few frames."""
    if (frames := landmarks.values.shape[1]) < options.min_frames:
        raise ClipError(f"found {frames} frames, expected at least {options.min_frames} (prepare.min_frames)")


def kept(landmarks: Landmarks, options: Frames) -> tuple[np.ndarray, np.ndarray]:
    """Values (M, T, V, 3) and visibility (M, T, V) of the frames that are kept. ClipError when there are too few."""
    long_enough(landmarks, options)
    return landmarks.values[:, : options.max_frames], landmarks.visibility[:, : options.max_frames]


def fitted(x: np.ndarray, options: Fitted, known: Skeleton, sampling: Sampling | None = None) -> np.ndarray:
    """The last steps of a recipe: x (M, T, V, C) at its length, as its stream, unseen points zero.

    Raises ClipError when no point is seen in what is left.
    """
    x = x[:, sampling(x.shape[1])] if sampling else timing.to_length(x, options.frames, options.max_frames)
    x = streams.stream(x, options.stream, known)
    x = np.ascontiguousarray(x, np.float32)
    if points.clear_unseen(x).all():
        raise ClipError(f"no point is left to be seen in the {x.shape[1]} frames kept")
    return x
