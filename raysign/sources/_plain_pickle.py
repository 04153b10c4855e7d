"""Pickles of plain containers and numpy arrays; anything else in one is refused before it is made.

Data sets of the field are published as pickles, and a pickle is a program. This reader knows the few constructors that
lists, dicts and arrays of numbers and strings need, and calls no other.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core.multiarray import scalar  # pyright: ignore[reportAttributeAccessIssue]

from raysign.errors import SourceError


class _Kind:
    """A dtype: its name and byte order. numpy's own would take flags too, and wrong ones make it follow any address."""

    def __init__(self, name: str, *_):
        self.dtype = np.dtype(str(name))
        if self.dtype.kind not in "biufcSUO":
            raise pickle.UnpicklingError(f"an array of {self.dtype}")

    def __setstate__(self, state: tuple):
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array, of a kind as above."""

    def __setstate__(self, state: tuple):
        version, shape, kind, fortran, content = state
        super().__setstate__((version, shape, kind.dtype, fortran, content))


def _empty(*_) -> np.ndarray:
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _filled(content: bytes, kind: _Kind, shape: tuple, order: str) -> np.ndarray:
    return np.frombuffer(content, kind.dtype).reshape(shape, order=order)  # pyright: ignore


def _number(kind: _Kind, content: bytes) -> Any:
    return scalar(kind.dtype, content)


_CORE = ("numpy.core", "numpy._core")  # numpy 1 and 2
_ALLOWED: dict[tuple[str, str], Any] = {
    (
        "numpy",
        "ndarray",
    ): None,  # named to `_reconstruct` only: its own call would take any bytes for addresses
    ("numpy", "dtype"): _Kind,
    ("collections", "OrderedDict"): dict,
    **{(f"{core}.multiarray", "_reconstruct"): _empty for core in _CORE},
    **{(f"{core}.multiarray", "scalar"): _number for core in _CORE},
    **{(f"{core}.numeric", "_frombuffer"): _filled for core in _CORE},
}


# for torch's own reader of tensors, which asks for (what to call, what it is called in the file): numbers of numpy
NUMBERS: list[Any] = [(_ALLOWED[place], ".".join(place)) for place in _ALLOWED if place[1] in ("scalar", "dtype")]


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "_codecs" and name == "encode":  # how Python 2 and 3 pass each other's bytes
            return _encoded
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name}, which is no plain data") from None


def _encoded(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"text in {encoding}")
    return text.encode("latin-1")


def load(path: Path) -> Any:
    """What the file holds. SourceError when it holds an object of any other kind, or is torn."""
    try:
        with path.open("rb") as file:
            return _Reader(file, encoding="latin1").load()
    except pickle.UnpicklingError as error:
        how = "save tensors as tensor.numpy()" if "torch" in str(error) else "save it as these"
        raise SourceError(
            f"{path}: found {' '.join(str(error).split())[:160]}; only lists, dicts and arrays of numbers and text are "
            f"read, so {how}"
        ) from None
    except (
        OSError,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        MemoryError,
        ImportError,
        RecursionError,
    ) as error:  # fmt: skip - what a torn pickle makes of the machine
        raise SourceError(
            f"{path}: not readable as a pickle ({type(error).__name__}: {' '.join(str(error).split())[:80]})"
        ) from None
