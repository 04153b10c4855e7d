"""Clips of one point: a vector of features a frame instead of places, as feature recipes make them."""

import numpy as np

from raysign.errors import ClipError
from raysign.skeleton import Skeleton

SKELETON = Skeleton("features", (("features", 1),), (), (0,))


def clip(features: np.ndarray, computed: np.ndarray, needs: str) -> np.ndarray:
    """Features (M, T, F) as a clip (M, T, 1, F + 1) float32, the last channel the visibility.

    computed: (M, T) bool, frames whose features count; the others are 0 with visibility 0. A feature that is NaN in a
    computed frame is 0. Raises ClipError, which says what a frame `needs`, when there is no such frame.
    """
    if not computed.any():
        raise ClipError(f"none of {features.shape[1]} frames shows {needs}")
    x = np.zeros((*features.shape[:2], 1, features.shape[2] + 1), np.float32)
    x[..., 0, :-1] = np.where(computed[..., None] & ~np.isnan(features), features, 0)
    x[..., 0, -1] = computed
    return x
