"""Text files of joints, one a clip: one joint a line, its numbers apart by blanks, the frames one after the other.

What the numbers of a line are, and how many lines are a frame, follows from the skeleton and parts that are declared:
MSR-Action3D's `a01_s02_e03_skeleton3D.txt` has x, y, z and a confidence of 20 joints.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from raysign.errors import ClipError
from raysign.kinds import AnyPath
from raysign.schema import ClipRef, Landmarks
from raysign.sources import npz
from raysign.sources._arrays import float32
from raysign.sources._media import Pattern, in_folders


class Options(npz.Layout):
    """A folder of text files."""

    kind: Literal["joint_text"] = "joint_text"
    path: AnyPath = Field(
        description="a folder of text files at any depth, `<gloss>/` above them unless `pattern` tells"
    )
    suffix: str = Field(".txt", min_length=1, description="how the names of the files end: _skeleton3D.txt, say")
    pattern: Pattern = None
    missing: float | None = Field(0.0, description="value that fills a part not seen in a frame; NaN always does")


def recognises(path: Path) -> bool:  # noqa: ARG001 - every source is asked
    """Never: what the numbers of a line are must be declared."""
    return False


def clips(options: Options) -> list[ClipRef]:
    """One clip per file, by name. ConfigError when the parts do not fit, SourceError when there is no file."""
    npz.blocks(options)
    return in_folders(options.path, [options.suffix.lower()], "text files of joints", options.pattern)


def read(ref: ClipRef, options: Options) -> Landmarks:
    """The clip of one person: values (1, T, V, 3). ClipError naming the line that does not fit."""
    try:
        text = Path(ref.path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ClipError(f"{ref.path}: not readable as text ({error})") from None
    lines = [line.split() for line in text.splitlines() if line.strip()]
    widths = [len(channels) for _, points, channels in npz.blocks(options) for _ in points]
    if not lines or len(lines) % len(widths):
        raise ClipError(f"{ref.path}: {len(lines)} lines, expected {len(widths)} for each frame")
    for number, line in enumerate(lines):
        if len(line) != (width := widths[number % len(widths)]):
            raise ClipError(f"{ref.path}: {len(line)} numbers in line {number + 1}, expected {width}")
    try:
        numbers = np.array([word for line in lines for word in line], float)
    except ValueError as error:
        raise ClipError(f"{ref.path}: {str(error)[:80]}, expected numbers alone") from None
    return npz.landmarks(float32(numbers, ref.path).reshape(-1, sum(widths)), options, ref.path)
