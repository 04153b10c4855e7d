"""A dataset of one's own as mmskeleton keeps it: one JSON file a video, the places of people in pixels.

`{"info": {"resolution": [width, height], "num_frame": 3, "num_keypoints": 17, "keypoint_channels": ["x", "y",
"score"]}, "annotations": [{"frame_index": 0, "keypoints": [[x, y, score], ...]}, ...], "category_id": 3}`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from raysign.errors import ClipError, SourceError
from raysign.kinds import AnyPath, Section
from raysign.schema import ClipRef, Landmarks
from raysign.skeleton import LayoutName
from raysign.sources._json import mapping
from raysign.sources._media import files, gloss_of, in_folders, label_names
from raysign.sources._points import landmarks, layout_by_points, surest

KEYS, MOST = {"info", "annotations", "category_id"}, 100_000


class Options(Section):
    """A folder of mmskeleton's JSON files."""

    kind: Literal["mmskeleton_json"] = "mmskeleton_json"
    path: AnyPath
    label_names: AnyPath | None = Field(None, description="text file with one name a line, in the order of category_id")
    layout: LayoutName | None = Field(None, description="a layout of raysign.skeleton; None: by the number of points")
    persons: int = Field(1, ge=1, description="people kept in each frame, the surest first")
    fps: float = Field(0.0, ge=0, description="frames a second; 0: unknown")


def recognises(path: Path) -> bool:
    """Such a video, or a folder whose first JSON file is one."""
    first = next(files(path, (".json",)), "" if path.suffix.lower() == ".json" and path.is_file() else None)
    try:
        return first is not None and set(mapping(path / first)) >= KEYS
    except ClipError:
        return False


def clips(options: Options) -> list[ClipRef]:
    """One clip per file, by name, without a gloss where category_id is -1. SourceError for a label without a name.

    A file that cannot be read is listed without a label, and goes to quarantine.
    """
    names = label_names(options.label_names)
    refs = in_folders(options.path, (".json",), "JSON files", None)
    return [replace(ref, gloss=_gloss(ref, names)) for ref in refs]


def _gloss(ref: ClipRef, names: list[str]) -> tuple[str, ...]:
    try:
        label = mapping(Path(ref.path)).get("category_id")
    except ClipError:
        return ()
    if not isinstance(label, int) or label < 0:
        return ()
    try:
        return (gloss_of(label, names),)
    except IndexError:
        raise SourceError(
            f"{ref.path}: category_id {label}, expected 0 to {len(names) - 1}; check label_names"
        ) from None


def read(ref: ClipRef, options: Options) -> Landmarks:
    """The people of a video: values (M, T, V, 3), z 0 unless given, pixels as image units; NaN for points of score 0.

    ClipError for anything else.
    """
    try:
        tree = mapping(Path(ref.path))
        name = layout_by_points(options.layout, int(tree["info"]["num_keypoints"]), ref.path)
        people, at, count, size = _people(tree)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise ClipError(
            f"{ref.path}: {type(error).__name__} {str(error)[:80]}, expected info, annotations and their keypoints"
        ) from None
    if not people:
        raise ClipError(f"{ref.path}: nobody in any of {count} frames")
    x = surest(np.stack(people), np.array(at), count, options.persons)
    with np.errstate(invalid="ignore"):  # damaged numbers, which are not seen
        x[..., :2] /= np.array(size, np.float32)
    return landmarks(x[..., :3], x[..., 3], name, ref.path, fps=options.fps, width=size[0], height=size[1])


def _people(tree: dict[str, Any]) -> tuple[list[np.ndarray], list[int], int, tuple[int, int]]:
    """Everyone found, (V, 4) of x, y, z and score, and in which frame; the number of frames, the width and height."""
    info = tree["info"]
    width, height = (int(side) for side in info["resolution"])
    channels, shape = list(info["keypoint_channels"]), (int(info["num_keypoints"]), len(info["keypoint_channels"]))
    count = int(info["num_frame"])
    if width < 1 or height < 1 or not 0 < count <= MOST:
        raise ValueError(f"{count} frames of {width} x {height} pixels")
    people, at = [], []
    for seen in tree["annotations"]:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which is not seen
            given = np.asarray(seen["keypoints"], np.float32).reshape(shape)
        person = np.zeros((shape[0], 4), np.float32)
        person[:, 3] = 1
        for i, channel in enumerate(("x", "y", "z", "score")):
            if channel in channels:
                person[:, i] = given[:, channels.index(channel)]
        if not 0 <= (number := int(seen["frame_index"])) < count:
            raise IndexError(f"frame_index {number} of {count} frames")
        people.append(person)
        at.append(number)
    return people, at, count, (width, height)
