"""Kinetics-skeleton: one JSON file a clip, poses of OpenPose's 18 points in image units, several people a frame.

`{"data": [{"frame_index": 1, "skeleton": [{"pose": [x, y, ...], "score": [...]}, ...]}, ...], "label": "...",
"label_index": 3}` in folders such as `kinetics_train/` and `kinetics_val/`. Source: Yan, Xiong and Lin (AAAI 2018).
"""

import contextlib
import json
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from raysign.errors import ClipError, SourceError
from raysign.kinds import AnyPath, Section
from raysign.schema import SPLITS, ClipRef, Landmarks
from raysign.sources._json import mapping, tree
from raysign.sources._media import require_unique, stamp_of
from raysign.sources._points import surest

LAYOUT, POINTS, MOST = "openpose_18", 18, 100_000
LISTING = "_label.json"
_TAIL = 1024  # bytes


class Options(Section):
    """A folder of Kinetics-skeleton JSON files."""

    kind: Literal["kinetics_json"] = "kinetics_json"
    path: AnyPath = Field(description="a folder with clips in it, at any depth, or one JSON file")
    persons: int = Field(2, ge=1, description="people kept in each frame, the surest first")
    fps: float = Field(30.0, ge=0, description="frames a second; 0: unknown")


def recognises(path: Path) -> bool:
    """Such a clip, or a folder whose first JSON file is one."""
    found = (file for file in path.rglob("*.json") if not file.name.endswith(LISTING))
    first = next(found, None) if path.is_dir() else path if path.suffix == ".json" and path.is_file() else None
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
    step = "expected a mapping of clips to their label; mend it or take it away"
    try:
        return {str(name): str(told["label"]) for name, told in tree(file, SourceError, step).items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise SourceError(f"{file}: {type(error).__name__} {str(error)[:80]}, {step}") from None


def _ref(file: Path, relative: Path, listed: dict[str, str]) -> ClipRef:
    split = next((name for name in SPLITS if relative.parent.name.endswith(name)), None)
    label = listed.get(file.stem) or _label(file)
    return ClipRef(
        relative.with_suffix("").as_posix(), str(file), stamp_of(file), (str(label),) if label else (), split=split
    )


def _label(file: Path) -> str | None:
    """The label a clip's file gives: read from its end, where it usually is, else from the whole."""
    with contextlib.suppress(OSError, ClipError, ValueError):
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - _TAIL))
            if told := re.search(rb'"label": *("(?:[^"\\]|\\.)*"), *"label_index": *-?\d+ *}\s*$', opened.read()):
                return json.loads(told[1])
        return _clip(file).get("label")
    return None


def read(ref: ClipRef, options: Options) -> Landmarks:
    """The clip's people, values (M, T, 18, 3) with z 0, NaN for points of score 0; as many frames as are numbered.

    A frame's people are sorted by their scores, so that places are not persons. ClipError for anything else.
    """
    frames = _clip(Path(ref.path)).get("data") or []
    try:
        numbers = [int(frame["frame_index"]) for frame in frames]
        shown = [(i, one) for i, frame in zip(numbers, frames, strict=True) for one in frame["skeleton"]]
        pose = np.array([one["pose"] for _, one in shown], np.float32).reshape(len(shown), POINTS, 2)
        score = np.array([one["score"] for _, one in shown], np.float32).reshape(len(shown), POINTS, 1)
        at = np.array([number for number, _ in shown], np.int64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ClipError(
            f"{ref.path}: {type(error).__name__} {str(error)[:80]}, expected frame_index and pose, score of 18 points"
        ) from None
    people = np.concatenate([pose, np.zeros_like(score), score.clip(0, 1)], axis=2)
    people[~(np.isfinite(pose).all(-1) & (score[..., 0] > 0))] = np.nan
    there = np.isfinite(people[..., 0]).any(1)
    people, at = people[there], at[there]
    if not len(at):
        raise ClipError(f"{ref.path}: nobody in any of {len(frames)} frames")
    first, last = min(numbers), max(numbers)
    if first < 0 or last > MOST:
        raise ClipError(f"{ref.path}: frames numbered {first} to {last}, expected 1 to {MOST} at most")
    first = min(first, 1)  # published files count from 1
    values = surest(people, at - first, last - first + 1, options.persons)
    return Landmarks(np.ascontiguousarray(values[..., :3]), np.ascontiguousarray(values[..., 3]), LAYOUT, options.fps)


def _clip(file: Path) -> dict[str, Any]:
    found = mapping(file)
    if not isinstance(found.get("data", []), list):
        raise ClipError(f"{file}: expected a clip of data, label and label_index")
    return found
