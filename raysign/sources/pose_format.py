"""Files of pose-format: `<gloss>/<clip>.pose`, in versions 0.0, 0.1 and 0.2.

MediaPipe Holistic becomes pose_33, hands_42, holistic_75 or holistic_543, whichever holds all that the file has (a file
of some of its points, too: the others are not seen); OpenPose becomes openpose_25, _67, _137 and the like. Any other
file is a skeleton of its own, a part for each component. Points in metres (POSE_WORLD_LANDMARKS) are left out.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from raysign import skeleton
from raysign.errors import ClipError
from raysign.kinds import AnyPath, Section
from raysign.schema import ClipRef, Landmarks
from raysign.skeleton import Skeleton
from raysign.sources import openpose_json
from raysign.sources._media import Pattern, any_file, in_folders
from raysign.sources._points import landmarks
from raysign.sources._pose_file import Component
from raysign.sources._pose_file import read as read_file

SUFFIX = (".pose",)
MEDIAPIPE = {
    "POSE_LANDMARKS": "pose", "FACE_LANDMARKS": "face", "LEFT_HAND_LANDMARKS": "left_hand",
    "RIGHT_HAND_LANDMARKS": "right_hand",
}  # fmt: skip
PARTS = MEDIAPIPE | openpose_json.PARTS
WORLD = "POSE_WORLD_LANDMARKS"
_POSE = (
    "NOSE LEFT_EYE_INNER LEFT_EYE LEFT_EYE_OUTER RIGHT_EYE_INNER RIGHT_EYE RIGHT_EYE_OUTER LEFT_EAR RIGHT_EAR "
    "MOUTH_LEFT MOUTH_RIGHT LEFT_SHOULDER RIGHT_SHOULDER LEFT_ELBOW RIGHT_ELBOW LEFT_WRIST RIGHT_WRIST LEFT_PINKY "
    "RIGHT_PINKY LEFT_INDEX RIGHT_INDEX LEFT_THUMB RIGHT_THUMB LEFT_HIP RIGHT_HIP LEFT_KNEE RIGHT_KNEE LEFT_ANKLE "
    "RIGHT_ANKLE LEFT_HEEL RIGHT_HEEL LEFT_FOOT_INDEX RIGHT_FOOT_INDEX"
)
NAMES = {  # the last ten of the face are the irises, which raysign's layouts lack
    "POSE_LANDMARKS": _POSE.split(), "FACE_LANDMARKS": [str(i) for i in range(478)],
}  # fmt: skip
LAYOUTS = (  # from small to large
    "pose_33", "hands_42", "holistic_75", "holistic_543", "openpose_18", "openpose_60", "openpose_130", "openpose_25",
    "openpose_67", "openpose_137",
)  # fmt: skip
PIXELS_FROM = 10.0  # depths of MediaPipe are image widths and stay well below


class Options(Section):
    """A folder of pose files, or one."""

    kind: Literal["pose_format"] = "pose_format"
    path: AnyPath
    pattern: Pattern = None
    persons: int | None = Field(None, ge=1, description="people kept, the surest first; None: all")


def recognises(path: Path) -> bool:
    """A pose file, or a folder with one anywhere in it."""
    return any_file(path, SUFFIX) or (path.name.lower().endswith(SUFFIX) and path.is_file())


def clips(options: Options) -> list[ClipRef]:
    """One clip per file, sorted by path. SourceError when there is none."""
    return in_folders(options.path, SUFFIX, "pose files", options.pattern)


def read(ref: ClipRef, options: Options) -> Landmarks:
    """The people of a file: values (M, T, V, 3), pixels as image units, NaN for points of confidence 0.

    Depths of MediaPipe are image widths already and stay; those that reach further are pixels. Hands and face of
    MediaPipe, whose confidence is always 1, are no surer than their distance from the border of the image.
    ClipError when the file is torn, shows nobody, or does not say how large the image is.
    """
    header, body = read_file(Path(ref.path))
    if not (header.width and header.height):
        raise ClipError(f"{ref.path}: an image of {header.width} x {header.height} pixels, expected its size")
    layout, kept, places = _layout(header.components)
    sure = np.fmin(np.fmax(body.confidence, 0), 1)  # NaN is 0
    people = np.argsort(-sure.sum((0, 2)), kind="stable")[: options.persons]
    taken = np.moveaxis(body.values[:, :, kept, :3][:, people], 1, 0)
    values = np.zeros((*taken.shape[:2], skeleton.layout(layout).points, 3), np.float32)
    confidence = np.zeros(values.shape[:3], np.float32)
    values[:, :, places, : taken.shape[-1]] = taken
    confidence[:, :, places] = np.moveaxis(sure[:, :, kept][:, people], 1, 0)
    with np.errstate(invalid="ignore"):  # damaged numbers, which are not seen
        values[..., 0] /= header.width
        values[..., 1] /= header.height
    if ((np.abs(values[..., 2]) > PIXELS_FROM) & (confidence > 0)).any():
        values[..., 2] /= header.width
    fps = body.fps if 0 < body.fps < np.inf else 0.0
    found = landmarks(values, confidence, layout, ref.path, fps=fps, width=header.width, height=header.height)
    return _within_the_image(found) if {part.name for part in header.components} & set(MEDIAPIPE) else found


def _within_the_image(found: Landmarks) -> Landmarks:
    """Hands and face no surer than they are inside the image, as raysign's own landmarks have it."""
    most = skeleton.border_visibility(found.values[..., :2])
    for part, where in skeleton.layout(found.layout).slices.items():
        if part not in ("face", "left_hand", "right_hand"):
            most[:, :, where] = 1
    return replace(found, visibility=np.minimum(found.visibility, most))


