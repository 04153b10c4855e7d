"""LANDMARKS to CLIPS: a recipe applied to every good clip, with its split; the same bytes however many workers.

One shard of landmarks becomes one shard of clips. The stage's directory is named by the hash of what its content
follows from (clips, recipe, split, seed), so what is there is never stale.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock

from raysign import config, remote, schema, store
from raysign.clips import form, split
from raysign.errors import ClipError, StoreError
from raysign.kinds import Section, kind_module
from raysign.skeleton import Skeleton

_WHO = ("id", "gloss", "category", "signer", "split")
_MARKS = {"min": 0, "p5": 5, "median": 50, "p95": 95, "max": 100}
_NOTE = b"raysign.prepare"  # what a shard says of itself beside its rows, written with them or not at all


@dataclass(frozen=True)
class Plan:
    """What preparing would do: units still to do in `directory`, of which `done` shards are there already."""

    directory: Path
    key: str
    units: list[dict]
    done: int
    splits: split.Splits
    division: str  # tells which clip is in which split from any other division, whatever the recipe
    skeleton: Skeleton  # of all clips
    channels: tuple[str, ...]  # their names
    dropped: pa.Table  # id, gloss, signer, reason of the clips left out before any array is read

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do, not even the card."""
        return not self.units and store.read_card(self.directory) is not None


def plan(landmarks_dir: Path, clips_root: Path, settings: config.Config) -> Plan:
    """Labels, splits and what is to do, from the small columns of the landmarks alone.

    A unit is {"shard": name, "splits": split of each row, "" for a row left out}. Raises StoreError when there are no
    landmarks, ConfigError when the splits cannot be made or the clips would be of several forms.
    """
    shards = [
        (path.name, table)
        for path, table in store.tables(landmarks_dir, [*_WHO, "stamp", "extractor", "error", "layout"])
    ]
    if not shards:
        raise StoreError(f"{landmarks_dir}: no landmarks; run `raysign extract` or `raysign import` first")
    rows = pa.concat_tables([table for _, table in shards]).to_pylist()
    store.refuse_twins([row["id"] for row in rows], landmarks_dir)
    gone = set((store.read_card(landmarks_dir) or {}).get("gone", ()))
    reasons = ["no longer in the source" if row["id"] in gone else _reason(row) for row in rows]
    usable = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
    if not usable:
        found = "; ".join(f"{n} {reason}" for reason, n in Counter(reasons).most_common(3))
        step = "check the source and its labels"
        if error := next((row["error"] for row in rows if row["error"]), ""):
            step = f"such as {error}; {landmarks_dir / 'quarantine.parquet'} has all reasons"
        raise StoreError(f"{landmarks_dir}: none of {len(rows)} clips can be prepared ({found}); {step}")
    ids, glosses, signers, given = ([row[name] for row in usable] for name in ("id", "gloss", "signer", "split"))
    splits = split.assign(ids, glosses, signers, given, settings.split, settings.seed)
    chosen = {row["id"]: name for row, name in zip(usable, splits.names, strict=True)}
    reasons = [why or ("" if chosen[row["id"]] else "no split") for row, why in zip(rows, reasons, strict=True)]
    places = [path for path, table in shards for _ in range(len(table))]
    skeleton, channels = form.of_layouts({row["layout"] for row in usable if chosen[row["id"]]}, settings)
    offered = [(path, row) for path, row in zip(places, rows, strict=True) if row["id"] not in gone]
    key = _key(settings, skeleton, offered)
    units = [
        {"shard": name, "splits": [chosen.get(clip) or "" for clip in table["id"].to_pylist()]}
        for name, table in shards
    ]
    there = {path.name for path in store.shards(clips_root / key)}
    todo = [unit for unit in units if unit["shard"] not in there]
    left_out = [
        {name: row[name] for name in ("id", "gloss", "signer")} | {"reason": why}
        for row, why in zip(rows, reasons, strict=True)
        if why
    ]
    dropped = pa.Table.from_pylist(left_out, DROPPED)
    division = store.fingerprint(sorted(chosen.items()))
    return Plan(clips_root / key, key, todo, len(units) - len(todo), splits, division, skeleton, channels, dropped)


DROPPED = pa.schema({"id": pa.string(), "gloss": pa.list_(pa.string()), "signer": pa.string(), "reason": pa.string()})


