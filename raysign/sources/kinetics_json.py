"""Kinetics-skeleton: one JSON file a clip, poses of OpenPose's 18 points in image units, several people a frame.

`{"data": [{"frame_index": 1, "skeleton": [{"pose": [x, y, ...], "score": [...]}, ...]}, ...], "label": "...",
"label_index": 3}` in folders such as `kinetics_train/` and `kinetics_val/`. Source: Yan, Xiong and Lin (AAAI 2018).
"""

import contextlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from raysign.config import AnyPath, Section
from raysign.errors import ClipError, SourceError
from raysign.schema import ClipRef, Landmarks
from raysign.sources._json import mapping
from raysign.sources._media import require_unique, stamp_of
from raysign.sources._points import surest

LAYOUT, POINTS, MOST = "openpose_18", 18, 100_000
SPLITS = ("train", "val", "test")
LISTING = "_label.json"


class Options(Section):
    """A folder of Kinetics-skeleton JSON files."""

    kind: Literal["kinetics_json"] = "kinetics_json"
    path: AnyPath = Field(description="a folder with clips in it, at any depth, or one JSON file")
    persons: int = Field(2, ge=1, description="people kept in each frame, the surest first")
    fps: float = Field(30.0, ge=0, description="frames a second; 0: unknown")


def recognises(path: Path) -> bool:
    """A folder whose first JSON file is such a clip."""
    found = (file for file in path.rglob("*.json") if not file.name.endswith(LISTING))
    first = next(found, None) if path.is_dir() else None
    try:
        return first is not None and {"data", "label_index"} <= set(_clip(first))
    except ClipError:
        return False


def clips(options: Options) -> list[ClipRef]:
    """One clip per file, by name, in the split that its folder's name ends in.

    Labels come from the lists `*_label.json` beside or above the clips, and for a clip that none of them names from
    its own file. A file that cannot be read is listed without a label, and goes to quarantine.
    """
    root = options.path
    base = root if root.is_dir() else root.parent
    files = [root] if root.is_file() else sorted(root.rglob("*.json"))
    listed = {}
    for file in (file for file in files if file.name.endswith(LISTING)):
        listed |= _listed(file)
    files = [file for file in files if not file.name.endswith(LISTING)]
    if not files:
        raise SourceError(f"{root}: no JSON files in it, expected kinetics_train/CLIP.json and the like")
    return require_unique([_ref(file, file.relative_to(base), listed) for file in files], root)


def _listed(file: Path) -> dict[str, str]:
    """Clip -> label."""
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): str(told["label"]) for name, told in tree.items()}
    except (OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        step = "expected a mapping of clips to their label; mend it or take it away"
        raise SourceError(f"{file}: {type(error).__name__} {str(error)[:80]}, {step}") from None


def _ref(file: Path, relative: Path, listed: dict[str, str]) -> ClipRef:
    split = next((name for name in SPLITS if relative.parent.name.endswith(name)), None)
    label = listed.get(file.stem)
    if label is None:  # read as a whole for it, so that lists are much the faster way
        with contextlib.suppress(ClipError):
            label = _clip(file).get("label")
    return ClipRef(
        relative.with_suffix("").as_posix(), str(file), stamp_of(file), (str(label),) if label else (), split=split
    )


def read(ref: ClipRef, options: Options) -> Landmarks:
    """The clip's people, values (M, T, 18, 3) with z 0, NaN for points of score 0; as many frames as are numbered.

    A frame's people are sorted by their scores, so that places are not persons. ClipError for anything else.
    """
    frames = _clip(Path(ref.path)).get("data")
    try:
        told = {int(frame["frame_index"]): _people(frame["skeleton"]) for frame in frames or ()}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ClipError(
            f"{ref.path}: {type(error).__name__} {str(error)[:80]}, expected frame_index and pose, score of 18 points"
        ) from None
    shown = {number: people for number, people in told.items() if people}
    if not shown:
        raise ClipError(f"{ref.path}: nobody in any of {len(frames or ())} frames")
    first, last = min(shown), max(shown)
    if first < 0 or last > MOST:
        raise ClipError(f"{ref.path}: frames numbered {first} to {last}, expected 1 to {MOST} at most")
    start = min(first, 1)  # published files count from 1
    values = surest([shown.get(number, ()) for number in range(start, last + 1)], options.persons)
    return Landmarks(np.ascontiguousarray(values[..., :3]), np.ascontiguousarray(values[..., 3]), LAYOUT, options.fps)


def _people(skeletons: list[dict]) -> list[np.ndarray]:
    """(18, 4) of x, y, z and score for each of the people of a frame."""
    found = []
    for one in skeletons:
        pose, score = np.array(one["pose"], np.float32).reshape(POINTS, 2), np.array(one["score"], np.float32)
        person = np.concatenate([pose, np.zeros((POINTS, 1), np.float32), score.reshape(POINTS, 1)], axis=1)
        person[~(np.isfinite(person).all(1) & (score > 0))] = np.nan
        if np.isfinite(person).any():
            person[:, 3] = np.clip(person[:, 3], 0, 1)
            found.append(person)
    return found


def _clip(file: Path) -> dict[str, Any]:
    tree = mapping(file)
    if not isinstance(tree.get("data", []), list):
        raise ClipError(f"{file}: expected a clip of data, label and label_index")
    return tree
