"""What OpenPose writes: `<gloss>/<clip>/<clip>_000000000000_keypoints.json`, one file a frame, with everyone in it.

`{"people": [{"pose_keypoints_2d": [x, y, score, ...], "hand_left_keypoints_2d": [...], ...}]}`; the body has 25 points
(BODY_25) or 18 (COCO), a hand 21, the face 70.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

from raysign import skeleton
from raysign.errors import ClipError, SourceError
from raysign.kinds import AnyPath, Section
from raysign.schema import ClipRef, Landmarks
from raysign.sources._json import mapping
from raysign.sources._media import Pattern, clip_at, files, stamp_of
from raysign.sources._points import landmarks, surest
from raysign.store import fingerprint

ENDING = "_keypoints.json"
PARTS = {
    "pose_keypoints_2d": "body", "face_keypoints_2d": "face", "hand_left_keypoints_2d": "left_hand",
    "hand_right_keypoints_2d": "right_hand",
}  # fmt: skip
BODIES, MORE = (18, 25), {"body": 0, "hands": 42, "face": 112}


class Options(Section):
    """A tree of OpenPose's JSON files."""

    kind: Literal["openpose_json"] = "openpose_json"
    path: AnyPath = Field(description="a folder with folders of frames in it, at any depth")
    pattern: Pattern = None
    points: Literal["body", "hands", "face"] = Field(
        "hands", description="body: the body alone; hands: and both hands; face: and the 70 points of the face"
    )
    size: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="width and height of the video, pixels; not needed when OpenPose scaled to 0..1 itself"
    )
    persons: int = Field(1, ge=1, description="people kept in each frame, the surest first")
    fps: float = Field(0.0, ge=0, description="frames a second; 0: unknown")


def recognises(path: Path) -> bool:
    """A folder with a file `..._keypoints.json` anywhere in it."""
    return next(files(path, (ENDING,)), None) is not None


def clips(options: Options) -> list[ClipRef]:
    """One clip per folder of frames, by name; its gloss is the folder above. SourceError when there is none."""
    root = options.path
    frames: dict[str, list[Path]] = {}
    for name in sorted(files(root, (ENDING,))):
        frames.setdefault(str(Path(name).parent), []).append(root / name)
    if not frames:
        raise SourceError(f"{root}: found no frames, expected <gloss>/<clip>/<clip>_000000000000{ENDING}")
    return [
        replace(
            clip_at(root, folder, options.pattern), stamp=fingerprint([(file.name, stamp_of(file)) for file in inside])
        )
        for folder, inside in sorted(frames.items())
    ]


def read(ref: ClipRef, options: Options) -> Landmarks:
    """The frames in the order of their numbers: values (M, T, V, 3) in image units with z 0, NaN for points of score 0.

    ClipError when a frame cannot be read, nobody is in any of them, or pixels have no `size`.
    """
    frames = [_people(file) for file in sorted(Path(ref.path).glob(f"*{ENDING}"), key=_number)]
    bodies = {len(person["body"]) for people in frames for person in people}
    if not bodies:
        raise ClipError(f"{ref.path}: nobody in any of {len(frames)} frames")
    if len(bodies) > 1 or not bodies <= set(BODIES):
        raise ClipError(f"{ref.path}: bodies of {', '.join(map(str, sorted(bodies)))} points, expected 18 or 25")
    name = f"openpose_{bodies.pop() + MORE[options.points]}"
    whole = skeleton.layout(name)
    found = np.stack([_points(person, whole, ref) for people in frames for person in people])
    at = np.repeat(np.arange(len(frames)), [len(people) for people in frames])
    x = surest(found, at, len(frames), options.persons)
    width, height = _size(x[..., :2], options, ref)
    with np.errstate(invalid="ignore"):  # damaged numbers, which are not seen
        x[..., :2] /= np.array([width or 1, height or 1], np.float32)
    values = np.concatenate([x[..., :2], np.zeros_like(x[..., 2:])], axis=-1)
    return landmarks(values, x[..., 2], name, ref.path, fps=options.fps, width=width, height=height)


def _people(file: Path) -> list[dict[str, np.ndarray]]:
    """For everyone in a frame the (points, 3) of each part: x, y and score."""
    try:
        return [{part: _part(person, key) for key, part in PARTS.items()} for person in mapping(file)["people"]]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ClipError(
            f"{file}: {type(error).__name__} {str(error)[:80]}, expected people and their pose_keypoints_2d"
        ) from None


def _part(person: dict[str, Any], key: str) -> np.ndarray:
    flat = person.get(key) or person.get(key.removesuffix("_2d"), ())  # as OpenPose called it before version 1.3
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is not seen
        return np.asarray(flat, np.float32).reshape(-1, 3)


def _points(person: dict[str, np.ndarray], whole: skeleton.Skeleton, ref: ClipRef) -> np.ndarray:
    """(V, 3) of x, y and score; NaN for a part that OpenPose was not asked for."""
    found = np.full((whole.points, 3), np.nan, np.float32)
    for part, count in whole.parts:
        if len(person[part]) not in (0, count):
            raise ClipError(f"{ref.path}: {len(person[part])} points of {part}, expected {count}")
        if len(person[part]):
            found[whole.slices[part]] = person[part]
    return found


def _size(xy: np.ndarray, options: Options, ref: ClipRef) -> tuple[int, int]:
    """Width and height that pixels are divided by; zeros for places that are in image units already."""
    if np.nanmax(np.abs(xy), initial=0) <= 2:
        return 0, 0
    if options.size is None:
        raise ClipError(f"{ref.path}: places in pixels, expected their video's size; set source.size=[WIDTH, HEIGHT]")
    return options.size


def _number(file: Path) -> tuple[int, str]:
    """The frame's number, by which 10 comes after 9 whether or not there are zeros before it."""
    digits = re.search(rf"(\d+){ENDING}$", file.name)
    return int(digits.group(1)) if digits else 0, file.name
