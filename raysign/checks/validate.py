"""Can what is on disk be trusted? Every check over the stages of a config, or over one; table, page and figures."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from raysign import remote, store
from raysign.checks import labels, limits, points
from raysign.checks.evidence import Evidence, gather
from raysign.checks.findings import Finding, limited, table
from raysign.checks.measure import MEANINGS, PARTS
from raysign.report import html

# each takes the evidence of a stage and yields findings
ALWAYS = (*labels.CHECKS, *points.CHECKS)
FIRST = (*labels.RECORDING, *points.SIGNING)  # of the first stage looked at: the next one would say the same again
LAST = (labels.classes, *labels.TWINS)  # of the last one, which knows the splits


@dataclass(frozen=True)
class Result:
    """findings: the gravest first. home: folder of report.html, validation.json and quality.parquet."""

    findings: list[Finding]
    home: Path

    def good(self, strict: bool = False) -> bool:
        """Whether there is no error, and if `strict` no warning."""
        return not any(finding.severity in ("error", "warning")[: 1 + strict] for finding in self.findings)

    def text(self) -> str:
        """The findings for a terminal, and where the page is."""
        return f"{table(self.findings)}\nreport: {remote.shown(self.home / 'report.html')}"


def is_stage(path: Path) -> bool:
    """Whether a directory is one that a stage was begun in."""
    return store.exists(path / "card.json") or (path / ".work").exists() or bool(store.shards(path))


def validate(
    directories: Sequence[Path], home: Path, known: Iterable[Finding] = (), settings: dict | None = None
) -> Result:
    """Look at the stages (the first one's quality is written) and leave the report in `home`.

    known: findings made elsewhere. settings: what the first stage's card should say it was made with. StoreError for a
    directory without a whole shard.
    """
    stages = [gather(directory) for directory in directories]
    if settings and stages[0].card.get("config", settings) != settings:
        line = f"{stages[0].stage}: found them made with other settings than the config's; run `raysign run` to renew"
        known = [*known, Finding("warning", "settings", line)]
    if audit := stages[0].card.get("audit"):  # what the source lacked, where it could tell
        known = [*known, Finding("note", "audit", f"{stages[0].stage}: {audit['said']}")]
    looked = [look(stage, first=stage is stages[0], last=stage is stages[-1]) for stage in stages]
    found = limited([*known, *(finding for findings in looked for finding in findings)])
    facts = [_facts(stage, first=stage is stages[0], last=stage is stages[-1]) for stage in stages]
    store.write_table(home / "quality.parquet", _quality(stages))
    store.write_json(home / "validation.json", _told(found, facts))
    page = html.validation_page(f"Validation of {home.parent.name}", found, facts)
    store.write_bytes(home / "report.html", page.encode())
    return Result(found, home)


def look(stage: Evidence, first: bool = True, last: bool = True) -> list[Finding]:
    """What every check says of one stage, and what was found on the way to its evidence."""
    checks = (*ALWAYS, *(FIRST if first else ()), *(LAST if last else ()))
    return [*stage.notes, *(finding for check in checks for finding in check(stage))]


def _quality(stages: list[Evidence]) -> pa.Table:
    """id, gloss, signer, split, quality and its parts of each clip of the first stage; splits from any."""
    first, about = stages[0], stages[0].about
    told = [pair for stage in stages for pair in zip(stage.about["id"], stage.about["split"], strict=True)]
    split = {clip: name for clip, name in told if name}
    columns = {
        "id": pa.array(about["id"], pa.string()),
        "gloss": pa.array(about["gloss"], pa.list_(pa.string())),
        "signer": pa.array(about["signer"], pa.string()),
        "split": pa.array([split.get(name) for name in about["id"]], pa.string()),
    }
    return pa.table(columns | {name: pa.array(values, pa.float32()) for name, values in first.quality.items()})


# ---------------------------------------------------------------- figures


def _told(found: list[Finding], facts: list[dict]) -> dict:
    """The whole as JSON: findings, and of each stage what is no array."""
    counts = {name: sum(finding.severity == name for finding in found) for name in ("error", "warning", "note")}
    plain = [{k: v for k, v in fact.items() if k not in ("frames", "quality")} for fact in facts]
    return {"counts": counts, "findings": [asdict(finding) for finding in found], "stages": plain}


def _facts(e: Evidence, first: bool, last: bool) -> dict:
    """What the page tells of one stage; measures and quality of the first only, twins of the last."""
    measured = {"frames": e.frames.astype(np.float32), **e.numbers} if first else {}
    told = [name for name in MEANINGS if name in measured and np.isfinite(measured[name]).any()]
    quality = e.quality["quality"]
    worst = [i for i in np.argsort(quality, kind="stable")[: limits.WORST].tolist() if first and quality[i] < 1]
    return {
        "name": e.stage, "directory": str(e.directory), "clips": len(e.frames), "quarantined": e.quarantined,
        "signers": len({name for name in e.about["signer"] if name}),
        "frames": e.frames, "quality": quality if first else None,
        "classes": {gloss: dict(count) for gloss, count in labels.per_gloss(e).items()},
        "numbers": [_quantiles(name, measured[name]) for name in told],
        "parts": [
            {"part": part, "unseen": count["unseen"] / max(1, count["points"]),
             "zero": count["zero"] / max(1, count["points"])}
            for part, count in e.parts.items()
        ],
        "worst": [_row(e, i) for i in worst],
        "twins": _nearest(e) if last else [],
    }  # fmt: skip


def _quantiles(name: str, values: np.ndarray) -> dict:
    known = values[np.isfinite(values)]
    marks = [round(float(mark), 4) for mark in np.percentile(known, [0, 5, 50, 95, 100])]
    return {"name": name, "quantiles": marks, "meaning": MEANINGS[name]}


def _row(e: Evidence, i: int) -> dict:
    """One clip for a table."""
    who = {name: e.about[name][i] for name in ("id", "signer", "split")}
    parts = {name: round(float(e.quality[name][i]), 4) for name in ("quality", *PARTS)}
    return {**who, "gloss": " ".join(e.about["gloss"][i] or ()), **parts}


def _nearest(e: Evidence) -> list[tuple[dict, dict, float]]:
    """The nearest twins, equal ones first."""
    equal = [(group[0], other, 0.0) for group in e.twins.equal for other in group[1:]]
    order = np.argsort(e.twins.apart, kind="stable")[: limits.WORST]
    near = [(*e.twins.near[i].tolist(), round(float(e.twins.apart[i]), 4)) for i in order]
    return [(_row(e, a), _row(e, b), apart) for a, b, apart in [*equal, *near][: limits.WORST]]
