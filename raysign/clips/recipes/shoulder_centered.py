"""Upper body and hands seen from between the shoulders; the hands tied to the wrists they belong to.

Pose points 0-16 are moved so that the middle of the shoulders is the origin. A hand is given to the wrist it is
nearest to, then moved so that its own wrist lies on that pose wrist; the face (optional) so that the tip of its nose
lies on the pose nose. Order pose, face, left_hand, right_hand; channels x, y, z, visibility.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
from pydantic import Field

from raysign import skeleton as skeletons
from raysign.config import Section
from raysign.errors import ClipError
from raysign.schema import Landmarks
from raysign.skeleton import LEFT_SHOULDER, LEFT_WRIST, NOSE, RIGHT_SHOULDER, RIGHT_WRIST, Skeleton

CHANNELS: tuple[str, ...] = ("x", "y", "z", "visibility")
POINTS = {
    "pose": tuple(range(17)),
    "face": skeletons.FACE_POINTS,
    "left_hand": tuple(range(21)),
    "right_hand": tuple(range(21)),
}
PartName = Literal["pose", "face", "left_hand", "right_hand"]


class Options(Section):
    """Shoulder-centred landmarks."""

    kind: Literal["shoulder_centered"] = "shoulder_centered"
    parts: tuple[PartName, ...] = Field(
        ("pose", "left_hand", "right_hand"), min_length=1, description="parts kept; face: the points of its contours"
    )
    max_frames: int = Field(300, ge=1, description="frames kept, from the first")
    min_frames: int = Field(1, ge=1, description="a clip of fewer frames is dropped")
    scale: Literal["none", "shoulders"] = Field(
        "none", description="shoulders: divide by the clip's median distance between the shoulders in the image"
    )


def skeleton(options: Options) -> Skeleton:
    """The kept points: 59 for pose and hands; order pose, face, left_hand, right_hand whatever the options' order."""
    return _skeleton(options.parts)


@lru_cache(maxsize=16)
def _skeleton(parts: tuple[str, ...]) -> Skeleton:
    return skeletons.of_parts("shoulder_centered", {part: POINTS[part] for part in POINTS if part in parts})


def apply(landmarks: Landmarks, options: Options) -> np.ndarray:
    """(M, T, V, 4) float32: x, y, z from the middle of the shoulders, in image units, and visibility.

    A point that is not seen is 0 with visibility 0. Without a pose in a frame (or in the layout) a seen hand or face
    keeps its shape, its root at the origin. Raises ClipError for a clip that is too short, or whose kept parts are
    never seen.
    """
    values = landmarks.values[:, : options.max_frames]
    visibility = landmarks.visibility[:, : options.max_frames]
    persons, frames = values.shape[:2]
    if frames < options.min_frames:
        raise ClipError(f"found {frames} frames, expected at least {options.min_frames} (prepare.min_frames)")
    given, kept = skeletons.layout(landmarks.layout).slices, skeleton(options)
    anchors = _anchors(values, given)
    swapped = _swapped(values, given)
    x = np.empty((persons, frames, kept.points, 4), np.float32)
    for part, place in kept.slices.items():
        own, twin = given.get(part), given.get(_TWIN.get(part, ""))
        _put(x[:, :, place], values, visibility, own, part, anchors)
        if twin is not None and swapped.any():
            other = np.empty((1, int(swapped.sum()), len(POINTS[part]), 4), np.float32)
            moved = {name: anchor[swapped][None] for name, anchor in anchors.items()}
            _put(other, values[swapped][None], visibility[swapped][None], twin, part, moved)
            x[:, :, place][swapped] = other[0]
    _clear_unseen(x, landmarks)
    return _scaled(x, values, given) if options.scale == "shoulders" else x


_TWIN = {"left_hand": "right_hand", "right_hand": "left_hand"}
_ROOT = {"left_hand": 0, "right_hand": 0, "face": skeletons.FACE_ROOT}


