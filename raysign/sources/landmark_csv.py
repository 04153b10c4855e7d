"""csv files without a header, one clip a row: its label, and then the numbers of its frames.

What the numbers of a frame are is declared as for npz files, `frames` says how many a row has: one for shapes of hands
(a label and x, y of 21 points), 16 for paths of a finger tip (a label and 16 times x, y).
"""

import csv
from codecs import BOM_UTF8
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from raysign.errors import ClipError, SourceError
from raysign.kinds import AnyPath
from raysign.schema import ClipRef, Landmarks
from raysign.sources import npz
from raysign.sources._arrays import float32
from raysign.sources._media import gloss_of, label_names, stamp_of


class Options(npz.Layout):
    """A csv file without a header."""

    kind: Literal["landmark_csv"] = "landmark_csv"
    path: AnyPath = Field(description="the csv file")
    frames: int = Field(1, ge=1, description="frames of each row")
    label_names: AnyPath | None = Field(
        None, description="text file, a name for each label number, one a line; None: a label is its own name"
    )


def recognises(path: Path) -> bool:  # noqa: ARG001 - every source is asked
    """Never: what the numbers of a row are must be declared."""
    return False


def clips(options: Options) -> list[ClipRef]:
    """One clip per row, called by the file's name and the row's number from 1; rows without anything are passed over.

    SourceError when there is no row, or a label has no name.
    """
    file, mark, names = options.path, stamp_of(options.path), label_names(options.label_names)
    npz.blocks(options)
    found, place = [], 0
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.removeprefix(BOM_UTF8).strip():
                    gloss = _gloss(line, names, f"{file}: row {number}")
                    found.append(ClipRef(f"{file.stem}/{number:06d}", str(file), mark, gloss, index=place))
                place += len(line)
    except OSError as error:
        raise SourceError(f"{file}: {error.strerror or error}; give an existing csv file") from None
    if not found:
        raise SourceError(f"{file}: found no row, expected a label and numbers in each")
    return found


def _gloss(line: bytes, names: list[str], place: str) -> tuple[str, ...]:
    """The row's label; none for a row that cannot be read, which goes to quarantine."""
    try:
        label = _cells(line, place)[0]
        return (gloss_of(label, names) if names else label,) if label else ()
    except ClipError:
        return ()
    except (IndexError, ValueError):
        raise SourceError(f"{place} begins with {label[:40]!r}, expected a number from 0 to {len(names) - 1}") from None


def _cells(line: bytes, place: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line.decode("utf-8-sig").rstrip("\r\n")], strict=True))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ClipError(f"{place}: not readable as csv ({error})") from None


def read(ref: ClipRef, options: Options) -> Landmarks:
    """The clip of one row: values (1, frames, V, 3). ClipError when its numbers are not as many as are declared."""
    try:
        with Path(ref.path).open("rb") as file:
            file.seek(ref.index)  # where the row begins: nothing before it is read
            cells = _cells(file.readline(), ref.id)[1:]
        numbers = float32(np.array(cells, float), ref.id)
    except (OSError, ValueError) as error:
        raise ClipError(f"{ref.id}: {str(error)[:80]}, expected a label and then numbers") from None
    if len(numbers) != (wanted := options.frames * npz.flat_size(options)):
        sizes = f"{wanted} for {options.frames} frames of {npz.flat_size(options)}"
        raise ClipError(f"{ref.id}: {len(numbers)} numbers, expected {sizes}; set source.parts and source.frames")
    return npz.landmarks(numbers.reshape(options.frames, -1), options, ref.id)
