"""Clips to LANDMARKS shards: the worker that reads them, what is said meanwhile, and the card at the end."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysign import skeleton, store
from raysign.errors import ClipError, RaysignError
from raysign.extract import index
from raysign.extract.journal import Journal
from raysign.extract.plan import CLIPS_PER_UNIT, Plan, desk, plan, release, require_current
from raysign.pace import counted
from raysign.schema import LANDMARKS, ClipRef, Landmarks, landmarks_row, to_table

__all__ = ["CLIPS_PER_UNIT", "Plan", "Worker", "finish", "plan", "progress"]

LIVES = 2  # processes a clip may kill before it is given up
_LISTED = 1000  # clips whose shares of frames the card lists one by one; of more it gives the means only


class Worker:
    """Reads the clips of a unit and writes them as one shard; what Ray Data maps over the units.

    reader: called once per process, gives the function that reads a clip. extractor: fingerprint of what it does.
    run: Plan.run. journal: keep every clip as soon as it is read (for clips worth seconds of work).
    """

    def __init__(self, reader: Callable[[], Callable[[ClipRef], Landmarks]], directory: Path, extractor: str, run: str,
                 journal: bool = True):  # fmt: skip
        self.reader, self.directory, self.extractor = reader, Path(directory), extractor
        self.run, self.journal = run, journal
        self._read: Callable[[ClipRef], Landmarks] | None = None

    def __call__(self, unit: dict) -> dict:
        """One manifest row: unit, clips, frames, quarantined, cpu_seconds, wall_seconds."""
        wall, cpu = time.perf_counter(), time.process_time()
        path = self.directory / f"shard-{unit['unit']}.parquet"
        if not store.exists(path):  # it does when a process died between writing it and saying so
            self._fill(path, unit)
        table = store.read_table(path, ["frames", "error"])
        return {
            "unit": unit["unit"], "clips": len(table), "frames": sum(table["frames"].to_pylist()),
            "quarantined": len(table) - table["error"].null_count,
            "cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall,
        }  # fmt: skip

    def _fill(self, path: Path, unit: dict) -> None:
        """Read the unit's clips and write its shard."""
        self._read = self._read or self.reader()
        refs = [ClipRef(**{**clip, "gloss": tuple(clip.get("gloss", ()))}) for clip in json.loads(unit["clips"])]
        with closing(Journal(desk(self.directory) / self.run, unit["unit"], self.journal)) as journal:
            if journal.careful:
                table = pa.concat_tables(self._kept_row(ref, journal) for ref in refs)
            else:
                table = to_table([landmarks_row(ref, self.extractor, self._result(ref)) for ref in refs], LANDMARKS)
            require_current(self.directory, self.run)
            store.write_table(path, table)
            journal.remove()

    def _kept_row(self, ref: ClipRef, journal: Journal) -> pa.Table:
        """The clip's row, from the journal when a process before this one had finished it, else kept there."""
        if ref.id in journal.finished:
            return journal.finished[ref.id]
        if journal.deaths[ref.id] >= LIVES:
            result = f"{ref.path}: its process died {journal.deaths[ref.id]} times while reading it"
        else:
            journal.begin(ref.id)
            result = self._result(ref)
        row = to_table([landmarks_row(ref, self.extractor, result)], LANDMARKS)
        journal.add(row)
        return row

    def _result(self, ref: ClipRef) -> Landmarks | str:
        assert self._read is not None
        try:
            return self._read(ref)
        except ClipError as error:
            return str(error)
        except RaysignError:
            raise  # no fault of this clip: all the others would fail too
        except Exception as error:  # the row boundary: whatever a strange file does to a decoder costs that file only
            return f"{ref.path}: {type(error).__name__} while reading ({(str(error).splitlines() or [''])[0][:300]})"


# ---------------------------------------------------------------- meanwhile and after: in the driver


