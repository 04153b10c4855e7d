"""One npz file of CTR-GCN and its relatives: `x_train`, `y_train`, `x_test`, `y_test`.

`x_*` is (N, T, F): x, y, z in metres of the joints of one person after the other, 150 numbers for two people of 25
joints. `y_*` is (N, classes), one-hot. A joint of zeros was not seen; frames that fill a clip up are zeros too. Of a
file without compression, as CTR-GCN writes it, only the clips that are read enter the memory.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from raysign import skeleton
from raysign.errors import ClipError, SourceError
from raysign.kinds import AnyPath, Section
from raysign.schema import ClipRef, Landmarks
from raysign.skeleton import LayoutName
from raysign.sources._arrays import float32, has, load, mapped, shape_of
from raysign.sources._media import gloss_of, label_names, stamp_of
from raysign.sources._points import landmarks, trimmed

SPLITS = ("train", "test")


class Options(Section):
    """An npz file of CTR-GCN."""

    kind: Literal["ctrgcn_npz"] = "ctrgcn_npz"
    path: AnyPath = Field(description="the npz file")
    layout: LayoutName = Field("ntu_25", description="a layout of raysign.skeleton: the joints of each person")
    label_names: AnyPath | None = Field(None, description="text file, a name for each class, one a line")
    fps: float = Field(0.0, ge=0, description="frames a second; 0: unknown")


def recognises(path: Path) -> bool:
    """An npz file with these four arrays."""
    return has(path, *(f"{name}_{split}" for name in "xy" for split in SPLITS))


def clips(options: Options) -> list[ClipRef]:
    """The clips in their order, `train/000000` and on. SourceError when the arrays do not fit each other."""
    names = label_names(options.label_names)
    return [ref for split in SPLITS for ref in _clips_of(options.path, split, names, options)]


def _clips_of(file: Path, split: str, names: list[str], options: Options) -> list[ClipRef]:
    mark, width = stamp_of(file), skeleton.layout(options.layout).points * 3
    shape = shape_of(str(file), mark, f"x_{split}")
    if len(shape) != 3 or not shape[2] or shape[2] % width:
        expected = f"(clips, frames, persons x {width}) for {options.layout}"
        raise SourceError(f"{file}: `x_{split}` has shape {shape}, expected {expected}; set source.layout")
    classes = load(str(file), mark, f"y_{split}")
    hot = classes == 1
    if classes.ndim != 2 or len(classes) != shape[0] or (hot.sum(1) != 1).any():
        raise SourceError(f"{file}: `y_{split}` has shape {classes.shape}, expected one-hot labels of {shape[0]} clips")
    try:
        glosses = [gloss_of(label, names) for label in hot.argmax(1)]
    except IndexError:
        raise SourceError(f"{file}: {classes.shape[1]} classes, but {options.label_names} names {len(names)}") from None
    return [
        ClipRef(f"{split}/{i:06d}", str(file), mark, (gloss,), split=split, index=i) for i, gloss in enumerate(glosses)
    ]


def read(ref: ClipRef, options: Options) -> Landmarks:
    """One clip: values (M, T, V, 3), NaN for joints of zeros, without persons and last frames of them alone.

    ClipError when no joint is seen.
    """
    try:
        x = float32(mapped(ref.path, ref.stamp, f"x_{ref.split}")[ref.index], ref.id)
    except SourceError as error:
        raise ClipError(str(error)) from None
    x = x.reshape(len(x), -1, skeleton.layout(options.layout).points, 3).swapaxes(0, 1)
    return trimmed(landmarks(x, np.ones(x.shape[:3], np.float32), options.layout, ref.id, fps=options.fps))
