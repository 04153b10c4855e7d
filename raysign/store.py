"""Stage directories: shards that appear whole or not at all, and the card that says what is in them.

A stage directory is `shard-<name>.parquet` files beside `card.json`. A shard is written under a temporary name and
renamed, so a killed run leaves whole shards only. Whatever goes through here may as well lie in an object store, see
`remote`.
"""

import csv
import hashlib
import io
import json
import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raysign import __version__, remote
from raysign.errors import StoreError
from raysign.schema import ARRAYS, VERSION


def fingerprint(value: Any) -> str:
    """16 hex digits that change when `value` (anything JSON can hold) does."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal digits. OSError when it cannot be read."""
    with remote.pull(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(path: Path) -> str:
    """A file's size and time of change: what tells a changed file from an unchanged one without reading it."""
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


# ---------------------------------------------------------------- files that appear whole


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file that other processes see whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the name with nothing in it
        remote.push(path, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A name to write `path` under until it is whole; no process on any machine has the same."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` of indented JSON."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n").encode())


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """`write_bytes` of a csv table in UTF-8; None is an empty cell."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(columns)
    table.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def read_json(path: Path) -> Any:
    """A JSON file. StoreError when it is missing or torn."""
    try:
        return json.loads(remote.pull(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        shown = remote.shown(path)
        raise StoreError(f"{shown}: not readable ({error}); run the stage that writes it again") from None


def exists(path: Path) -> bool:
    """Whether there is such a file; nothing is fetched for the answer."""
    there = remote.holds(path)
    return path.exists() if there is None else there


def found(directory: Path, pattern: str) -> list[Path]:
    """The files of a directory whose names, from there, match the pattern, sorted; nothing is fetched."""
    while "*" not in (head := pattern.partition("/")[0]) and "/" in pattern:
        directory, pattern = directory / head, pattern.partition("/")[2]
    names = remote.listed(directory, deep="/" in pattern)
    if names is None:
        return sorted(directory.glob(pattern))
    # without the slashes a pattern also matches the end of a longer name
    return sorted(directory / name for name in names if PurePath(f"/{name}").match(f"/{pattern}"))


def unlink(path: Path) -> None:
    """Delete a file, if it is there."""
    remote.remove(path)
    path.unlink(missing_ok=True)


def remove_tree(directory: Path) -> None:
    """Delete a directory and all that is in it, as far as that can be done."""
    remote.remove(directory)
    shutil.rmtree(directory, ignore_errors=True)


# Landmarks are kept for years and read a few times: compressed, at a level that costs little time.
# Clips are read at each start of a training and can be made anew: plain and fast.
_ENCODINGS: dict[str, dict[str, Any]] = {
    "landmarks": {
        "compression": "zstd",
        "compression_level": -3,  # as fast as a codec without entropy coding, and still smaller
        "data_page_size": 1 << 26,  # a clip's numbers are read all or not at all: no pages to look through
    },
    "clips": {"compression": "none"},
    "index": {"compression": "zstd"},
}


def write_table(path: Path, table: pa.Table) -> None:
    """Write one Parquet file of one row group, whole or not at all, encoded as its schema wants it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    kind = (table.schema.metadata or {}).get(b"raysign.schema", b"").decode().split("/")[0]
    options = _ENCODINGS.get(kind, {})
    try:
        pq.write_table(
            table, temporary, use_dictionary=False, write_statistics=False, row_group_size=max(1, len(table)), **options
        )
        remote.push(path, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """One shard, or some of its columns. StoreError when it is missing, torn or of another schema version.

    A shard in an object store is fetched for its arrays; of other columns only these are read there.
    """
    small, table = columns is not None and not ARRAYS.intersection(columns), None
    if small and (file := remote.part(path)):
        with suppress(OSError, pa.ArrowInvalid):  # fetching it tells a shard that is torn from a store that is away
            table = _parquet(file, columns)
    if table is None:
        path = remote.pull(path)
        try:
            table = _parquet(path, columns)
        except (OSError, pa.ArrowInvalid) as error:
            shown = remote.shown(path)
            raise StoreError(f"{shown}: not readable ({error}); delete it and run the stage again") from None
    wrote = (table.schema.metadata or {}).get(b"raysign.schema", b"").decode()
    if wrote and wrote.split("/")[1] != str(VERSION):
        shown, place = remote.shown(path), remote.shown(path.parent)
        raise StoreError(f"{shown}: schema {wrote}, expected version {VERSION}; delete {place} and run the stage again")
    return table


def _parquet(file: Any, columns: list[str] | None) -> pa.Table:
    return pq.ParquetFile(file, memory_map=True).read(columns=columns, use_threads=False)


def shards(directory: Path) -> list[Path]:
    """The whole shards of a stage directory, sorted by name."""
    return found(directory, "shard-*.parquet")


def metadata(path: Path) -> dict[bytes, bytes]:
    """What a shard says of itself beside its rows."""
    return pq.read_schema(remote.part(path) or path).metadata or {}


def tables(directory: Path, columns: list[str] | None = None) -> Iterator[tuple[Path, pa.Table]]:
    """Each shard with its table (or some columns of it), one at a time."""
    for path in shards(directory):
        yield path, read_table(path, columns)


def read_columns(directory: Path, *columns: str) -> pa.Table:
    """Some (small) columns of all rows of a stage. StoreError when the stage has no shard."""
    found = [table for _, table in tables(directory, list(columns))]
    if not found:
        raise StoreError(f"{remote.shown(directory)}: no shards; run the stage that fills it first")
    return pa.concat_tables(found)


def refuse_twins(ids: list[str], directory: Path) -> None:
    """StoreError naming a clip that the directory holds twice."""
    name, count = Counter(ids).most_common(1)[0] if ids else ("", 0)
    if count > 1:
        shown = remote.shown(directory)
        raise StoreError(f"{shown}: clip {name!r} is stored twice; delete the directory and fill it again")


# ---------------------------------------------------------------- cards


def write_card(directory: Path, stage: str, key: str, *, config: dict, counts: dict, dropped: dict, seconds: float,
               **more: Any) -> dict:  # fmt: skip
    """Write `card.json`, the last thing a stage writes: a stage without one is not finished.

    counts: what is in the stage. dropped: reason -> number of clips left out. Returns the card as it is read back.
    """
    card = {
        "schema": VERSION, "stage": stage, "key": key, "counts": counts, "dropped": dropped,
        "seconds": round(seconds, 3), "config": config, "raysign": __version__,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **more,
    }  # fmt: skip
    write_json(directory / "card.json", card)
    return read_json(directory / "card.json")


def landmarks_card(directory: Path) -> dict:
    """The card of finished landmarks. StoreError when the directory holds none."""
    card = read_card(directory) or {}
    if card.get("stage") != "landmarks":
        raise StoreError(
            f"{remote.shown(directory)}: no finished landmarks; run `raysign extract` or `raysign import` first"
        )
    return card


def read_card(directory: Path) -> dict | None:
    """The stage's card, or None when the stage is not finished."""
    path = directory / "card.json"
    return read_json(path) if remote.pull(path).exists() else None