def progress(rows: Iterable[dict], work: Plan, what: str = "landmarks") -> Iterator[dict]:
    """Pass manifest rows on while showing clips, frames per second and time left on stderr."""
    begun, sums = time.monotonic(), Counter()

    def told(row: dict) -> tuple[int, str]:
        sums.update({name: row[name] for name in ("frames", "quarantined")})
        speed = sums["frames"] / max(time.monotonic() - begun, 1e-9)
        return row["clips"], f"{speed:.1f} frames/s, {sums['quarantined']} quarantined"

    return counted(rows, what, work.todo, "clip", told)


def finish(directory: Path, work: Plan, rows: list[dict], *, config: dict, seconds: float,
           audit: dict | None = None, made_of: dict | None = None) -> dict:  # fmt: skip
    """Write quarantine.parquet (id, source, gloss, signer, reason) and card.json; return the card.

    rows: the manifest rows of this run. config: the settings of source and extraction, kept in the card like audit:
    what the source names and lacks, None for a source that names only what is there; and like made_of, what the
    landmarks of videos and images follow from. StoreError when another run has
    taken over.
    """
    require_current(directory, work.run)
    table = index.about(directory)
    bad = table.filter(table["error"].is_valid()).sort_by("id")
    who = ["id", "source", "gloss", "signer"]
    listed = bad.select([*who, "error"]).rename_columns([*who, "reason"]).replace_schema_metadata(None)
    store.write_table(directory / "quarantine.parquet", listed)
    errors, sources = bad["error"].to_pylist(), bad["source"].to_pylist()
    reasons = Counter(map(_reason_class, errors, sources))
    examples = dict(zip(map(_reason_class, errors, sources), errors, strict=True))
    good = table.select(["id", "layout", "frames", "seen", "note"]).filter(table["error"].is_null())
    frames, cpu = sum(row["frames"] for row in rows), sum(row["cpu_seconds"] for row in rows)
    speed = {
        "frames": frames,
        "cpu_seconds": round(cpu, 3),
        "frames_per_cpu_second": round(frames / cpu, 2) if cpu else None,
    }
    card = store.write_card(
        directory, "landmarks", work.extractor, config=config, dropped=dict(reasons.most_common()), seconds=seconds,
        counts={
            "clips": len(good), "frames": int(good["frames"].to_numpy().sum()), "quarantined": len(bad),
            "damaged": len(good) - good["note"].null_count, "gone": len(work.gone),
        },
        run={"read": sum(row["clips"] for row in rows), "kept": work.kept, "recovered": work.recovered},
        speed=speed if frames else work.before.get("speed", speed), seen=_seen(good), gone=sorted(work.gone),
        audit=audit, examples=examples, made_of=made_of,
    )  # fmt: skip
    release(directory, work.run)
    return card


def _reason_class(error: str, source: str) -> str:
    """An error without what belongs to its clip alone: path, numbers, details in brackets."""
    return re.sub(r"\d+(\.\d+)?", "N", error.removeprefix(f"{source}: ").split(" (")[0])


def _seen(good: pa.Table) -> dict:
    """Per part of the layout the mean share of frames in which it is seen, and each clip's shares when not too many."""
    sums, counts, clips = Counter(), Counter(), {}
    for layout in good["layout"].unique().to_pylist():
        some = good.filter(pc.equal(good["layout"], layout))  # pyright: ignore
        parts = [name for name, _ in skeleton.layout(layout).parts]
        shares = pc.list_flatten(some["seen"]).to_numpy().reshape(len(some), len(parts))  # pyright: ignore
        sums.update(dict(zip(parts, shares.sum(0, dtype=float).tolist(), strict=True)))
        counts.update(dict.fromkeys(parts, len(some)))
        if len(good) <= _LISTED:
            rounded = np.round(shares.astype(float), 4).tolist()
            told = (dict(zip(parts, row, strict=True)) for row in rounded)
            clips.update(zip(some["id"].to_pylist(), told, strict=True))
    return {"mean": {name: round(sums[name] / counts[name], 4) for name in sums}, "clips": clips}
