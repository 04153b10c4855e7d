"""Arrays of st-gcn and its many descendants: `<split>_data.npy` (N, C, T, V, M) beside `<split>_label.pkl`.

The pickle holds (names, labels). Channels are x, y, z, or x, y and a score for poses found in pictures, where st-gcn
has subtracted one half from x and y. A joint of zeros was not seen. The array is memory-mapped, whatever its size.
"""

from collections import Counter
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from pydantic import Field

from raysign.errors import ClipError, SourceError
from raysign.kinds import AnyPath, Section
from raysign.schema import ClipRef, Landmarks, canonical_split
from raysign.skeleton import LayoutName
from raysign.sources._arrays import TORN, float32
from raysign.sources._media import gloss_of, label_names, require_unique, stamp_of
from raysign.sources._plain_pickle import load
from raysign.sources._points import landmarks, layout_by_points, trimmed

SCORED = {"openpose_18", "minimal_27", "coco_17"}  # third channel a score, and one half subtracted from x and y


class Options(Section):
    """npy and pkl of st-gcn."""

    kind: Literal["stgcn_npy"] = "stgcn_npy"
    path: AnyPath = Field(description="a folder of <split>_data.npy and <split>_label.pkl, or one npy file")
    layout: LayoutName | None = Field(None, description="a layout of raysign.skeleton; None: by the number of points")
    scored: bool | None = Field(
        None, description="channels are x - 0.5, y - 0.5, score instead of x, y, z; None: by the layout"
    )
    label_names: AnyPath | None = Field(None, description="text file, a name for each label number, one a line")
    fps: float = Field(0.0, ge=0, description="frames a second; 0: unknown")


def recognises(path: Path) -> bool:
    """A `*_data.npy` with its labels, or a folder of such."""
    files = sorted(path.glob("*_data*.npy")) if path.is_dir() else [path]
    return any(file.suffix == ".npy" and file.is_file() and _labels_of(file).is_file() for file in files)


def clips(options: Options) -> list[ClipRef]:
    """The clips of each file in its order; a name that more than one of them has is told with the file's, as
    `train_data/sample_0`. SourceError when labels are missing or do not fit the array.
    """
    root = options.path
    files = sorted(root.glob("*_data*.npy")) if root.is_dir() else [root]
    if not files or not root.exists():
        raise SourceError(f"{root}: found no data, expected train_data.npy beside train_label.pkl")
    for one, other in pairwise(files):
        if _labels_of(one) == _labels_of(other):
            step = "give one of them as source.path"
            raise SourceError(f"{root}: {one.name} and {other.name} have the same labels; {step}")
    names = label_names(options.label_names)
    found = [ref for file in files for ref in _clips_of(file, names)]
    counts = Counter(ref.id for ref in found)  # clips are often only numbered, in each file anew
    told_apart = [replace(ref, id=f"{Path(ref.path).stem}/{ref.id}") if counts[ref.id] > 1 else ref for ref in found]
    return require_unique(told_apart, root)


def _clips_of(file: Path, names: list[str]) -> list[ClipRef]:
    array, (ids, labels) = _mapped(str(file), stamp_of(file)), _told(_labels_of(file))
    if len(ids) != len(array) or len(labels) != len(array):
        found = f"{len(ids)} names and {len(labels)} labels"
        raise SourceError(f"{_labels_of(file)}: {found} for the {len(array)} clips of {file.name}")
    split = canonical_split(file.stem.split("_")[0])
    try:
        glosses = [gloss_of(label, names) for label in labels]
    except (IndexError, TypeError, ValueError):
        raise SourceError(f"{_labels_of(file)}: a label is no number that has a name") from None
    mark = stamp_of(file)
    return [
        ClipRef(_name(name), str(file), mark, (gloss,), split=split, index=i)
        for i, (name, gloss) in enumerate(zip(ids, glosses, strict=True))
    ]


def _name(told: str | int) -> str:
    """A clip's id: its name without the ending."""
    path = PurePosixPath(str(told))
    return str(path.parent / path.stem)


def _told(file: Path) -> tuple[list, list]:
    """The clips' names and labels."""
    told = load(file)
    try:
        ids, labels = (list(column) for column in told[:2])
    except (TypeError, ValueError, LookupError):
        raise SourceError(f"{file}: expected (names, labels), one of each for a clip") from None
    if not all(isinstance(name, str | int) for name in ids):
        raise SourceError(f"{file}: a name is no text; expected (names, labels)")
    return ids, labels


def read(ref: ClipRef, options: Options) -> Landmarks:
    """One clip: values (M, T, V, 3), NaN for joints of zeros, without persons and last frames of them alone.

    ClipError when no joint is seen.
    """
    try:
        x = float32(_mapped(ref.path, ref.stamp)[ref.index], ref.id).transpose(3, 1, 2, 0)  # (M, T, V, C)
    except SourceError as error:
        raise ClipError(str(error)) from None
    name = layout_by_points(options.layout, x.shape[2], ref.path)
    values, visibility = np.zeros((*x.shape[:3], 3), np.float32), np.ones(x.shape[:3], np.float32)
    if options.scored if options.scored is not None else name in SCORED:
        values[..., :2] = x[..., :2] + 0.5
        visibility = np.where((x != 0).any(-1), x[..., 2], 0)  # a joint of zeros is not one in the picture's middle
    else:
        values[..., : x.shape[-1]] = x
    return trimmed(landmarks(values, visibility, name, ref.id, fps=options.fps))


def _labels_of(file: Path) -> Path:
    return file.with_name(file.stem.split("_data")[0] + "_label.pkl")


@lru_cache(maxsize=8)
def _mapped(file: str, stamp: str) -> np.ndarray:  # noqa: ARG001 - the stamp tells a changed file
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except TORN as error:
        raise SourceError(f"{file}: not readable as npy ({str(error)[:120]})") from None
    if array.ndim != 5 or array.shape[1] not in (2, 3) or array.dtype.kind != "f":
        raise SourceError(
            f"{file}: shape {array.shape} of {array.dtype}, expected floats (clips, 2 or 3, frames, points, persons)"
        )
    return array
