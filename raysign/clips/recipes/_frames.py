"""Which frames of a clip a recipe uses: settings and a step that recipes share."""

import numpy as np
from pydantic import Field

from raysign.config import Section
from raysign.errors import ClipError
from raysign.schema import Landmarks


class Frames(Section):
    """Bounds on a clip's length."""

    max_frames: int = Field(300, ge=1, description="frames kept, from the first")
    min_frames: int = Field(1, ge=1, description="a clip of fewer frames is dropped")


def kept(landmarks: Landmarks, options: Frames) -> tuple[np.ndarray, np.ndarray]:
    """Values (M, T, V, 3) and visibility (M, T, V) of the frames that are kept. ClipError when there are too few."""
    values, visibility = landmarks.values[:, : options.max_frames], landmarks.visibility[:, : options.max_frames]
    if (frames := values.shape[1]) < options.min_frames:
        raise ClipError(f"found {frames} frames, expected at least {options.min_frames} (prepare.min_frames)")
    return values, visibility
