"""Pickles of plain containers and numpy arrays; anything else in one is refused before it is made.

Data sets of the field are published as pickles, and a pickle is a program. This reader knows the few constructors that
lists, dicts and arrays of numbers and strings need, and calls no other.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct, scalar  # pyright: ignore[reportAttributeAccessIssue]
from numpy._core.numeric import _frombuffer  # pyright: ignore[reportAttributeAccessIssue]

from raysign.errors import SourceError

_CORE = ("numpy.core", "numpy._core")  # numpy 1 and 2
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): dict,
    **{(f"{core}.multiarray", "_reconstruct"): _reconstruct for core in _CORE},
    **{(f"{core}.multiarray", "scalar"): scalar for core in _CORE},
    **{(f"{core}.numeric", "_frombuffer"): _frombuffer for core in _CORE},
}


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
        raise SourceError(
            f"{path}: found {error}; only lists, dicts and arrays of numbers and text are read, so save it as these"
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
        raise SourceError(f"{path}: not readable as a pickle ({type(error).__name__}: {str(error)[:80]})") from None
