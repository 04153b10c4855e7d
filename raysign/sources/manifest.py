"""A list of clips: CSV with a header, or JSON (a list of objects), one entry per clip.

Columns: path (of a video or image, against `root`, else the manifest's folder), gloss, signer, split, category, id;
a cut in seconds (start, end) or in frames as WLASL counts them (start_frame, end_frame: from 1, both included, -1 for
the last). Only path is required. A file that is not there stays listed and ends in the quarantine table.
"""

import csv
import io
import math
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from raysign.errors import SourceError, nearest
from raysign.kinds import AnyPath, Section
from raysign.schema import SPLITS, ClipRef, canonical_split
from raysign.sources import _json
from raysign.sources._media import require_unique, stamp_of

ALSO_CALLED = {"label": "gloss", "sign": "gloss", "class": "gloss", "word": "gloss", "speaker": "signer",
               "participant_id": "signer", "subset": "split"}  # fmt: skip
COLUMNS = ("path", "gloss", "signer", "split", "category", "id", "start", "end", "start_frame", "end_frame")


class Options(Section):
    """Settings of a manifest."""

    kind: Literal["manifest"] = "manifest"
    path: AnyPath
    root: AnyPath | None = Field(None, description="folder of relative paths; None: the manifest's own")


def recognises(path: Path) -> bool:
    """Whether `path` is a CSV or JSON file whose entries have a `path`."""
    if path.suffix.lower() not in (".csv", ".json") or not path.is_file():
        return False
    try:
        return "path" in _entries(path)[0] and path.name != "train.csv"  # asl-signs has its landmark files in train.csv
    except SourceError:
        return False


def clips(options: Options) -> list[ClipRef]:
    """One clip per entry, in the manifest's order. SourceError naming the line of an entry that cannot be used."""
    entries = _entries(options.path)
    unknown = [key for key in entries[0] if key not in COLUMNS]
    if "path" not in entries[0]:
        near = ", ".join(unknown) or "none"
        raise SourceError(f"{options.path}: no column `path` (found {near}); expected {', '.join(COLUMNS)}")
    for key in unknown:
        if (meant := ALSO_CALLED.get(key)) and meant not in entries[0]:
            raise SourceError(f"{options.path}: column {key!r} is not known; call it `{meant}`")
        if near := nearest(key, COLUMNS):
            raise SourceError(f"{options.path}: column {key!r} is not known{near}")
    root = options.root or options.path.parent
    found = [_clip(entry, root, f"{options.path}, entry {n}") for n, entry in enumerate(entries, 1)]
    return require_unique(found, options.path)


def _entries(path: Path) -> list[dict[str, Any]]:
    """The manifest's entries, column names in lower case and without blanks. SourceError when there are none."""
    step = "give a CSV with a header or a JSON list of objects"
    try:
        if path.suffix.lower() == ".json":
            entries = _json.tree(path, SourceError, step)
        else:
            text = path.read_text(encoding="utf-8-sig")
            entries = list(csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True))
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}; give an existing manifest") from None
    except (ValueError, csv.Error) as error:
        raise SourceError(f"{path}: not readable ({error}); {step}") from None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise SourceError(f"{path}: no entries in it; {step}")
    return [{str(key).strip().lower(): value for key, value in entry.items()} for entry in entries]


def _clip(entry: dict[str, Any], root: Path, place: str) -> ClipRef:
    said = {key: text for key in COLUMNS if (text := _text(entry.get(key)))}
    if "path" not in said:
        raise SourceError(f"{place}: no path; give one or delete the entry")
    path = root / os.path.expanduser(said["path"])  # noqa: PTH111 - leaves the folder of an unknown user as it is
    cut, name = _cut(said, place)
    return ClipRef(
        id=said.get("id") or _relative(path, root) + name,
        path=str(path),
        stamp=stamp_of(path),
        gloss=_glosses(entry.get("gloss")),
        category=said.get("category"),
        signer=said.get("signer"),
        split=_split(said.get("split"), place),
        **cut,
    )


def _cut(said: dict[str, str], place: str) -> tuple[dict[str, Any], str]:
    """The cut as a ClipRef has it, and what it adds to the name of the clip."""
    start, end = _number(said, "start", place) or 0.0, _number(said, "end", place)
    first, last = _frame(said, "start_frame", place) or 1, _frame(said, "end_frame", place)
    last = None if last == -1 else last
    if (end is not None and end <= start) or start < 0 or first < 1 or (last is not None and last < first):
        raise SourceError(f"{place}: its cut ends before it begins; correct start and end")
    seconds, frames = _cut_name(start, end, 0.0), _cut_name(first, last, 1, "f")
    if seconds and frames:
        raise SourceError(f"{place}: a cut in seconds {seconds} and one in frames {frames}; give one of them")
    return {"start": start, "end": end, "first_frame": first, "last_frame": last}, seconds or frames


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _number(said: dict[str, str], key: str, place: str) -> float | None:
    try:
        number = float(said[key]) if key in said else None
    except ValueError:
        number = math.nan
    if number is not None and not math.isfinite(number):
        raise SourceError(f"{place}: {key} is {said[key][:40]!r}, expected a number")
    return number


def _frame(said: dict[str, str], key: str, place: str) -> int | None:
    number = _number(said, key, place)
    if number is None:
        return None
    if not number.is_integer() or not number:
        raise SourceError(f"{place}: {key} is {said[key]}, expected a whole number, counted from 1")
    return int(number)


def _cut_name(start: float, end: float | None, whole: float, unit: str = "") -> str:
    return "" if start == whole and end is None else f"[{start:g}-{'' if end is None else f'{end:g}'}{unit}]"


def _glosses(value: Any) -> tuple[str, ...]:
    """One gloss, or in JSON a list of them for a sentence."""
    parts = value if isinstance(value, list) else [value]
    return tuple(text for part in parts if (text := _text(part)))


def _split(value: str | None, place: str) -> str | None:
    if value is not None and canonical_split(value) is None:
        raise SourceError(f"{place}: split is {value!r}, expected {', '.join(SPLITS)}")
    return canonical_split(value)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
