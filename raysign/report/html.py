"""Self-contained pages about an evaluation or a validation: pictures are inside, nothing is loaded from anywhere."""

import base64
from collections.abc import Sequence
from pathlib import Path

import jinja2
import pyarrow as pa

from raysign.report import metrics, plots, tally
from raysign.report.words import FIGURES as TITLES

SHARES = {"top1": "top-1", "category_top1": "category", "wer": "word errors", "sequence_accuracy": "sequences right"}
MOST_WRONG = 200  # wrong clips listed; predictions.parquet has them all


def page(
    table: pa.Table, labels: list[str], figures: dict, pictures: dict[str, bytes], *, title: str,
    about: Sequence[tuple[str, str]] = (), data: dict | None = None, warnings: Sequence[str] = (),
    mistakes: Sequence[dict] = (), epochs: Sequence[dict] = (), config: str = "",
) -> str:  # fmt: skip
    """The report of a PREDICTIONS table as HTML.

    figures, pictures: those of metrics.metrics and of results.pictures of this table. about: what was evaluated, as
    names and values. data: `splits`, rows of the same columns, and `facts`, names and values. warnings: what a reader
    must know before believing the figures. mistakes: as of mistakes.drawn. epochs: training's figures, one mapping an
    epoch (see plots.training_curves). config: the config as YAML.
    Everything is escaped.
    """
    wrong, curves = wrong_clips(table), plots.training_curves(list(epochs))
    return template("report.html").render(
        title=title, about=list(about), data=data, warnings=list(warnings), config=config, figures=figures,
        **(_classes(table, labels, figures) if pictures else {}), **_groups(figures),
        **{name.partition(".")[0]: picture(drawn) for name, drawn in pictures.items()},
        edits=metrics.edits(table) if tally.tells(table, "decoded") else [],
        mistakes=[{**row, "picture": picture(row["picture"])} for row in mistakes],
        wrong=wrong[:MOST_WRONG], wrong_count=len(wrong), curves=picture(curves) if curves else None,
    )  # fmt: skip


def _groups(figures: dict) -> dict:
    """What the page says of signers and lengths: tables, and a picture of word errors, else of the first of SHARES."""
    told, per_signer = figures["intervals"], figures["per_signer"]
    first = next(name for name in ("wer", *SHARES) if name in figures)
    rows = [
        (signer, row["count"], row[first], told["per_signer"][signer][first])
        for signer, row in per_signer.items()
        if first in row
    ]
    return {
        "columns": [(name, title) for name, title in SHARES.items() if name in figures], "titles": list(TITLES.items()),
        "signers": [(name, row, told["per_signer"][name]) for name, row in per_signer.items()],
        "lengths": list(zip(figures["per_length"], told["per_length"], strict=True)),
        "signers_drawn": picture(plots.signers(rows, figures[first], SHARES[first])) if len(rows) > 1 else None,
    }  # fmt: skip


def _classes(table: pa.Table, labels: list[str], figures: dict) -> dict:
    """What the page says of glosses one by one."""
    matrix, per_class = metrics.confusion(table, labels), figures["per_class"]
    return {
        "classes": [{"number": i + 1, "gloss": gloss, **row} for i, (gloss, row) in enumerate(per_class.items())],
        "pairs": metrics.confused_pairs(matrix, labels),
        "reliability": picture(plots.reliability(figures["reliability"])),
        "numbered": any(plots.undrawable(gloss) for gloss in labels),
    }  # fmt: skip


def validation_page(title: str, findings: Sequence, stages: Sequence[dict]) -> str:
    """What was found on disk as HTML.

    findings: objects with severity, check and line, the gravest first. stages: of each stage looked at `name`,
    `directory`, `clips`, `quarantined`, `signers`, `numbers` (rows of a name, five quantiles and what it means),
    `parts` (rows), `frames` and `quality` (an array each, None: not drawn), `classes` (gloss -> split -> clips),
    `worst` and `twins` (rows). Everything is escaped.
    """
    drawn = [
        {
            **stage,
            "lengths": picture(plots.histogram(stage["frames"], "Length of clips", "frames")),
            "qualities": None
            if stage["quality"] is None
            else picture(plots.histogram(stage["quality"], "Quality of clips", "quality", (0.0, 1.0))),
            "glosses": picture(plots.class_clips(stage["classes"])) if stage["classes"] else None,
            "numbered": _numbered(stage["classes"]),
        }
        for stage in stages
    ]
    counts = {name: sum(finding.severity == name for finding in findings) for name in ("error", "warning", "note")}
    return template("validation.html").render(title=title, findings=list(findings), stages=drawn, counts=counts)


def _numbered(classes: dict[str, dict[str, int]]) -> list[tuple[int, str]]:
    """The glosses that plots.class_clips shows by their numbers, with these; none where it shows no names."""
    shown = list(classes) if len(classes) <= plots.MOST_BARS else []
    return [(i + 1, gloss) for i, gloss in enumerate(shown) if plots.undrawable(gloss)]


def wrong_clips(table: pa.Table) -> list[dict]:
    """The rows whose answer is not their gloss or sentence, without their probabilities.

    The most confident mistakes come first, of sentences those with the most edits for each gloss.
    """
    rows = table.select(["id", "gloss", "signer", "predicted", "confidence", "top"]).to_pylist()
    told = tally.tells(table, "decoded")
    answers = table["decoded"].to_pylist() if told else [[row["predicted"]] for row in rows]
    wrong = [
        {
            **row, "gloss": " ".join(row["gloss"]), "answer": " ".join(answer),
            "gravity": tally.distance(row["gloss"], answer) / len(row["gloss"]) if told else row["confidence"],
        }
        for row, answer in zip(rows, answers, strict=True)
        if row["gloss"] != answer
    ]  # fmt: skip
    return sorted(wrong, key=lambda row: (-row["gravity"], row["id"]))


def picture(png: bytes) -> dict:
    """A picture as a data URI, and the least width in CSS pixels at which its letters can be read (then it scrolls)."""
    width = int.from_bytes(png[16:20], "big")  # of the IHDR chunk, PNG specification 11.2.2
    return {"data": "data:image/png;base64," + base64.b64encode(png).decode(), "least": int(0.7 * width)}


def template(name: str) -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["share"] = lambda value: f"{value:.3f}"
    environment.filters["between"] = _between
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    return environment.get_template(name)


def _between(ends: Sequence[float], form: str = "share") -> str:
    low, high = ends
    return f"{100 * low:.1f} to {100 * high:.1f} %" if form == "percent" else f"{low:.3f} to {high:.3f}"
