"""One `.pose` file: a header that names the points of every component, and a body of their places in each frame.

Little-endian throughout; a text is its length (uint16) and UTF-8. Source: the specification of pose-format, versions
0.0, 0.1 and 0.2.
"""

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from raysign.errors import ClipError

MOST_POINTS = 1 << 26  # of all frames of version 0.0, where a frame of nobody takes two bytes only


@dataclass(frozen=True)
class Component:
    """Some points that belong together. format: XYC, XYZC or XYZKC. limbs: pairs of points."""

    name: str
    format: str
    points: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Header:
    """width, height, depth: of the picture, in pixels."""

    version: float
    width: int
    height: int
    depth: int
    components: tuple[Component, ...]

    @property
    def points(self) -> int:
        """V, the points of all components."""
        return sum(len(component.points) for component in self.components)

    @property
    def dimensions(self) -> int:
        """D, numbers of a point besides its confidence."""
        return max(len(component.format) for component in self.components) - 1


@dataclass(frozen=True)
class Body:
    """values: (T, M, V, D) float32. confidence: (T, M, V) float32, 0 where a point is not seen."""

    fps: float
    values: np.ndarray
    confidence: np.ndarray


def read(path: Path) -> tuple[Header, Body]:
    """A whole file. ClipError when it is torn, or none of these."""
    try:
        data = path.read_bytes()
        header, start = _begun(data)
        stream = io.BytesIO(data)
        stream.seek(start)
        return header, read_body(stream, header)
    except (OSError, ValueError, EOFError) as error:
        raise ClipError(f"{path}: not readable as a pose file ({str(error)[:120]})") from None


_LAST: list[tuple[bytes, Header]] = []  # the header of the file before: those of a set are alike, and long


def _begun(data: bytes) -> tuple[Header, int]:
    """The header that a file begins with, and its size in bytes."""
    if not (_LAST and data.startswith(_LAST[0][0])):
        stream = io.BytesIO(data)
        header = read_header(stream)
        _LAST[:] = [(data[: stream.tell()], header)]
    return _LAST[0][1], len(_LAST[0][0])


def read_header(stream: BinaryIO) -> Header:
    """The header at the start of the stream. ValueError, EOFError when it is none."""
    version, width, height, depth, count = _take(stream, "<f4H")
    if round(version, 3) not in (0, 0.1, 0.2):
        raise ValueError(f"version {version:g}, expected 0, 0.1 or 0.2")
    header = Header(round(version, 1), width, height, depth, tuple(_component(stream) for _ in range(count)))
    if not header.points:
        raise ValueError(f"{count} components without any point")
    if len({component.name for component in header.components}) < count:
        raise ValueError("two components have the same name")
    return header


def _component(stream: BinaryIO) -> Component:
    name, form = _text(stream), _text(stream)
    if form not in ("XYC", "XYZC", "XYZKC"):
        raise ValueError(f"points of {name} are {form[:9]!r}, expected XYC or XYZC")
    points, limbs, colours = _take(stream, "<3H")
    names = tuple(_text(stream) for _ in range(points))
    pairs = _array(stream, "<u2", (limbs, 2))
    _array(stream, "<u2", (colours, 3))
    if pairs.size and pairs.max() >= points:
        raise ValueError(f"a limb of {name} ends in point {pairs.max()} of {points}")
    return Component(name, form, names, tuple(map(tuple, pairs.tolist())))


def read_body(stream: BinaryIO, header: Header) -> Body:
    """What follows the header. ValueError, EOFError when it does not hold what it promises."""
    if header.version == 0:
        return _frame_by_frame(stream, header)
    numbers = header.points * (header.dimensions + 1)
    if header.version == 0.1:
        fps, told, persons = _take(stream, "<3H")
        frames, rest = divmod(_left(stream), max(1, 4 * persons * numbers))
        if rest or frames % 65536 != told:  # a longer clip does not fit into the 16 bits of its count
            raise EOFError(f"{frames} frames and {rest} bytes, expected {told} frames")
    else:
        fps, frames, persons = _take(stream, "<fIH")
    shape = (frames, persons, header.points)
    values = _array(stream, "<f4", (*shape, header.dimensions))
    return Body(float(fps), values, _array(stream, "<f4", shape))


def _frame_by_frame(stream: BinaryIO, header: Header) -> Body:
    """Version 0.0: each frame counts its people, who are told one after the other."""
    fps, frames = _take(stream, "<2H")
    told = [[_person(stream, header) for _ in range(*_take(stream, "<H"))] for _ in range(frames)]
    shape = (frames, max(map(len, told), default=0), header.points, header.dimensions + 1)
    if shape[0] * shape[1] * shape[2] > MOST_POINTS:
        raise ValueError(f"{shape[2]} points of {shape[1]} people in {frames} frames, which is too much")
    both = np.zeros(shape, np.float32)
    for t, people in enumerate(told):
        for place, person in enumerate(people):
            both[t, place] = person
    return Body(float(fps), both[..., :-1], both[..., -1])


def _person(stream: BinaryIO, header: Header) -> np.ndarray:
    """(V, D + 1): a number, which is skipped, and component after component, each in its own format."""
    _take(stream, "<h")
    found = np.zeros((header.points, header.dimensions + 1), np.float32)
    start = 0
    for component in header.components:
        end, size = start + len(component.points), len(component.format) - 1
        block = _array(stream, "<f4", (end - start, size + 1))
        found[start:end, :size], found[start:end, -1] = block[:, :size], block[:, size]
        start = end
    return found


# ---------------------------------------------------------------- pieces


def _left(stream: BinaryIO) -> int:
    here = stream.tell()
    end = stream.seek(0, io.SEEK_END)
    stream.seek(here)
    return end - here


def _bytes(stream: BinaryIO, size: int) -> bytes:
    if size > _left(stream):  # before memory is taken for what is not there
        raise EOFError(f"it ends where {size} more bytes are promised")
    return stream.read(size)


def _take(stream: BinaryIO, form: str) -> tuple:
    return struct.unpack(form, _bytes(stream, struct.calcsize(form)))


def _text(stream: BinaryIO) -> str:
    return _bytes(stream, *_take(stream, "<H")).decode()


def _array(stream: BinaryIO, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    size = np.dtype(kind).itemsize
    for count in shape:
        size *= count  # as Python's numbers, which do not overflow
    return np.frombuffer(_bytes(stream, size), kind).reshape(shape)
