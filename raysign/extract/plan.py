"""What is missing, new or changed in a LANDMARKS store, shared out in units of work.

A clip is done when a shard holds a row of its id, its file's stamp, its cut and the same extractor. Whatever is killed,
and however often, loses the clips being read at that moment and nothing else.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raysign import store
from raysign.errors import StoreError
from raysign.extract.journal import left_over
from raysign.schema import ClipRef

CLIPS_PER_UNIT = 64  # of files that hold landmarks already; the same on every cluster, so that shards are too
_MOST_FILES = 16  # of a unit of videos or images
_KNOWN = ("gloss", "category", "signer", "split", "source")  # what the source says of a clip, without reading it


@dataclass(frozen=True)
class Plan:
    """What a run has to do.

    units: {"unit": name, "clips": JSON list of clips, "count"}. extractor: fingerprint of what reads them. run: this
    run's id. total: clips of the source. kept: clips done before, quarantined ones included. gone: ids of rows whose
    clip the source no longer offers (kept, but not prepared). recovered: clips saved from the journals of a killed run.
    before: the card of the run before, if that one ended.
    """

    units: list[dict]
    extractor: str
    run: str
    total: int
    kept: int
    gone: list[str]
    recovered: int
    before: dict

    @property
    def todo(self) -> int:
        """Clips to be read."""
        return self.total - self.kept


def plan(refs: list[ClipRef], directory: Path, extractor: str, *, retry: bool = False, workers: int = 1,
         per_unit: int | None = None) -> Plan:  # fmt: skip
    """Find out what is missing, new or changed, and share it out in units.

    refs: what the source offers, ids unique. retry: also take the clips in quarantine. per_unit: clips of a unit;
    None balances units of media files by size, the largest first. Rows of changed clips leave their shards, labels
    that the source has corrected are written over. StoreError when another process works on the directory.
    """
    refs = [_offered(ref) for ref in refs]
    directory.mkdir(parents=True, exist_ok=True)
    _lock(directory)
    before = store.read_card(directory) or {}
    (directory / "card.json").unlink(missing_ok=True)  # from here on, until `finish`, the stage is not whole
    recovered = _recover(directory)
    for leftover in directory.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
    place = {ref.id: number for number, ref in enumerate(refs)}
    done = np.zeros(len(refs), bool)
    gone = []
    for path in store.shards(directory):
        gone += _sift(path, refs, place, done, extractor, retry)
    todo = [refs[number] for number in np.flatnonzero(~done)]
    units = [_unit(clips, extractor) for clips in (_even(todo, per_unit) if per_unit else _balanced(todo, workers))]
    run = secrets.token_hex(4)
    store.write_bytes(desk(directory) / "run", run.encode())
    return Plan(units, extractor, run, len(refs), int(done.sum()), gone, recovered, before)


_WHOLE = (0.0, None, 1, None)


def _offered(ref: ClipRef) -> ClipRef:
    """`ref` with a stamp that tells its cut too, and with texts that a table can hold.

    A file whose name is no UTF-8 is not found under the name that stands for it: that costs this clip and no other.
    """
    cut = (ref.start, ref.end, ref.first_frame, ref.last_frame)
    stamp = ref.stamp if cut == _WHOLE else f"{ref.stamp}-{cut}"
    texts = {name: _storable(text) for name, text in vars(ref).items() if isinstance(text, str)}
    return replace(ref, **{**texts, "gloss": tuple(map(_storable, ref.gloss)), "stamp": stamp})


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _sift(path: Path, refs: list[ClipRef], place: dict, done: np.ndarray, extractor: str, retry: bool) -> list[str]:
    """Mark the clips that this shard holds as done; write it anew when rows must go or labels have changed.

    Returns the ids of rows whose clip is gone from the source.
    """
    about = store.read_table(path, ["id", "stamp", "extractor", "error", *_KNOWN]).to_pylist()
    keep, stale, gone = [], False, []
    for row in about:
        number = place.get(row["id"])
        if number is None:
            gone.append(row["id"])
            keep.append(True)
            continue
        ref = refs[number]
        same = row["stamp"] == ref.stamp and row["extractor"] == extractor and not (retry and row["error"])
        keep.append(bool(same and not done[number]))
        done[number] |= same
        said = dict(zip(_KNOWN, (list(ref.gloss), ref.category, ref.signer, ref.split, ref.path), strict=True))
        stale |= any(row[name] != said[name] for name in _KNOWN)
        row.update(said)
    if stale or not all(keep):
        _rewrite(path, about, keep)
    return gone


def _rewrite(path: Path, about: list[dict], keep: list[bool]) -> None:
    """The shard with the kept rows only, labelled as `about` says; no file when none is kept."""
    if not any(keep):
        path.unlink()
        return
    table = store.read_table(path)
    for name in _KNOWN:
        index = table.schema.get_field_index(name)
        field = table.schema.field(index)
        table = table.set_column(index, field, pa.array([row[name] for row in about], field.type))
    store.write_table(path, table.filter(pa.array(keep)))


def _unit(clips: list[ClipRef], extractor: str) -> dict:
    # named by what is in it, so that no two units ever share a name
    name = store.fingerprint([[(ref.id, ref.stamp) for ref in clips], extractor])
    return {"unit": name, "clips": json.dumps([asdict(ref) for ref in clips]), "count": len(clips)}


def _even(todo: list[ClipRef], per_unit: int) -> Iterator[list[ClipRef]]:
    for start in range(0, len(todo), per_unit):
        yield todo[start : start + per_unit]


def _balanced(todo: list[ClipRef], workers: int) -> Iterator[list[ClipRef]]:
    """Units of at most 16 files and about an eighth of a worker's share of the bytes, the largest files first."""
    sizes = {ref.id: int(head) if (head := ref.stamp.partition("-")[0]).isdigit() else 0 for ref in todo}
    most, share = max(1, min(_MOST_FILES, len(todo) // (8 * workers))), sum(sizes.values()) / (8 * workers)
    unit, held = [], 0
    for ref in sorted(todo, key=lambda ref: (-sizes[ref.id], ref.id)):
        unit.append(ref)
        held += sizes[ref.id]
        if len(unit) >= most or held >= share:
            yield unit
            unit, held = [], 0
    if unit:
        yield unit


def desk(directory: Path) -> Path:
    """Where the runs keep what is not finished."""
    return directory / ".work"


def _recover(directory: Path) -> int:
    """Turn the journals that killed runs left into a shard; the number of clips saved."""
    rows = {row["id"][0].as_py(): row for row in left_over(desk(directory))}
    if rows:
        name = store.fingerprint([sorted(rows), secrets.token_hex(4)])
        store.write_table(directory / f"shard-{name}.parquet", pa.concat_tables(rows[key] for key in sorted(rows)))
    shutil.rmtree(desk(directory), ignore_errors=True)
    return len(rows)


_LOCKS: dict[Path, Any] = {}


def _lock(directory: Path) -> None:
    """Keep other drivers off this directory until `finish`, or until this process ends in whatever way."""
    if os.name != "posix" or directory in _LOCKS:
        return
    import fcntl

    file = (directory / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # else of a file system without locks, where nobody can be kept off
        if isinstance(error, BlockingIOError):
            file.close()
            step = "wait for it to end or choose another `out`"
            raise StoreError(f"{directory}: another raysign is filling it; {step}") from None
    _LOCKS[directory] = file


def release(directory: Path) -> None:
    """Clear the desk of a run that has ended, and let other drivers in."""
    shutil.rmtree(desk(directory), ignore_errors=True)
    if directory in _LOCKS:
        _LOCKS.pop(directory).close()
