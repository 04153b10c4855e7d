"""What the user is told when something is done: sentences made of cards, metrics and answers."""

import json
import re
import shlex
from pathlib import Path

from raysign import remote
from raysign.config import Config

FIGURES = {
    "wer": "word error rate", "sequence_accuracy": "sequences right", "blank": "blank frames", "top1": "top-1",
    "top3": "top-3", "top5": "top-5", "top1_per_class": "top-1 per class", "top3_per_class": "top-3 per class",
    "top5_per_class": "top-5 per class", "mrr": "mean reciprocal rank", "macro_f1": "macro F1",
    "weighted_f1": "weighted F1", "macro_precision": "macro precision", "macro_recall": "macro recall",
    "ece": "calibration error", "category_top1": "category",
}  # fmt: skip
SAID = ("wer", "sequence_accuracy", "top1", "top5", "macro_f1", "category_top1")  # at the end of a command


def describe(card: dict, directory: Path) -> str:
    """A stage's card in some lines."""
    counts = {name: value for name, value in card["counts"].items() if not isinstance(value, dict)}
    held = ", ".join(f"{value} {name}" for name, value in counts.items())
    lines = [f"{card['stage']}: {remote.shown(directory)}", f"  {held}"]
    examples = card.get("examples", {})
    for reason, count in card["dropped"].items():
        example = examples.get(reason, reason)
        lines.append(f"  dropped {count}: {example}" if count == 1 else f"  dropped {count}: {reason}")
        lines += [f"    such as {example}"] if count > 1 and example != reason else []
    if examples:
        lines.append(f"  all of them, with their reasons: {remote.shown(directory / 'quarantine.parquet')}")
    lines += [f"  {card['audit']['said']}"] if card.get("audit") else []
    return "\n".join(lines)


def converted(card: dict, out: Path) -> str:
    """What to say of a conversion: what is there and what is not, what was lost, and how to read it back."""
    settings = " ".join(shlex.quote(f"source.{key}={_word(value)}") for key, value in card["source"].items())
    lines = [
        f"  clip by clip: {out / 'clips.csv'}",
        f"  {card['loses']}",
        f"  to read it back: raysign import {settings}",
    ]
    return "\n".join([describe(card, out), *lines])


def _word(value: object) -> str:
    """A setting's value as it is typed, such that YAML takes it for what it is."""
    plain = isinstance(value, str) and re.fullmatch(r"[\w./-]+", value)
    return str(value) if plain else json.dumps(value, ensure_ascii=False)


def summary(config: Config, metrics: dict) -> str:
    """What to say at the end of the line: the figures and where everything is."""
    from raysign.learn.mlflow_server import uri_of

    home = config.answers
    bundle = remote.shown(config.evaluate.bundle or home / "bundle")
    told = [_figure(name, metrics) for name in SAID if name in metrics]
    figures, signers = ", ".join(told), metrics["intervals"].get("signers", {})
    if name := next((name for name in SAID if name in signers), None):
        low, high = signers[name]
        figures += f" (of new signers {FIGURES[name]} {low:.3f} to {high:.3f})"
    views = f" ({metrics['views']})" if metrics.get("views") else ""
    lines = [
        f"{config.evaluate.split}: {figures} on {metrics['count']} clips{views}",
        f"report:  {remote.shown(config.of_split('evaluation') / 'report.html')}",
        f"bundle:  {bundle}   (raysign predict {bundle} FILE...)",
    ]
    lines[1:1] = [f"note: {note}" for note in metrics["warnings"]]
    if config.mlflow.enabled:
        uri = uri_of(config)
        lines.append(f"MLflow:  {uri}" if uri.startswith("http") else f"MLflow:  mlflow ui --backend-store-uri {uri}")
    return "\n".join(lines)


def _figure(name: str, metrics: dict) -> str:
    low, high = metrics["intervals"]["clips"][name]
    return f"{FIGURES[name]} {metrics[name]:.3f} ({low:.3f} to {high:.3f})"


def told(row: dict) -> tuple[str, float | None]:
    """What a clip says by its row of infer.files or one of its segments, and the probability, where there is one.

    Sequences are told by their glosses; one of a single gloss as that gloss, of which the probability is known.
    """
    likeliest, decoded = row["top"][:1], row.get("decoded")
    if decoded is not None and decoded != [name for name, _ in likeliest]:
        return " ".join(decoded), None
    return likeliest[0] if likeliest else ("", None)


def answer(row: dict) -> str:
    """One clip's likeliest glosses, its sentence, its signs with their times, or why it could not be used.

    row: of infer.files.predict.
    """
    if row["error"]:
        return row["error"] if row["error"].startswith(row["clip"]) else f"{row['clip']}: {row['error']}"
    drawn = f"  [{row['overlay'] or row['note']}]" if "overlay" in row else ""
    if row.get("segments") is None:
        return f"{row['clip']}  {_likeliest(row)}{drawn}"
    lines = [f"  {one['start']:8.2f} to {one['end']:7.2f} s  {_likeliest(one)}" for one in row["segments"]]
    return "\n".join([row["clip"] + drawn, *(lines or ["  (nothing signed)"])])


def _likeliest(row: dict) -> str:
    """The glosses of a row or segment with their probabilities; of a sequence, which says nothing of others, itself."""
    (said, share), category = told(row), row.get("predicted_category")
    likeliest = "  ".join(f"{name} {share:.2f}" for name, share in row["top"]) if share is not None else said
    return (likeliest or "(no gloss)") + (f"  ({category})" if category else "")


MOST_MB, MOST_MS = 40, 100  # of a recogniser on a phone: the bars of Google's isolated sign recognition (2023)


def exported(card: dict, out: Path) -> str:
    """What to say of an export: size, speed and how far it is from its bundle. card: of infer.export.export."""
    speed = card["speed"]
    frames = f"one clip of {speed['frames']} frames, one CPU thread"
    lines = [f"{'':14}{'size':>9}{'median':>10}{'p95':>10}   {frames}; wanted: {MOST_MB} MB, {MOST_MS} ms"]
    for name in (*card["size_mb"], "torch"):
        size = f"{card['size_mb'][name]:.2f} MB" if name in card["size_mb"] else ""
        row = f"{name:14}{size:>9}{speed[name]['median']:>7.2f} ms{speed[name]['p95']:>7.2f} ms"
        if agreed := card["agreement"].get(name):
            row += f"   at most {agreed['difference']:.1g} off, same gloss in {agreed['top1']:.0%} of {card['clips']}"
        lines.append(row)
    return "\n".join([*lines, f"checked on: {card['checked_on']}", f"exported: {out}"])