def _reason(row: dict) -> str:
    """Why a row of landmarks cannot become a clip; empty when it can."""
    if row["error"]:
        return "quarantined"
    return "" if row["gloss"] else "no gloss: unlabelled in the source"


def _key(settings: config.Config, skeleton: Skeleton, rows: Iterable[tuple[str, dict]]) -> str:
    """Hash of all that the shards of clips follow from: the landmarks' rows by shard, recipe, splits and seed."""
    names = ("id", "stamp", "extractor", "gloss", "category", "signer", "split", "error")
    content = sorted((shard, *(row[name] for name in names)) for shard, row in rows)
    sections = [section.model_dump(mode="json") for section in (settings.prepare, settings.split)]
    return store.fingerprint([schema.VERSION, sections, asdict(skeleton), settings.seed, content])


def here(landmarks_dir: Path, clips_root: Path, settings: config.Config) -> Path:
    """Prepare in this process, unit by unit, what is not there yet; other processes wait. Returns the directory."""
    began, made = time.time(), plan(landmarks_dir, clips_root, settings)
    made.directory.mkdir(parents=True, exist_ok=True)
    with FileLock(made.directory / ".lock"):
        made = plan(landmarks_dir, clips_root, settings)  # another process may have done it
        worker = Worker(landmarks_dir, made.directory, settings.prepare)
        for unit in made.units:
            worker(unit)
        if not made.finished:
            finish(landmarks_dir, made, settings, time.time() - began)
    return made.directory


# ---------------------------------------------------------------- in a worker


class Worker:
    """Turns a unit of `plan` into one shard of clips."""

    def __init__(self, landmarks_dir: Path, directory: Path, options: Section):
        self.landmarks_dir, self.directory, self.options = Path(landmarks_dir), Path(directory), options
        self.recipe = kind_module("prepare", options.kind)  # pyright: ignore[reportAttributeAccessIssue]

    def __call__(self, unit: dict) -> dict:
        """The shard's manifest row: shard, clips, frames, dropped, seconds. A row whose recipe fails is dropped."""
        began = time.perf_counter()
        table = store.read_table(self.landmarks_dir / unit["shard"])
        table = table.set_column(table.column_names.index("split"), "split", pa.array(unit["splits"], pa.string()))
        if "" in unit["splits"]:
            table = table.filter(pa.array([name != "" for name in unit["splits"]]))
        rows, dropped = self._rows(table)
        clips = schema.to_table(rows, schema.CLIPS)
        note = {
            "dropped": dropped,
            "contents": [row["content"] for row in rows],
            "sources": [row["source"] for row in rows],
        }
        clips = clips.replace_schema_metadata({**schema.CLIPS.metadata, _NOTE: json.dumps(note)})
        store.write_table(self.directory / unit["shard"], clips)
        return {
            "shard": unit["shard"], "clips": len(rows), "frames": sum(row["frames"] for row in rows),
            "dropped": len(dropped), "seconds": time.perf_counter() - began,
        }  # fmt: skip

    def _rows(self, table: pa.Table) -> tuple[list[dict], list[dict]]:
        """Rows of CLIPS, with `content` and `source` beside, and those dropped, with the reason."""
        rows, dropped = [], []
        about = table.select([*_WHO, "source", "extractor"]).to_pylist()
        for row, landmarks in zip(about, schema.landmarks_of(table), strict=True):
            try:
                x = self.recipe.apply(landmarks, self.options)
            except ClipError as error:
                dropped.append({name: row[name] for name in ("id", "gloss", "signer")} | {"reason": str(error)})
                continue
            shape = dict(zip(("persons", "frames", "points", "channels"), x.shape, strict=True))
            rows.append({**row, **shape, "x": x, "recipe": self._recipe(row["extractor"]), "content": content(x)})
        return rows, dropped

    @lru_cache(maxsize=64)  # noqa: B019 - a worker lives as long as its task
    def _recipe(self, extractor: str | None) -> str:
        return store.fingerprint([self.options.model_dump(mode="json"), extractor])


def content(x: np.ndarray) -> str:
    """Equal for equal clips and, for all that happens, for no others: hash of the shape and of the sum over time."""
    return hashlib.blake2b(repr(x.shape).encode() + x.sum(axis=1).tobytes(), digest_size=8).hexdigest()


# ---------------------------------------------------------------- at the end


