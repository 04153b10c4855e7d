"""The clips of a LANDMARKS store on their way out: which there are, what each is called, and their arrays."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raysign import store
from raysign.errors import ConfigError
from raysign.kinds import Section
from raysign.schema import VERSION, Landmarks, canonical_split, landmarks_of
from raysign.skeleton import NO_POINTS, layout

_LONGEST = 150  # bytes of a name: file systems allow 255, and formats add their own endings


@dataclass(frozen=True, slots=True)
class Clip:
    """What is known of a clip before its landmarks are read.

    name: its id as a file name without dots, different from all others also where upper and lower case are one.
    gloss: "" when unlabelled. split: train, val, test or None, fit for the name of a file, unlike what the source may
    have said. fps, width, height: 0 when unknown.
    """

    id: str
    name: str
    gloss: str
    category: str | None
    signer: str | None
    split: str | None
    layout: str
    persons: int
    frames: int
    fps: float
    width: int
    height: int


@dataclass(frozen=True)
class Plan:
    """clips: those to be written, by id. left_out: id -> reason. key: hash of all that the output follows from."""

    clips: list[Clip]
    left_out: dict[str, str]
    key: str


_KNOWN = ("gloss", "category", "signer", "split", "layout", "persons", "frames", "fps", "width", "height")


def plan(landmarks_dir: Path, writer: Any, options: Section) -> Plan:
    """Which clips of the store the writer can hold, from the store's small columns alone.

    Raises StoreError when the store is not finished, ConfigError when the format cannot hold a layout or any clip.
    """
    card = store.landmarks_card(landmarks_dir)
    columns = ("id", *_KNOWN, "stamp", "extractor", "error")
    rows = store.read_columns(landmarks_dir, *columns).sort_by("id").to_pylist()
    store.refuse_twins([row["id"] for row in rows], landmarks_dir)
    gone, clips, left_out = set(card.get("gone", ())), [], {}
    for row, name in zip(rows, file_names(row["id"] for row in rows), strict=True):
        reason = _unusable(row, gone)
        clip = None if reason else _clip(row, name)
        if clip is None or (reason := writer.left_out(clip, options)):
            left_out[row["id"]] = reason
        else:
            clips.append(clip)
    _require_layouts(writer, options, [row["layout"] for row in rows if not row["error"] and row["id"] not in gone])
    if not clips:
        found = "; ".join(f"{count} {reason}" for reason, count in Counter(left_out.values()).most_common(3))
        raise ConfigError(f"{landmarks_dir}: none of {len(rows)} clips can be written ({found}); check to.kind")
    return Plan(clips, left_out, store.fingerprint([VERSION, options.model_dump(mode="json"), rows, sorted(gone)]))


def _unusable(row: dict, gone: set[str]) -> str:
    """Why a row of landmarks is written to no format; empty when it may be."""
    if row["error"]:
        return "quarantined"
    if row["id"] in gone:
        return "no longer in the source"
    return "several glosses" if len(row["gloss"]) > 1 else ""


def _clip(row: dict, name: str) -> Clip:
    told: dict[str, Any] = {key: row[key] for key in _KNOWN}
    told |= {"gloss": "".join(row["gloss"]), "split": canonical_split(row["split"])}
    told |= {key: row[key] or 0 for key in ("fps", "width", "height")}
    return Clip(row["id"], name, **told)


def _require_layouts(writer: Any, options: Section, found: list[str]) -> None:
    """ConfigError when the format cannot hold the layouts, or not all of them at once; none holds features alone."""
    named = ", ".join(f"{layout(name).name} ({count} clips)" for name, count in Counter(found).most_common())
    kind = options.kind  # pyright: ignore[reportAttributeAccessIssue]
    if NO_POINTS.name in found:
        raise ConfigError(f"to.kind: {kind} holds points; found {named}, features alone; give other landmarks")
    if writer.LAYOUTS and not set(found) <= set(writer.LAYOUTS):
        raise ConfigError(f"to.kind: {kind} holds {', '.join(writer.LAYOUTS)}; found {named}; take another format")
    if not writer.LAYOUTS and len(set(found)) > 1:
        raise ConfigError(f"to.kind: {kind} holds one layout at a time; found {named}; convert each from its own store")


def file_names(names: Iterable[str]) -> list[str]:
    """A file name for each name: its letters, digits, `-` and `_`, other characters as one `_`.

    All are different, and stay so where a file system does not tell upper from lower case.
    """
    found, taken = [], set()
    for name in names:
        plain = _cut(re.sub(r"[^\w-]+", "_", unicodedata.normalize("NFC", name))) or "_"
        while plain.casefold() in taken:
            plain = f"{_cut(plain)}-{store.fingerprint([name, plain])}"
        taken.add(plain.casefold())
        found.append(plain)
    return found


def _cut(name: str) -> str:
    return name.encode()[:_LONGEST].decode(errors="ignore")  # no half of a character


def several(clip: Clip) -> str:
    """Why a clip of several persons cannot be held; empty for one person."""
    return f"{clip.persons} persons, and the format holds one" if clip.persons != 1 else ""


LEAST = 6e-8  # the least number that is not zero in 16 bits


def off_origin(x: np.ndarray, seen: np.ndarray) -> None:
    """Move, in place, seen points that are zero in every coordinate by LEAST: readers take zeros for unseen.

    x: (..., C) floats of 16 bits or more. seen: (...) bool.
    """
    x[seen & ~x.any(-1), 0] = LEAST


def zeros_on_disk(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new npy file of float32 zeros, as an array whose changes go there. OSError when the disk has no room for it."""
    array = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    if hasattr(os, "posix_fallocate"):  # else the file is a hole, and a full disk kills who writes into it
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def stream(landmarks_dir: Path, clips: list[Clip]) -> Iterator[tuple[int, Landmarks]]:
    """Each clip's place in `clips` and its landmarks, one shard at a time, in the order they are stored in."""
    places = {clip.id: place for place, clip in enumerate(clips)}
    for _, table in store.tables(landmarks_dir):
        at = [places.get(name, -1) for name in table["id"].to_pylist()]
        kept = table.filter(pa.array([place >= 0 for place in at]))
        yield from zip((place for place in at if place >= 0), landmarks_of(kept), strict=True)
