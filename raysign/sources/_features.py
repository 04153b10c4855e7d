"""What readers of features share: as many numbers a frame as their kind has, and NaN for a frame without."""

from typing import Any

import numpy as np

from raysign.errors import ClipError
from raysign.schema import FEATURE_SIZES, Landmarks
from raysign.skeleton import NO_POINTS
from raysign.sources._arrays import float32


def alone(numbers: Any, kind: str, place: str, fps: float) -> Landmarks:
    """`features` as a clip without any points (layout no_points)."""
    found = features(numbers, kind, place)
    values = np.empty((1, len(found), 0, 3), np.float32)
    return Landmarks(values, values[..., 0], NO_POINTS.name, fps, features=found, features_kind=kind)


def features(numbers: Any, kind: str, place: str) -> np.ndarray:
    """(T, F) float32, a row of NaN for a frame whose numbers are not all finite.

    ClipError when they are no such numbers, not as many a frame as their kind has, or finite in no frame.
    """
    found = float32(numbers, place)
    size = FEATURE_SIZES.get(kind)
    if found.ndim != 2 or 0 in found.shape or found.shape[1] != (size or found.shape[1]):
        raise ClipError(f"{place}: features of shape {found.shape}, expected (frames, {size or 'numbers'}) of {kind}")
    seen = np.isfinite(found).all(axis=1, keepdims=True)
    if not seen.any():
        raise ClipError(f"{place}: no finite features in any of {len(found)} frames")
    return np.where(seen, found, np.float32(np.nan))