def finish(landmarks_dir: Path, made: Plan, settings: config.Config, seconds: float) -> dict:
    """Write `dropped.parquet` (id, gloss, signer, reason) and the card; returns the card.

    Raises StoreError when the recipe left no clip to train on, or none of a gloss that is validated or tested on.
    """
    table = store.read_columns(made.directory, *_WHO, "frames")
    given = store.read_columns(landmarks_dir, "id", "extractor", "frames", "fps")
    notes = [json.loads(store.metadata(path)[_NOTE]) for path in store.shards(made.directory)]
    failed = [row for note in notes for row in note["dropped"]]
    dropped = pa.concat_tables([made.dropped, pa.Table.from_pylist(failed, DROPPED)]).sort_by("id")
    rows = table.to_pylist()
    _require_training(made.directory, rows, failed)
    trained = [row["id"] for row in rows if row["split"] == "train"]
    store.write_table(made.directory / "dropped.parquet", dropped)
    contents, sources = ([cell for note in notes for cell in note[name]] for name in ("contents", "sources"))
    return store.write_card(
        made.directory,
        "prepare",
        made.key,
        config={name: getattr(settings, name).model_dump(mode="json") for name in ("prepare", "split")},
        counts=_counts(rows),
        dropped=dict(Counter(dropped["reason"].to_pylist()).most_common()),
        seconds=seconds,
        landmarks=remote.shown(landmarks_dir),
        extractor=sorted(set(given["extractor"].to_pylist())),
        made_of=(store.read_card(landmarks_dir) or {}).get("made_of"),
        seed=settings.seed,
        labels=sorted({word for row in rows if row["split"] == "train" for word in row["gloss"]}),
        categories=sorted({row["category"] for row in rows if row["split"] == "train" and row["category"]}),
        split={"kind": made.splits.kind, "notes": made.splits.notes},
        splits=made.division,
        leaks=split.leaks(
            *([row[name] for row in rows] for name in ("id", "split", "signer")), sources=sources, contents=contents
        ),
        skeleton=asdict(made.skeleton),
        channels=list(made.channels),
        lengths=_lengths(table["frames"].to_numpy()),
        landmark_lengths=_durations(given.filter(pc.field("id").isin(trained))),
    )


def _require_training(directory: Path, rows: list[dict], failed: list[dict]) -> None:
    """StoreError when the clips that the recipe made (rows) are not trained on, or have a gloss that is not, with the
    commonest reason why it could not make others (failed).
    """
    trained = {word for row in rows if row["split"] == "train" for word in row["gloss"]}
    untrained = sorted({word for row in rows for word in row["gloss"]} - trained)
    if trained and not untrained:
        return
    of = f" of gloss {untrained[0]!r}" if trained else ""
    lost = Counter(row["reason"] for row in failed if not of or untrained[0] in row["gloss"])
    reason, count = lost.most_common(1)[0]
    raise StoreError(
        f"{directory}: no training clips{of} are left; {count} were dropped: {reason}; give more clips or change the "
        "`prepare` section"
    )


def _counts(rows: list[dict]) -> dict:
    """Clips and frames in all, per split, and per split of each signer and of each gloss (that it is in)."""
    tables: dict[str, dict] = {"split": {}, "gloss": {}, "signer": {}}
    for row in rows:
        tables["split"][row["split"]] = tables["split"].get(row["split"], 0) + 1
        names = [("signer", row["signer"] or "unknown"), *(("gloss", word) for word in set(row["gloss"]))]
        for column, name in names:
            line = tables[column].setdefault(name, dict.fromkeys(schema.SPLITS, 0))
            line[row["split"]] += 1
    whole = {"clips": len(rows), "frames": sum(row["frames"] for row in rows)}
    return {**whole, **{column: dict(sorted(table.items())) for column, table in tables.items()}}


def _lengths(frames: np.ndarray) -> dict:
    """Shortest, longest and quantiles of the numbers of frames."""
    return {name: int(np.percentile(frames, mark)) for name, mark in _MARKS.items()}


def _durations(landmarks: pa.Table) -> dict:
    """The same of landmarks, before the recipe changes their rate or length; and in seconds, where that is known."""
    frames, fps = landmarks["frames"].to_numpy(), landmarks["fps"].fill_null(0).to_numpy()
    seconds, told = frames[fps > 0] / fps[fps > 0], {"frames": _lengths(frames)}
    if len(seconds):
        told["seconds"] = {name: round(float(np.percentile(seconds, mark)), 3) for name, mark in _MARKS.items()}
    return told
