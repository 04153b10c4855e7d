"""Numbers that people have thought out for hands and signing: a vector a frame, computed on all frames at once.

All take float32 coordinates with NaN for points not seen, and give NaN where a number cannot be told.
"""

from typing import Literal

import numpy as np

from raysign.bones import HAND_BONES
from raysign.clips import geometry

Order = Literal["legacy", "sorted"]
# The 21 connections of a hand in the orders that classifiers were trained with: by number, and as MediaPipe's set of
# connections (up to 0.10.21) is iterated over by CPython 3.11.
HAND_CONNECTIONS: dict[str, tuple[tuple[int, int], ...]] = {
    "legacy": (
        (3, 4), (0, 5), (17, 18), (0, 17), (13, 14), (13, 17), (18, 19), (5, 6), (5, 9), (14, 15), (0, 1), (9, 10),
        (1, 2), (9, 13), (10, 11), (19, 20), (6, 7), (15, 16), (2, 3), (11, 12), (7, 8),
    ),
    "sorted": tuple(sorted(HAND_BONES)),
}  # fmt: skip


def hand_names(order: Order) -> tuple[str, ...]:
    """Names of the 84 features of a hand: `x_0, y_0, z_0, x_1 ...`, then `d_0_1 ...`."""
    places = tuple(f"{axis}_{point}" for point in range(21) for axis in "xyz")
    return places + tuple(f"d_{a}_{b}" for a, b in HAND_CONNECTIONS[order])


def hand_shape(hand: np.ndarray, order: Order) -> np.ndarray:
    """The 84 features of a hand, (M, T, 21, 3) -> (M, T, 84): 63 places, 21 distances.

    The places are seen from the wrist, divided by the largest distance from it; the distances are those between places
    that a connection joins. NaN in frames that do not show all of the hand.
    """
    persons, frames = hand.shape[:2]
    hand = geometry.shifted(hand, hand[:, :, :1])
    hand = geometry.scaled(hand, geometry.distances(hand).max(-1))
    a, b = np.array(HAND_CONNECTIONS[order]).T
    lengths = geometry.distances(hand[:, :, a] - hand[:, :, b])
    features = np.concatenate([hand.reshape(persons, frames, 63), lengths], axis=-1)
    features[np.isnan(features).any(-1)] = np.nan
    return features


FINGERS = ("thumb", "index", "middle", "ring", "little")
PALM = [0, 5, 9, 13, 17]
FACE = (33, 133, 362, 263, 61, 291)  # of the face mesh: corners of one eye, of the other, of the mouth
_SIDES, _AXES = ("left", "right"), ("x", "y", "z")
PHONOLOGICAL: tuple[str, ...] = (
    *(f"{side}_{finger}_angle" for side in _SIDES for finger in FINGERS),
    *(f"{side}_location_{axis}" for side in _SIDES for axis in _AXES),
    *(f"{side}_normal_{axis}" for side in _SIDES for axis in _AXES),
    *(f"{side}_step_{axis}" for side in _SIDES for axis in _AXES),
    *(f"{side}_turn" for side in _SIDES),
    "movement_free",
    *(f"eyes_{axis}" for axis in _AXES),
    "mouth_width",
    "nonmanual_free",
)


def phonological(body: np.ndarray, hands: np.ndarray, face: np.ndarray) -> np.ndarray:
    """The 36 features named PHONOLOGICAL, (M, T, 36): how both hands are shaped, where, turned and moved; the face.

    body (M, T, 3, 3): nose, left and right shoulder. hands (M, T, 2, 21, 3): left, right. face (M, T, 6, 3): points
    FACE, NaN when the layout has none. All but the angles are seen from the nose, in shoulder widths, with level
    shoulders (`geometry.upright`).

    10 handshape: per hand the angle (radians) from the wrist's way to the index knuckle to that to the thumb's tip,
    then per finger the angle between its knuckle's way from the wrist and its own to its tip. 6 location: the mean of
    the palm. 6 orientation: the unit normal of the palm. 9 movement: the step of the location since the frame before,
    how far the tip of each normal moved, and a 0. 5 non-manual: the unit vector from one eye to the other, the width
    of the mouth, and a 0. In the first frame nothing has moved yet.
    """
    persons, frames = body.shape[:2]
    joined = np.concatenate([hands.reshape(persons, frames, 42, 3), face], axis=2)
    placed = geometry.upright(joined, body[:, :, 0], body[:, :, 1], body[:, :, 2])
    hands, face = placed[:, :, :42].reshape(persons, frames, 2, 21, 3), placed[:, :, 42:]
    location = hands[:, :, :, PALM].mean(axis=3)
    normal = _unit(np.cross(hands[..., 5, :] - hands[..., 0, :], hands[..., 17, :] - hands[..., 0, :]))
    eyes = _unit(face[:, :, 2:4].mean(axis=2) - face[:, :, 0:2].mean(axis=2))
    mouth = np.linalg.norm(face[:, :, 4] - face[:, :, 5], axis=-1, keepdims=True)
    free = np.zeros((persons, frames, 1), np.float32)
    blocks = (_angles(hands), location, normal, _since(location), np.linalg.norm(_since(normal), axis=-1), free,
              eyes, mouth, free)  # fmt: skip
    return np.concatenate([block.reshape(persons, frames, -1) for block in blocks], axis=-1, dtype=np.float32)


def _angles(hands: np.ndarray) -> np.ndarray:
    """(..., 21, 3) -> (..., 5), radians from 0 to pi."""
    knuckles, tips = hands[..., [5, 9, 13, 17], :], hands[..., [8, 12, 16, 20], :]
    wrist = hands[..., :1, :]
    first = np.concatenate([hands[..., 4:5, :], knuckles], axis=-2) - wrist
    second = np.concatenate([hands[..., 5:6, :] - wrist, tips - knuckles], axis=-2)
    return np.arccos(np.clip(np.einsum("...c,...c->...", _unit(first), _unit(second)), -1, 1))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) of length 1; NaN for those of length 0."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, np.nan)


def _since(x: np.ndarray) -> np.ndarray:
    """How x (M, T, ...) changed since the frame before; 0 in the first."""
    out = np.zeros_like(x)
    out[:, 1:] = x[:, 1:] - x[:, :-1]
    return out


# ---------------------------------------------------------------- FSL-105: 78 points, 156 numbers

SEEN_SHARE, OCCLUDED_SHARE, OCCLUDED_RUN = 0.6, 0.4, 15


def trusted(x: np.ndarray, pose: slice) -> np.ndarray:
    """Which points count as seen, (M, T, V) bool: of the pose those of visibility 0.5 or more, of hands and face those
    inside the image. x (M, T, V, 4), x and y from 0 to 1 across the image."""
    across, down = x[..., 0], x[..., 1]
    seen = (across >= 0) & (across <= 1) & (down >= 0) & (down <= 1)  # NaN is none of these
    seen[:, :, pose] = x[:, :, pose, 3] >= 0.5
    return seen


def occluded(seen: np.ndarray) -> np.ndarray:
    """Which persons are hidden too much, (M,) bool, given which points are seen, (M, T, V).

    A frame is occluded when fewer than 0.6 of its points are seen; a clip when 40 % of its frames or 15 in a row are.
    """
    hidden = seen.mean(axis=2) < SEEN_SHARE
    frames = hidden.shape[1]
    time = np.arange(frames)
    shown = np.maximum.accumulate(np.where(hidden, -1, time), axis=1)
    longest = np.where(hidden, time - shown, 0).max(axis=1)
    return (hidden.sum(axis=1) >= OCCLUDED_SHARE * frames) | (longest >= OCCLUDED_RUN)
