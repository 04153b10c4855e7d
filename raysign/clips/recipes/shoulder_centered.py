"""Upper body and hands seen from between the shoulders; the hands tied to the wrists they belong to.

Pose points 0-16 are moved so that the middle of the shoulders is the origin. A hand is given to the wrist it is
nearest to, then moved so that its own wrist lies on that pose wrist; the face (optional) so that the tip of its nose
lies on the pose nose. Order pose, face, left_hand, right_hand; channels x, y, z, visibility.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
from pydantic import Field

from raysign import bones
from raysign import skeleton as skeletons
from raysign.bones import LEFT_SHOULDER, LEFT_WRIST, NOSE, RIGHT_SHOULDER, RIGHT_WRIST
from raysign.clips import geometry
from raysign.clips.points import clear_unseen
from raysign.clips.recipes._frames import ASPECT, Frames
from raysign.clips.recipes._frames import kept as kept_frames
from raysign.errors import ClipError, ConfigError
from raysign.schema import Landmarks
from raysign.skeleton import Skeleton

CHANNELS: tuple[str, ...] = ("x", "y", "z", "visibility")
POINTS = {
    "pose": tuple(range(17)),
    "face": bones.FACE_POINTS,
    "left_hand": tuple(range(21)),
    "right_hand": tuple(range(21)),
}
PartName = Literal["pose", "face", "left_hand", "right_hand"]


class Options(Frames):
    """Shoulder-centred landmarks."""

    kind: Literal["shoulder_centered"] = "shoulder_centered"
    parts: tuple[PartName, ...] = Field(
        ("pose", "left_hand", "right_hand"), min_length=1, description="parts kept; face: the points of its contours"
    )
    scale: Literal["none", "shoulders"] = Field(
        "none", description="shoulders: divide by the clip's median distance between the shoulders in the image"
    )
    aspect: bool = Field(False, description=ASPECT)


def skeleton(options: Options, layout: str) -> Skeleton:
    """The kept points: 59 for pose and hands; order pose, face, left_hand, right_hand whatever the options' order.

    ConfigError when the layout has none of the parts, or another number of points in one.
    """
    given, sizes = dict(skeletons.layout(layout).parts), dict(skeletons.LAYOUTS["holistic_543"].parts)
    kept = [part for part in options.parts if part in given]
    if not kept or any(given[part] != sizes[part] for part in kept):
        found = f"{layout[:40]} of {', '.join(f'{part} ({count})' for part, count in given.items())}"
        wanted = " or ".join((", ".join(options.parts[:-1]), options.parts[-1])).removeprefix(" or ")
        raise ConfigError(f"prepare.kind: shoulder_centered needs MediaPipe's {wanted}, found {found}")
    return _skeleton(options.parts)


@lru_cache(maxsize=16)
def _skeleton(parts: tuple[str, ...]) -> Skeleton:
    return skeletons.of_parts("shoulder_centered", {part: POINTS[part] for part in POINTS if part in parts})


def channels(options: Options, layout: str) -> tuple[str, ...]:  # noqa: ARG001 - some recipes' depend on them
    """Place and visibility."""
    return CHANNELS


def apply(landmarks: Landmarks, options: Options) -> np.ndarray:
    """(M, T, V, 4) float32: x, y, z from the middle of the shoulders, in image units, and visibility.

    A point that is not seen is 0 with visibility 0. Without a pose in a frame (or in the layout) a seen hand or face
    keeps its shape, its root at the origin. Raises ClipError for a clip that is too short, or whose kept parts are
    never seen.
    """
    values, visibility = kept_frames(landmarks, options)
    if options.aspect:
        values = geometry.in_width(values, landmarks.width, landmarks.height)
    persons, frames, points, _ = values.shape
    given, kept = skeletons.layout(landmarks.layout).slices, skeleton(options, landmarks.layout).slices
    values = values.reshape(-1, points, 3)
    visibility = visibility.reshape(-1, points)
    x = _picked(values, visibility, given, kept)
    roots = _roots(values, given)
    _repair_hands(x, values, visibility, roots, given, kept)
    _move(x, roots, kept)
    if clear_unseen(x).all():
        raise ClipError(f"none of the kept parts is seen in any of {frames} frames of {landmarks.layout}")
    x = x.reshape(persons, frames, -1, 4)
    return _scaled(x, roots["shoulders"].reshape(persons, frames, 2, 3)) if options.scale == "shoulders" else x


def _picked(values: np.ndarray, visibility: np.ndarray, given: dict[str, slice], kept: dict[str, slice]) -> np.ndarray:
    """The kept points as they are given: (N, V, 4) for N frames, NaN for the parts that the layout lacks."""
    x = np.empty((len(values), max(place.stop for place in kept.values()), 4), np.float32)
    for part, place in kept.items():
        if part not in given:
            x[:, place] = np.nan
            continue
        points = np.asarray(POINTS[part]) + given[part].start
        if points[-1] - points[0] == len(points) - 1:
            points = slice(points[0], points[-1] + 1)  # a run: views instead of copies
        for c in range(3):  # channel by channel: the inner loop runs over points instead of over three numbers
            x[:, place, c] = values[:, points, c]
        x[:, place, 3] = visibility[:, points]
    return x


def _roots(values: np.ndarray, given: dict[str, slice]) -> dict[str, np.ndarray]:
    """(N, K, 3) each: the `shoulders`, the `wrists` and `nose` of the pose, the roots of the `hands` and the `face`.

    NaN where a point is not seen or its part is not in the layout.
    """

    wanted = {
        "shoulders": (("pose", LEFT_SHOULDER), ("pose", RIGHT_SHOULDER)),
        "wrists": (("pose", LEFT_WRIST), ("pose", RIGHT_WRIST)),
        "nose": (("pose", NOSE),),
        "hands": (("left_hand", 0), ("right_hand", 0)),
        "face": (("face", bones.FACE_ROOT),),
    }
    found = {}
    for name, points in wanted.items():
        if all(part in given for part, _ in points):
            found[name] = values[:, [given[part].start + point for part, point in points]]
        else:
            found[name] = np.full((len(values), len(points), 3), np.nan, np.float32)
    return found


def _repair_hands(
    x: np.ndarray,
    values: np.ndarray,
    visibility: np.ndarray,
    roots: dict[str, np.ndarray],
    given: dict[str, slice],
    kept: dict[str, slice],
) -> None:
    """Exchange the hands of x, and their roots, in the frames in which they lie nearer to the other's wrist.

    See `geometry.swapped_hands`; here only the kept points are written.
    """
    wrong = geometry.swapped_hands(roots["hands"], roots["wrists"])
    if not len(wrong):
        return
    roots["hands"][wrong] = roots["hands"][wrong, ::-1]
    for part, twin in (("left_hand", "right_hand"), ("right_hand", "left_hand")):
        if part in kept:
            x[wrong, kept[part], :3] = values[wrong, given[twin]]
            x[wrong, kept[part], 3] = visibility[wrong, given[twin]]


def _move(x: np.ndarray, roots: dict[str, np.ndarray], kept: dict[str, slice]) -> None:
    """Move the pose of x (N, V, 4) to the middle of the shoulders, and the root of each other part to its anchor.

    An anchor that is not seen is the origin; a part whose own root is not seen becomes NaN.
    """
    origin = roots["shoulders"].mean(axis=1, keepdims=True)
    anchors = np.concatenate([roots["wrists"], roots["nose"]], axis=1) - origin
    anchors[np.isnan(anchors)] = 0
    hands = anchors[:, :2] - roots["hands"]
    moves = {"pose": -origin[:, 0], "face": anchors[:, 2] - roots["face"][:, 0],
             "left_hand": hands[:, 0], "right_hand": hands[:, 1]}  # fmt: skip
    steps = np.zeros((len(x), len(kept), 4), np.float32)
    for i, part in enumerate(kept):
        steps[:, i, :3] = moves[part]
    sizes = [place.stop - place.start for place in kept.values()]
    x += np.repeat(steps.view(_POINT), sizes, axis=1).view(np.float32)


_POINT = np.complex128  # the four numbers of a point, 16 bytes, copied as one


def _scaled(x: np.ndarray, shoulders: np.ndarray) -> np.ndarray:
    """x with each person's coordinates divided by the median width of the shoulders; as it is when none is seen."""
    across = shoulders[:, :, 0, :2] - shoulders[:, :, 1, :2]
    width = np.sqrt((across * across).sum(-1))  # (M, T)
    for person, seen in enumerate(width):
        known = seen[seen > 0]  # leaves NaN out as well
        if len(known):
            x[person, ..., :3] /= np.median(known)
    return x
