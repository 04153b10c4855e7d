"""Features that were stored with the landmarks, frame by frame, as they are: one point a frame, of many channels."""

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from raysign.clips import handcrafted
from raysign.clips.recipes import _features
from raysign.clips.recipes._frames import Frames, kept
from raysign.errors import ClipError, nearest
from raysign.schema import FEATURE_SIZES, Landmarks
from raysign.skeleton import Skeleton

NAMES = {"phonological_36": handcrafted.PHONOLOGICAL}  # others go by number


class Options(Frames):
    """Stored features."""

    kind: Literal["stored_features"] = "stored_features"
    features: str = Field("inception_v3", min_length=1, description="which features, as the landmarks name their kind")
    size: int | None = Field(
        None, ge=1, description="numbers a frame; None: 2048 for inception_v3, 36 for phonological_36"
    )

    @model_validator(mode="after")
    def _has_one_size(self):
        known = FEATURE_SIZES.get(self.features, self.size)
        if known is None:
            near = nearest(self.features, FEATURE_SIZES)
            raise ValueError(f"features {self.features!r} are of no known size{near}; give prepare.size too")
        if self.size not in (None, known):
            raise ValueError(f"features {self.features} have {known} numbers a frame; leave prepare.size out")
        return self


def skeleton(options: Options, layout: str) -> Skeleton:  # noqa: ARG001 - the points are not looked at
    """The frame as a whole, as one point, whatever the layout."""
    return _features.SKELETON


def channels(options: Options, layout: str) -> tuple[str, ...]:  # noqa: ARG001 - some recipes' depend on it
    """The names of the features, or their kind and number; then the visibility."""
    by_number = tuple(f"{options.features}_{i}" for i in range(_size(options)))
    return (*NAMES.get(options.features, by_number), "visibility")


def apply(landmarks: Landmarks, options: Options) -> np.ndarray:
    """(1, T, 1, F + 1) float32: the features as stored, and visibility 1; all 0 for a frame without features.

    Raises ClipError for a clip that is too short, or without features of this kind and size in any frame.
    """
    features, size = landmarks.features, _size(options)
    if features is None or landmarks.features_kind != options.features or features.shape[1] != size:
        found = "none" if features is None else f"{features.shape[1]} of {landmarks.features_kind or 'an unnamed kind'}"
        raise ClipError(f"features of a frame: found {found}, expected {size} of {options.features} (prepare.features)")
    values, _ = kept(landmarks, options)
    features = features[None, : values.shape[1]]
    return _features.clip(features, np.asarray(np.isfinite(features).all(-1)), f"features of {options.features}")


def _size(options: Options) -> int:
    """F, the numbers of a frame."""
    return options.size or FEATURE_SIZES[options.features]
