"""Arrays of numbers in npz and npy files, read as data only, and what numpy raises for one that is torn."""

import io
import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from raysign.errors import ClipError, SourceError, nearest

# the header of an array is a line of Python, the archive around it a zip
TORN = (OSError, ValueError, EOFError, SyntaxError, AttributeError, tokenize.TokenError, zipfile.BadZipFile,
        zipfile.LargeZipFile, NotImplementedError, RuntimeError, OverflowError, MemoryError, TypeError, KeyError,
        struct.error, zlib.error, lzma.LZMAError)  # fmt: skip


def float32(numbers: Any, place: str) -> np.ndarray:
    """An array, or lists of numbers, as float32; infinite where that cannot hold one. ClipError for anything else."""
    try:
        array = np.asarray(numbers)
    except (ValueError, TypeError, OverflowError) as error:
        raise ClipError(f"{place}: no array of numbers ({str(error)[:80]})") from None
    if array.dtype.kind not in "fiub":
        raise ClipError(f"{place}: found an array of {array.dtype}, expected numbers")
    with np.errstate(over="ignore"):
        return np.asarray(array, np.float32)


def has(path: Path, *keys: str) -> bool:
    """Whether the path is an npz file with arrays of these names."""
    try:
        return path.is_file() and path.suffix == ".npz" and set(keys) <= set(_names(str(path)))
    except SourceError:
        return False


@lru_cache(maxsize=4)  # a file's values serve all its clips in this process; the stamp tells a changed file
def load(file: str, stamp: str, key: str) -> np.ndarray:
    """One array of an npz file. SourceError when there is none of this name, or it is torn or holds Python objects."""
    shape_of(file, stamp, key)
    try:
        with np.load(file, allow_pickle=False) as archive:
            return archive[key]
    except TORN as error:
        raise _torn(file, key, error) from None


def together(file: str, *keys: str) -> dict[str, np.ndarray]:
    """Those of the arrays that a small npz file holds, read at one go. SourceError when it is torn."""
    try:
        with zipfile.ZipFile(file) as archive:
            known = set(archive.namelist())
            return {key: npy(archive.read(f"{key}.npy")) for key in keys if f"{key}.npy" in known}
    except TORN as error:
        raise _torn(file, " or ".join(keys), error) from None


def npy(data: bytes) -> np.ndarray:
    """The array of an npy file, read-only. Raises one of TORN when it is torn or holds Python objects."""
    size = 2 if data[6:7] == b"\x01" else 4
    start = 8 + size + int.from_bytes(data[8 : 8 + size], "little")
    form, fortran, kind = _parsed(data[:start])
    if kind.hasobject:
        raise ValueError("holds Python objects, expected numbers or strings")
    return np.frombuffer(data, kind, math.prod(form), start).reshape(form, order="F" if fortran else "C")


@lru_cache(maxsize=64)  # files of one kind begin alike, and numpy takes longer over a header than over a frame
def _parsed(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    stream = io.BytesIO(header)
    return _reader(np.lib.format.read_magic(stream))(stream)


def _reader(version: tuple[int, int]):
    return np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0


@lru_cache(maxsize=64)
def shape_of(file: str, stamp: str, key: str) -> tuple[int, ...]:  # noqa: ARG001
    """Shape of one array, without reading it. SourceError as `load`."""
    return _header(file, key)[0]


@lru_cache(maxsize=2)
def mapped(file: str, stamp: str, key: str) -> np.ndarray:
    """As `load`; of an array that is stored without compression only what is used of it is ever read."""
    form, fortran, kind, start = _header(file, key)
    if not start or 0 in form:
        return load(file, stamp, key)
    try:
        return np.memmap(file, kind, "r", start, form, "F" if fortran else "C")
    except TORN as error:
        raise _torn(file, key, error) from None


def _header(file: str, key: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether in Fortran's order, dtype, and where in the file the numbers begin: 0 when they are compressed."""
    if key not in (names := _names(file)):
        raise SourceError(f"{file}: no key {key!r}, found {', '.join(names)}{nearest(key, names)}")
    try:
        with zipfile.ZipFile(file) as archive, archive.open(f"{key}.npy") as member:
            entry = archive.getinfo(f"{key}.npy")
            form, fortran, kind = _reader(np.lib.format.read_magic(member))(member)
            within = member.tell()
        start = _content(file, entry.header_offset) + within if entry.compress_type == zipfile.ZIP_STORED else 0
    except TORN as error:
        raise _torn(file, key, error) from None
    if kind.hasobject:
        raise SourceError(f"{file}: `{key}` holds Python objects, expected numbers or strings; save it without them")
    return form, fortran, kind, start


def _content(file: str, header: int) -> int:
    """Where the content of a zip's member begins whose header is at `header`: after that and two texts of any size."""
    with Path(file).open("rb") as archive:
        archive.seek(header + 26)
        return header + 30 + sum(struct.unpack("<HH", archive.read(4)))


def _names(file: str) -> list[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except TORN as error:
        raise SourceError(f"{file}: not readable as npz ({' '.join(str(error).split())[:120]})") from None


def _torn(file: str, key: str, error: Exception) -> SourceError:
    return SourceError(f"{file}: `{key}` is torn ({type(error).__name__}: {' '.join(str(error).split())[:120]})")