def _put(x: np.ndarray, values: np.ndarray, visibility: np.ndarray, source: slice | None, part: str, anchors) -> None:
    """Fill x (M, T, P, 4) with the points of `source`, moved so that the part's root lies on its anchor."""
    if source is None:
        x[...] = np.nan
        return
    points = np.asarray(POINTS[part])
    whole = bool(points[-1] == len(points) - 1)  # a run from 0: a view instead of a copy
    picked = slice(source.start, source.start + len(points)) if whole else points + source.start
    shift = anchors[part] - values[:, :, source.start + _ROOT[part]] if part in _ROOT else anchors[part]
    xyz = values[:, :, picked]
    for c in range(3):  # channel by channel: the inner loop then runs over the points instead of over three numbers
        np.add(xyz[..., c], shift[..., c, None], out=x[..., c])
    x[..., 3] = visibility[:, :, picked]


def _anchors(values: np.ndarray, given: dict[str, slice]) -> dict[str, np.ndarray]:
    """(M, T, 3) for each part: what `pose` is moved by, and where the roots of the other parts come to lie."""
    if "pose" not in given:
        zero = np.zeros((*values.shape[:2], 3), np.float32)
        return dict.fromkeys(POINTS, zero)
    start = given["pose"].start
    origin = (values[:, :, start + LEFT_SHOULDER] + values[:, :, start + RIGHT_SHOULDER]) * np.float32(0.5)
    roots = {"face": NOSE, "left_hand": LEFT_WRIST, "right_hand": RIGHT_WRIST}
    found = {part: values[:, :, start + point] - origin for part, point in roots.items()}
    for anchor in found.values():
        anchor[np.isnan(anchor).any(-1)] = 0
    return {"pose": -origin, **found}


def _swapped(values: np.ndarray, given: dict[str, slice]) -> np.ndarray:
    """(M, T) bool: frames in which the hands, as named, lie nearer to the other's wrist than to their own.

    Two hands: by the sum of both distances; one hand: by its own. Distances are taken in the image, as the depth of a
    hand is counted from its own wrist and cannot be compared with that of the pose. Unseen or equal: not swapped.
    """
    if not {"pose", "left_hand", "right_hand"} <= set(given):
        return np.zeros(values.shape[:2], bool)
    start = given["pose"].start
    wrists = values[:, :, start + LEFT_WRIST : start + RIGHT_WRIST + 1, :2]
    hands = values[:, :, [given["left_hand"].start, given["right_hand"].start], :2]
    apart = hands[:, :, :, None] - wrists[:, :, None]  # (M, T, hand, wrist, 2)
    distance = np.sqrt(np.einsum("mthwc,mthwc->mthw", apart, apart))
    distance[np.isnan(distance)] = 0
    return distance[:, :, 0, 1] + distance[:, :, 1, 0] < distance[:, :, 0, 0] + distance[:, :, 1, 1]


def _clear_unseen(x: np.ndarray, landmarks: Landmarks) -> None:
    """Zeros, with visibility 0, for the points of x that are not seen. ClipError when that is all of them."""
    unseen = np.isnan(np.einsum("mtvc->mtv", x))
    if unseen.all():
        raise ClipError(f"none of the kept parts is seen in any of {x.shape[1]} frames of {landmarks.layout}")
    x[unseen] = 0


def _scaled(x: np.ndarray, values: np.ndarray, given: dict[str, slice]) -> np.ndarray:
    """x with each person's coordinates divided by the median width of the shoulders; as it is when none is seen."""
    if "pose" not in given:
        return x
    start = given["pose"].start
    across = values[:, :, start + LEFT_SHOULDER, :2] - values[:, :, start + RIGHT_SHOULDER, :2]
    width = np.sqrt((across * across).sum(-1))  # (M, T)
    for person, seen in enumerate(width):
        known = seen[seen > 0]  # leaves NaN out as well
        if len(known):
            x[person, ..., :3] /= np.median(known)
    return x
