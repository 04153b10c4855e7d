"""What a bundle is worth when its landmarks are damaged: clips of a split asked again under each stressor and level.

Some clips make one shard of answers, a plain function of them, in this process or on a cluster; the shards lie in a
folder named by what they follow from, so the same command does only what is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysign import __version__, config, schema, store
from raysign.errors import BundleError, ConfigError, RaysignError, nearest
from raysign.infer import about as telling
from raysign.infer.damage import STRESSORS, Stressor
from raysign.infer.ensemble import EnsemblePredictor, predictor_of
from raysign.infer.evaluate import card_with
from raysign.infer.predictor import Predictor, recipe_of
from raysign.learn import ensemble as ensembles
from raysign.report import intervals
from raysign.report import robustness as reporting
from raysign.skeleton import layout

PER_UNIT = 16  # clips of a unit of work: some seconds
LARGE = 256  # clips from which on a cluster is worth its start
ANSWERS = pa.schema({
    "id": pa.string(), "gloss": pa.list_(pa.string()), "signer": pa.string(),
    "stressor": pa.string(),  # null: the clip as it is
    "level": pa.float64(),
    "right": pa.bool_(),  # whether it was told right, a sentence to its last gloss; a clip without an answer was not
    "error": pa.string(),  # why there was no answer
})  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is to be done: units of clips whose answers `directory` does not have yet."""

    directory: Path
    units: list[dict]
    stressors: list[Stressor]
    skipped: dict[str, str]  # of the stressors that these landmarks cannot be given, why

    @property
    def todo(self) -> int:
        """Clips of the units."""
        return sum(len(unit["ids"]) for unit in self.units)

    @property
    def large(self) -> bool:
        """Whether a cluster is worth its start."""
        return self.todo >= LARGE


def chosen(names: tuple[str, ...]) -> list[Stressor]:
    """The stressors of these names, all without any. ConfigError for a name that there is not."""
    for name in names:
        if name not in STRESSORS:
            known = ", ".join(STRESSORS)
            raise ConfigError(f"--only: found {name!r}, expected one of {known}{nearest(name, STRESSORS)}")
    return [one for name, one in STRESSORS.items() if name in (names or STRESSORS)]


def plan(
    bundle_dir: Path, landmarks_dir: Path, clips_dir: Path, settings: config.Config, root: Path, wanted: list[Stressor],
) -> Plan:  # fmt: skip
    """What is to be done for the split that `settings` evaluate, of clips that were prepared of the landmarks.

    BundleError naming a gloss of the split that is no label, or when the landmarks are not of the bundle's kind;
    ConfigError when they are features alone, or can be given none of the stressors.
    """
    split = settings.evaluate.split
    card = card_with(clips_dir, split)
    bundle, layouts = ensembles.load(bundle_dir), set(store.read_columns(landmarks_dir, "layout")["layout"].to_pylist())
    _require_labels(bundle.labels, card, split)
    known = {layout(name) for name in layouts - {None}}
    if not all(one.points for one in known) or settings.prepare.kind == "stored_features":
        raise ConfigError("robustness: found features of frames, expected points to damage; use another recipe")
    for one in bundle.members if isinstance(bundle, ensembles.Ensemble) else [bundle]:
        for name in layouts - {None}:
            recipe_of(one, name)  # else no clip would have an answer, and all would count as wrong
    lacking = {one.name: next(filter(None, map(one.lacking, known)), "") for one in wanted}
    stressors = [one for one in wanted if not lacking[one.name]]
    if not stressors:
        raise ConfigError(f"robustness: {next(iter(lacking.values()))}; choose other stressors")
    about = [
        __version__, store.sha256(Path(bundle_dir) / "card.json"), card["key"], split, settings.seed,
        settings.evaluate.model_dump(mode="json", exclude={"bundle", "batch", "split"}),
        [[one.name, one.levels] for one in stressors],
    ]  # fmt: skip
    directory = root / store.fingerprint(about)
    there, units = {path.name for path in store.shards(directory)}, []
    for path, table in store.tables(clips_dir, ["id", "split"]):
        ids = table.filter(pc.field("split") == split)["id"].to_pylist()
        for start in range(0, len(ids), PER_UNIT):
            name = f"{path.stem}-{start:05}.parquet"
            if name not in there:
                units.append({"shard": path.name, "ids": ids[start : start + PER_UNIT], "into": name})
    return Plan(directory, units, stressors, {name: why for name, why in lacking.items() if why})


def _require_labels(labels: list[str], card: dict, split: str) -> None:
    """BundleError when clips of the split have a gloss that can never be told right."""
    unknown = [gloss for gloss, counts in card["counts"]["gloss"].items() if counts.get(split) and gloss not in labels]
    if unknown:
        near = nearest(unknown[0], labels)
        step = "train on clips of it too, or leave its clips out"
        raise BundleError(f"{split} clips: gloss {unknown[0]!r} is none of the bundle's {len(labels)}{near}; {step}")


