"""What is missing, new or changed in a LANDMARKS store, shared out in units of work.

A clip is done when a shard holds a row of its id, its file's stamp, its cut and the same extractor. Whatever is killed,
and however often, loses the clips being read at that moment and nothing else.
"""

import errno
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout

from raysign import remote, store
from raysign.errors import StoreError
from raysign.extract import index
from raysign.extract.journal import left_over
from raysign.schema import ClipRef

CLIPS_PER_UNIT = 64  # of files that hold landmarks already; the same on every cluster, so that shards are too
_MOST_FILES = 16  # of a unit of videos or images
_MOST_UNITS = 20_000  # beyond it a unit has more files, up to CLIPS_PER_UNIT: each costs Ray tens of milliseconds
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
    store.unlink(directory / "card.json")  # from here on, until `finish`, the stage is not whole
    recovered = _recover(directory)
    for leftover in directory.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
    done, gone = _sift(directory, refs, extractor, retry)
    todo = [refs[number] for number in np.flatnonzero(~done)]
    units = [_unit(clips, extractor) for clips in (_even(todo, per_unit) if per_unit else _balanced(todo, workers))]
    run = secrets.token_hex(4)
    store.write_bytes(desk(directory) / "run", run.encode())
    return Plan(units, extractor, run, len(refs), int(done.sum()), gone, recovered, before)


_WHOLE = (0.0, None, 1, None)


def _offered(ref: ClipRef) -> ClipRef:
    """`ref` with a stamp that tells its cut too, and with texts that a table can hold; `ref` itself where it is so.

    A file whose name is no UTF-8 is not found under the name that stands for it: that costs this clip and no other.
    """
    cut = (ref.start, ref.end, ref.first_frame, ref.last_frame)
    told = {name: _storable(text) for name in _TEXTS if (text := getattr(ref, name))}
    told |= {"gloss": tuple(map(_storable, ref.gloss))}
    if cut != _WHOLE:
        told["stamp"] = f"{told['stamp']}-{cut}"
    return ref if all(getattr(ref, name) == text for name, text in told.items()) else replace(ref, **told)


_TEXTS = ("id", "path", "stamp", "category", "signer", "split")


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _sift(directory: Path, refs: list[ClipRef], extractor: str, retry: bool) -> tuple[np.ndarray, list[str]]:
    """(whether each clip is done, ids of rows whose clip is gone from the source).

    Shards of which rows must go, or whose labels have changed, are written anew.
    """
    rows, done = index.about(directory), np.zeros(len(refs), bool)
    if not len(rows):
        return done, []
    said = _said(refs)
    place = pc.index_in(rows["id"], value_set=said["id"])  # pyright: ignore
    said = said.take(place.combine_chunks())
    there = _bools(place.is_valid())
    same = _bools(pc.equal(rows["stamp"], said["stamp"])) & _bools(pc.equal(rows["extractor"], extractor))  # pyright: ignore
    if retry:
        same &= ~_bools(rows["error"].is_valid())
    keep = _first(rows["id"], same | ~there)
    done[place.filter(pa.array(keep & there)).to_numpy()] = True
    stale = there & np.logical_or.reduce([_differ(rows[name], said[name]) for name in _KNOWN])
    if stale.any() or not keep.all():
        _mend(directory, rows, said, keep, stale)
        index.about(directory)  # forgets the shards that went, before a worker writes one of the same name
    return done, rows["id"].filter(pa.array(keep & ~there)).to_pylist()


def _said(refs: list[ClipRef]) -> pa.Table:
    """What the source says of its clips: id, stamp and _KNOWN."""
    columns = {name: [getattr(ref, name) for ref in refs] for name in ("id", "stamp", "category", "signer", "split")}
    columns |= {"gloss": [ref.gloss for ref in refs], "source": [ref.path for ref in refs]}
    schema = pa.schema([index.INDEX.field(name) for name in ("id", "stamp", *_KNOWN)])
    return pa.Table.from_pydict(columns, schema)


def _bools(column: pa.ChunkedArray) -> np.ndarray:
    """(N,) bool; False for null."""
    return column.fill_null(False).to_numpy()


def _differ(one: pa.ChunkedArray, other: pa.ChunkedArray) -> np.ndarray:
    """(N,) bool: where two columns of texts, or of lists of texts, do not hold the same."""
    unlike = one.is_valid().to_numpy() != other.is_valid().to_numpy()
    if pa.types.is_list(one.type):
        unlike |= _differ(*(pc.list_value_length(column) for column in (one, other)))  # pyright: ignore
        one, other = (pc.binary_join(column, "\0") for column in (one, other))  # pyright: ignore
    return unlike | _bools(pc.not_equal(one, other))  # pyright: ignore


