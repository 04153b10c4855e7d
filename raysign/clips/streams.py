"""What of a skeleton a model sees: its joints, its bones, or how either moves (Shi et al., CVPR 2019).

x is (M, T, V, C) float32 with NaN for points not seen, in every channel; the last one is the visibility.
"""

from functools import lru_cache
from typing import Literal

import numpy as np

from raysign.skeleton import Skeleton

Stream = Literal["joint", "bone", "joint_motion", "bone_motion"]


def stream(x: np.ndarray, which: Stream, known: Skeleton) -> np.ndarray:
    """One of the four, of the same shape as x; bones are those to each point's parent in the skeleton."""
    if which.startswith("bone"):
        x = bones(x, _parents(known))
    return motion(x) if which.endswith("motion") else x


@lru_cache(maxsize=16)
def _parents(known: Skeleton) -> list[int]:
    return known.parents()


def bones(x: np.ndarray, parents: list[int]) -> np.ndarray:
    """From each point's parent to the point, 0 for a root; the visibility is the mean of both. Unseen unless both are.

    parents: for each point the one it hangs on, itself for a root. JointToBone of pyskl.
    """
    hung = x[:, :, parents]
    out = x - hung
    out[..., -1] = (x[..., -1] + hung[..., -1]) / 2
    return out


def motion(x: np.ndarray) -> np.ndarray:
    """To where each point is in the next frame; the visibility is the mean of both. Unseen unless it is in both.

    The last frame moves by 0 and keeps its visibility. ToMotion of pyskl.
    """
    out = x.copy()
    out[:, :-1] = x[:, 1:] - x[:, :-1]
    out[:, :-1, :, -1] = (x[:, 1:, :, -1] + x[:, :-1, :, -1]) / 2
    out[:, -1, :, :-1] -= x[:, -1, :, :-1]
    return out
