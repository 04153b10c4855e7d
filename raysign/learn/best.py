"""Which epoch is the best, and what follows from it: when the rate falls on a plateau and when a training ends.

An epoch's score is (the metric `train.best`, minus its loss), both such that more is better: the higher score is the
better epoch, of equals the first. All here follows from the scores of the epochs so far, so that it is the same for
every worker and after a training was killed.
"""

import math
from typing import Any

from raysign.config import Train
from raysign.errors import ConfigError, nearest

Scores = list[tuple[float, float]]


def check(train: Train, metrics: tuple[str, ...], validated: bool) -> None:
    """ConfigError when there is no such metric, or no validation clip for what must go by it."""
    known = [f"{split}/{name}" for split in ("val", "train") for name in metrics]
    if train.best not in known:
        raise ConfigError(
            f"train.best: found {train.best!r}, expected one of {', '.join(known)}{nearest(train.best, known)}"
        )
    if validated or train.best.startswith("train/"):
        return
    plateau = train.schedule == "plateau"
    for name, wanted in (("patience", train.patience), ("stop_at", train.stop_at is not None), ("schedule", plateau)):
        if wanted:
            raise ConfigError(
                f"train.{name}: goes by {train.best}, but there are no validation clips; set train.best=train/loss"
            )


def sign(task: Any, name: str) -> int:
    """-1 for a metric of which less is better, any loss or what the task (its class or itself) says, else 1."""
    return -1 if name.endswith("loss") or name.rpartition("/")[2] in getattr(task, "LOWER", ()) else 1


def score(metrics: dict, name: str, sign: int) -> tuple[float, float]:
    """Of an epoch; without validation clips and going by their metric, the later one is the better."""
    loss = metrics.get("val/loss", metrics["train/loss"])
    return (sign * metrics[name], -loss) if name in metrics else (float(metrics["epoch"]), 0.0)


def epoch_of(scores: Scores) -> int:
    """The best epoch, from 1; 0 before the first."""
    return max(range(len(scores)), key=scores.__getitem__) + 1 if scores else 0


def falls(scores: Scores, patience: int) -> int:
    """How often the rate has fallen: each time that more than `patience` epochs had no new best one, counted anew."""
    count = waited = 0
    best = (-math.inf, -math.inf)
    for found in scores:
        waited = 0 if found > best else waited + 1
        best = max(best, found)
        if waited > patience:
            count, waited = count + 1, 0
    return count


def ended(train: Train, scores: Scores, sign: int) -> str:
    """Why a training is at its end after these epochs; empty when it goes on."""
    if scores and train.stop_at is not None and max(scores)[0] >= sign * train.stop_at:
        return f"{train.best} is as good as {train.stop_at:g}"
    if train.patience and len(scores) - epoch_of(scores) >= train.patience:
        return f"no better {train.best} for {train.patience} epochs"
    return "all epochs done" if len(scores) >= train.epochs else ""