def _first(ids: pa.ChunkedArray, good: np.ndarray) -> np.ndarray:
    """(N,) bool: the first row of each id, of those that are good."""
    rows = np.flatnonzero(good)
    codes = ids.combine_chunks().dictionary_encode().indices.to_numpy()[rows]
    first = np.zeros(len(good), bool)
    first[rows[np.unique(codes, return_index=True)[1]]] = True
    return first


def _mend(directory: Path, rows: pa.Table, said: pa.Table, keep: np.ndarray, stale: np.ndarray) -> None:
    """Write the shards anew in which a row is not kept, or stale: with the kept rows only, labelled as is said."""
    shards = rows["shard"].combine_chunks().dictionary_encode()
    codes, names = shards.indices.to_numpy(), shards.dictionary.to_pylist()
    starts = np.flatnonzero(np.diff(codes, prepend=-1))  # the rows of a shard lie together
    for start, end in zip(starts, [*starts[1:], len(codes)], strict=True):
        if keep[start:end].all() and not stale[start:end].any():
            continue
        part = slice(int(start), int(end))
        path, mine = directory / names[codes[start]], rows.slice(part.start, part.stop - part.start)
        labels = mine.to_pylist()
        for row, told, wrong in zip(labels, said.slice(part.start, len(mine)).to_pylist(), stale[part], strict=True):
            row.update({name: told[name] for name in _KNOWN} if wrong else {})
        _rewrite(path, labels, keep[part])


def _rewrite(path: Path, labels: list[dict], keep: np.ndarray) -> None:
    """The shard's kept rows, labelled so, under another name; the shard itself goes."""
    if keep.any():
        table = store.read_table(path)
        for name in _KNOWN:
            place = table.schema.get_field_index(name)
            field = table.schema.field(place)
            table = table.set_column(place, field, pa.array([row[name] for row in labels], field.type))
        content = [[row[name] for name in ("id", *_KNOWN)] for row, good in zip(labels, keep, strict=True) if good]
        # no name twice: what a kill leaves here beside `path` is no twin that a second try would write over, and delete
        name = store.fingerprint([path.name, content, secrets.token_hex(4)])
        store.write_table(path.with_name(f"shard-{name}.parquet"), table.filter(pa.array(keep)))
    store.unlink(path)


def _unit(clips: list[ClipRef], extractor: str) -> dict:
    # named by what is in it, so that no two units ever share a name
    name = store.fingerprint([[(ref.id, ref.stamp) for ref in clips], extractor])
    return {"unit": name, "clips": json.dumps([_told(ref) for ref in clips]), "count": len(clips)}


def _told(ref: ClipRef) -> dict:
    """What of a clip is not as by default."""
    return {name: value for name, default in _FIELDS if (value := getattr(ref, name)) != default}


_FIELDS = [(field.name, field.default) for field in fields(ClipRef)]


def _even(todo: list[ClipRef], per_unit: int) -> Iterator[list[ClipRef]]:
    for start in range(0, len(todo), per_unit):
        yield todo[start : start + per_unit]


def size_of(ref: ClipRef) -> int:
    """Bytes of the clip's file, as its stamp tells; 0 where it does not."""
    head = ref.stamp.partition("-")[0]
    return int(head) if head.isdigit() else 0


def _balanced(todo: list[ClipRef], workers: int) -> Iterator[list[ClipRef]]:
    """Units of about an eighth of a worker's share of the bytes, the largest files first; of 16 files at most, or
    more where there are very many.
    """
    sizes = {ref.id: size_of(ref) for ref in todo}
    files = min(CLIPS_PER_UNIT, max(_MOST_FILES, len(todo) // _MOST_UNITS))
    most, share = max(1, min(files, len(todo) // (8 * workers))), sum(sizes.values()) / (8 * workers)
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
    store.remove_tree(desk(directory))
    return len(rows)


_LOCKS: dict[Path, FileLock] = {}
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # of a file system where nobody can be kept off


def _lock(directory: Path) -> None:
    """Keep other drivers off this directory until `finish`, or until this process ends in whatever way."""
    if directory in _LOCKS:
        return
    lock = FileLock(directory / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        step = "wait for it to end or choose another `out`"
        raise StoreError(f"{remote.shown(directory)}: another raysign is filling it; {step}") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    _LOCKS[directory] = lock


def is_current(directory: Path, run: str) -> bool:
    """Whether it is this run that fills the directory."""
    path = remote.pull(desk(directory) / "run", anew=True)
    return path.exists() and path.read_text() == run


def require_current(directory: Path, run: str) -> None:
    """StoreError when another run has taken over: a worker can outlive its killed driver for seconds, and drivers on
    two machines that share an object store are kept apart by nothing else.
    """
    if not is_current(directory, run):
        raise StoreError(f"{remote.shown(directory)}: another run has taken over; nothing written")


def release(directory: Path, run: str) -> None:
    """Clear the desk of a run that has ended, unless it is another's by now, and let other drivers in."""
    if is_current(directory, run):
        store.remove_tree(desk(directory))
    if directory in _LOCKS:
        _LOCKS.pop(directory).release()