class Worker:
    """Turns a unit of `plan` into one shard of ANSWERS.

    names: of the stressors. settings: their `evaluate` and `seed` count. threads: of torch; 0: as many as it likes.
    """

    def __init__(self, bundle_dir: Path, landmarks_dir: Path, directory: Path, names: list[str],
                 settings: config.Config, device: str = "cpu", threads: int = 0):  # fmt: skip
        self.bundle_dir, self.landmarks_dir, self.directory = Path(bundle_dir), Path(landmarks_dir), Path(directory)
        self.stressors, self.settings = [STRESSORS[name] for name in names], settings
        self.device, self.threads = device, threads

    @cached_property
    def predictor(self) -> Predictor | EnsemblePredictor:
        if self.threads:
            import torch

            torch.set_num_threads(self.threads)
        return predictor_of(ensembles.load(self.bundle_dir), self.device, self.settings.evaluate)

    def __call__(self, unit: dict) -> dict:
        """The shard's manifest row: shard, clips."""
        table = store.read_table(self.landmarks_dir / unit["shard"])
        table = table.filter(pc.field("id").isin(unit["ids"]))
        who, clips = table.select(["id", "gloss", "signer"]).to_pylist(), list(schema.landmarks_of(table))
        rows = [row for part in self._answers(who, clips) for row in part]
        store.write_table(self.directory / unit["into"], pa.Table.from_pylist(rows, ANSWERS))
        return {"shard": unit["into"], "clips": len(who)}

    def _answers(self, who: list[dict], clips: list[schema.Landmarks]) -> Iterator[list[dict]]:
        yield self._asked(who, clips, {"stressor": None, "level": 0.0})
        for one in self.stressors:
            for level in one.levels:
                pairs = zip(who, clips, strict=True)
                damaged = [one(clip, level, self.settings.seed, row["id"]) for row, clip in pairs]
                yield self._asked(who, damaged, {"stressor": one.name, "level": level})

    def _asked(self, who: list[dict], clips: list[schema.Landmarks], about: dict) -> list[dict]:
        labels, rows = self.predictor.bundle.labels, []
        answers = self.predictor.each(clips, self.settings.evaluate.batch)
        for row, answer in zip(who, answers, strict=True):
            if isinstance(answer, RaysignError):
                rows.append({**row, **about, "right": False, "error": str(answer)})
                continue
            probabilities, told = answer
            answered = told.get("decoded", [labels[int(probabilities.argmax())]])
            rows.append({**row, **about, "right": row["gloss"] == answered, "error": None})
        return rows


# ---------------------------------------------------------------- what it came to


def figures(made: Plan) -> dict:
    """Shares of clips told right, from the shards of a plan that is carried out.

    count: of clips; undamaged {accuracy, low, high, unanswered}; stressors: of each {about, unit, nothing, levels:
    [{level, accuracy, low, high, unanswered, difference, difference_low, difference_high}]}, unanswered being the clips
    of which nothing could be made, which count as wrong; skipped {stressor: why}. Intervals as report.intervals has
    them.
    """
    table = pa.concat_tables([table for _, table in store.tables(made.directory)]).sort_by("id")
    whole = _rows(table, None, 0.0)
    before = _right(whole)
    stressors = {}
    for one in made.stressors:
        levels = []
        for level in one.levels:
            rows = _rows(table, one.name, level)
            levels.append({"level": level, **_told(rows), **intervals.difference(_right(rows) - before)})
        stressors[one.name] = {"about": one.about, "unit": one.unit, "nothing": one.nothing, "levels": levels}
    return {"count": len(before), "undamaged": _told(whole), "stressors": stressors, "skipped": made.skipped}


def _rows(table: pa.Table, stressor: str | None, level: float) -> pa.Table:
    of = pc.field("stressor")
    return table.filter(of.is_null() if stressor is None else (of == stressor) & (pc.field("level") == level))


def _right(rows: pa.Table) -> np.ndarray:
    return rows["right"].to_numpy(zero_copy_only=False).astype(float)


def _told(rows: pa.Table) -> dict:
    return {**intervals.share(_right(rows)), "unanswered": len(rows) - rows["error"].null_count}


def report(made: Plan, bundle_dir: Path, clips_dir: Path, settings: config.Config) -> tuple[dict, str]:
    """The figures of a plan that is carried out, with what they are of, and the page about them."""
    bundle, split = ensembles.load(bundle_dir), settings.evaluate.split
    card = card_with(clips_dir, split)
    views = predictor_of(bundle, views=settings.evaluate).told_views
    found = {
        **figures(made), "split": split, "clips": card["key"], "training": bundle.card.get("training"), "views": views,
        "seed": settings.seed, "raysign": __version__, "warnings": telling.warnings(bundle, card, split),
    }  # fmt: skip
    about = [("bundle", str(bundle_dir)), ("clips", f"{found['count']} of {split}, {card['key']}"), ("answers", views),
             ("answers clip by clip", str(made.directory))]  # fmt: skip
    title = f"{bundle.config.name}: robustness on {split} clips"
    return found, reporting.page(
        found, worst(found), title=title, about=[row for row in about if row[1]], warnings=found["warnings"],
        config=bundle.config.to_yaml(),
    )  # fmt: skip


def flat(found: dict) -> dict[str, float]:
    """Each share of the figures by a name of its own: what MLflow is told."""
    rows = [(name, row) for name, one in found["stressors"].items() for row in one["levels"]]
    return {f"robustness/{name}/{row['level']:g}": row["accuracy"] for name, row in rows}


def worst(found: dict) -> list[tuple[str, dict]]:
    """(stressor, its level that costs most) of the figures, what costs most first; without those that cost nothing."""
    rows = [(name, min(one["levels"], key=lambda row: row["accuracy"])) for name, one in found["stressors"].items()]
    return sorted([row for row in rows if row[1]["difference"] < 0], key=lambda row: row[1]["accuracy"])