# ---------------------------------------------------------------- what the header's points are to us


@lru_cache(maxsize=16)  # the files of a set have one header
def _layout(components: tuple[Component, ...]) -> tuple[str, slice | np.ndarray, slice | np.ndarray]:
    """The layout of a file; its points that are kept, and where in the layout each of them goes."""
    starts = [0, *accumulate(len(component.points) for component in components)]
    placed = list(zip(components, starts, strict=False))
    used = [(one, start) for one, start in placed if one.name != WORLD] or placed
    for name in LAYOUTS:
        known = skeleton.layout(name)
        pairs = [_pairs(component, start, known) for component, start in used]
        if all(pairs):
            kept, places = zip(*(pair for some in pairs for pair in some), strict=True)
            return name, _at(kept), _at(places)
    kept = [start + i for component, start in used for i in range(len(component.points))]
    return skeleton.text_of(_own([component for component, _ in used])), _at(kept), slice(len(kept))


def _at(points: Sequence[int]) -> slice | np.ndarray:
    """An index of these points, a slice where they follow each other: that reads many times as fast."""
    first, after = points[0], points[-1] + 1
    return slice(first, after) if list(points) == list(range(first, after)) else np.array(points)


def _pairs(component: Component, start: int, known: Skeleton) -> list[tuple[int, int]]:
    """(point of the file, point of the layout) for a component; none when the layout has no such part or points."""
    where = known.slices.get(PARTS.get(component.name, ""))
    if where is None:
        return []
    size, names = where.stop - where.start, NAMES.get(component.name)
    if names is None:
        return [(start + i, where.start + i) for i in range(size)] if len(component.points) == size else []
    if not set(component.points) <= set(names):
        return []
    found = [names.index(point) for point in component.points]
    return [(start + i, where.start + point) for i, point in enumerate(found) if point < size]


def _own(components: list[Component]) -> Skeleton:
    """The skeleton that the header draws; which points are twins in a mirror image it does not say."""
    starts = [0, *accumulate(len(component.points) for component in components)]
    limbs = {
        (start + min(limb), start + max(limb))
        for component, start in zip(components, starts, strict=False)
        for limb in component.limbs
        if limb[0] != limb[1]
    }
    parts = tuple((component.name, len(component.points)) for component in components)
    return Skeleton(" + ".join(name for name, _ in parts), parts, tuple(sorted(limbs)))
