"""One file for each frame: `<path>/<gloss>/<clip>/<frame>.npy`, a flat vector of numbers, as many tutorials write them.

Vectors of 1,662 numbers are pose, face and hands of MediaPipe, those of 258 pose and hands; others must be declared.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from raysign.errors import ClipError, SourceError
from raysign.kinds import AnyPath
from raysign.schema import ClipRef, Landmarks
from raysign.sources import npz
from raysign.sources._arrays import TORN, float32, npy
from raysign.sources._media import stamp_of
from raysign.sources.npz import Part
from raysign.store import fingerprint

_POSE = Part(part="pose", channels=("x", "y", "z", "visibility"))  # pyright: ignore[reportCallIssue]
_LEFT, _RIGHT, _FACE = (Part(part=name) for name in ("left_hand", "right_hand", "face"))  # pyright: ignore[reportCallIssue]
KNOWN = {1662: ("holistic_543", (_POSE, _FACE, _LEFT, _RIGHT)), 258: ("holistic_75", (_POSE, _LEFT, _RIGHT))}


class Options(npz.Layout):
    """A tree of npy files."""

    kind: Literal["npy_tree"] = "npy_tree"
    path: AnyPath = Field(description="a folder of <gloss>/<clip>/<frame>.npy")
    missing: float | None = Field(0.0, description="value that fills a part not seen in a frame; NaN always does")


def recognises(path: Path) -> bool:
    """A folder whose first npy file lies two folders deep and is called by a number."""
    first = next(path.glob("*/*/*.npy"), None) if path.is_dir() else None
    return first is not None and first.stem.isdigit()


def clips(options: Options) -> list[ClipRef]:
    """One clip per folder of frames, by name; its gloss is the folder above. SourceError when there is none."""
    folders = sorted({file.parent for file in options.path.glob("*/*/*.npy")})
    if not folders:
        raise SourceError(f"{options.path}: found no frames, expected <gloss>/<clip>/<frame>.npy")
    return [
        ClipRef(
            folder.relative_to(options.path).as_posix(), str(folder),
            fingerprint([(file.name, stamp_of(file)) for file in _frames(folder)]), (folder.parent.name,),
        )
        for folder in folders
    ]  # fmt: skip


def read(ref: ClipRef, options: Options) -> Landmarks:
    """The frames in the order of their numbers: values (1, T, V, 3). ClipError when one is torn or does not fit."""
    vectors = []
    for file in _frames(Path(ref.path)):
        try:
            vectors.append(float32(npy(file.read_bytes()), str(file)).reshape(-1))
        except TORN as error:
            raise ClipError(f"{file}: not readable as npy ({str(error)[:80]})") from None
        if len(vectors[-1]) != len(vectors[0]):
            raise ClipError(f"{file}: {len(vectors[-1])} numbers, expected {len(vectors[0])} as in the first frame")
    if not vectors:
        raise ClipError(f"{ref.path}: no frames in it")
    if not (options.parts or options.skeleton) and len(vectors[0]) in KNOWN:
        layout, parts = KNOWN[len(vectors[0])]
        options = options.model_copy(update={"layout": layout, "parts": parts})
    if (wanted := npz.flat_size(options)) != len(vectors[0]):
        raise ClipError(f"{ref.path}: frames of {len(vectors[0])} numbers, expected {wanted}; declare source.parts")
    return npz.landmarks(np.stack(vectors), options, ref.path)


def _frames(folder: Path) -> list[Path]:
    """By number where they have one: 10.npy comes after 9.npy."""
    return sorted(folder.glob("*.npy"), key=lambda file: (int(file.stem) if file.stem.isdigit() else 10**9, file.name))
