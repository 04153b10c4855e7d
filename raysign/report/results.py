"""What an evaluation leaves beside its page for other programs and other eyes: text, pictures, scores."""

import pickle

import numpy as np
import pyarrow as pa
from sklearn.metrics import classification_report

from raysign.report import metrics, plots
from raysign.report.tally import NONE, by_probabilities, probabilities_of
from raysign.report.words import FIGURES as TITLES

PICTURES = ("confusion_matrix.png", "per_class_f1_scores.png")
LOOKED_AT = ("report.html", "metrics.json", "results.txt", *PICTURES)  # by people; they need no clips


def pictures(table: pa.Table, labels: list[str], figures: dict) -> dict[str, bytes]:
    """PICTURES by their names, as PNG: the confusion matrix, each row divided by its clips, and the F1 of each gloss;
    none without clips of one gloss.

    table: PREDICTIONS. figures: those of metrics.metrics of it.
    """
    if "per_class" not in figures:
        return {}
    matrix = plots.confusion_matrix(metrics.confusion(table, labels), labels)
    return dict(zip(PICTURES, (matrix, plots.class_f1(figures["per_class"])), strict=True))


def text(table: pa.Table, labels: list[str], figures: dict, title: str) -> str:
    """All figures with their intervals, and those of each gloss."""
    return f"{title}\n\n{overall(figures)}\n{_by_class(table, labels)}"


def overall(figures: dict) -> str:
    """The figures that have a title, a line each, with their intervals."""
    told = figures["intervals"]
    lines = [f"{figures['count']} clips; intervals of {told['level']:.0%}: over clips, then over signers"]
    for name, title in TITLES.items():
        if name in figures:
            ends = [told[over][name] for over in ("clips", "signers") if name in told.get(over, {})]
            lines.append(
                "   ".join([f"{title:22} {figures[name]:.4f}", *(f"{low:.4f} to {high:.4f}" for low, high in ends)])
            )
    return "\n".join(lines) + "\n"


def _by_class(table: pa.Table, labels: list[str]) -> str:
    """Precision, recall and F1 of the classes that occur, as scikit-learn writes them, where told."""
    found = by_probabilities(table, labels)
    single = found.truth != NONE
    if not single.any():
        return ""
    occurring = np.union1d(found.truth[single], found.predicted[single])
    return str(classification_report(
        found.truth[single], found.predicted[single], labels=occurring, digits=4, zero_division=0,  # pyright: ignore[reportArgumentType]
        target_names=[labels[place] for place in occurring],
    ))  # fmt: skip


def scores(table: pa.Table, labels: list[str]) -> bytes:
    """A pickle of clip -> (K,) float32 log-probabilities, as programs around ST-GCN keep the scores of a test.

    Logits less a constant of each clip: what is ranked, weighed and added of logits comes out the same.
    """
    found = np.log(np.maximum(probabilities_of(table, labels), np.finfo(np.float32).tiny))
    return pickle.dumps(dict(zip(table["id"].to_pylist(), found, strict=True)))
