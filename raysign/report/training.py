"""What trainings came to: a picture of their curves, and a line of words for each."""

from dataclasses import dataclass
from pathlib import Path

from raysign import config as configs
from raysign import remote, store
from raysign.errors import StoreError, some
from raysign.kinds import kind_module
from raysign.learn import best
from raysign.learn.distribute import FREE
from raysign.learn.history import FILE, read_metrics
from raysign.learn.provenance import flat
from raysign.report import plots

MOST = 8  # trainings in one picture
NOT_COMPARED = (*(f"train.{name}" for name in FREE), "mlflow.", "ray.", "evaluate.", "out", "name")


@dataclass(frozen=True)
class Training:
    """directory: its name is what the training is called. rows: its epochs. config: as it was trained."""

    directory: Path
    rows: list[dict]
    config: configs.Config


def found(place: Path) -> list[Training]:
    """The training whose directory a place is, or those of the folder of a config's results, the newest last.

    At most the newest MOST of those with an epoch done; StoreError when there is none.
    """
    one = store.exists(place / FILE)
    files = [place / FILE] if one else sorted(store.found(place, f"train/*/{FILE}"), key=_changed)
    trainings = [
        Training(file.parent, rows, configs.load([str(remote.pull(file.with_name("config.yaml")))]))
        for file in files if (rows := read_metrics(file.parent))
    ]  # fmt: skip
    if not trainings:
        raise StoreError(f"{place}: found no training with an epoch done, expected one; run `raysign train` first")
    return trainings[-MOST:]


def _changed(file: Path) -> float:
    return remote.pull(file).stat().st_mtime


def words(training: Training) -> str:
    """One line: epochs done and why no more, the best one, and how much better training clips are told than others."""
    train, rows = training.config.train, training.rows
    sign = best.sign(kind_module("task", training.config.task.kind).Task, train.best)
    scores = [best.score(row, train.best, sign) for row in rows]
    top, ended = rows[best.epoch_of(scores) - 1], best.ended(train, scores, sign)
    said = [f"{len(rows)} of {train.epochs} epochs ({ended or 'not finished'})"]
    said.append(f"best epoch {top['epoch']}" + (f": {train.best} {top[train.best]:.3f}" if train.best in top else ""))
    if "val/top1" in top:
        gap = top["train/top1"] - top["val/top1"]
        said.append(f"train/top1 - val/top1 there {gap:+.3f}" + (" (overfitted)" if gap > 0.1 else ""))
    if "val/loss" in top:
        lowest = min(rows, key=lambda row: row["val/loss"])
        rise = rows[-1]["val/loss"] - lowest["val/loss"]
        said.append(f"val/loss lowest in epoch {lowest['epoch']}, {rise:+.3f} since")
    return f"{training.directory.name[:8]}: {', '.join(said)}"


def picture(trainings: list[Training]) -> bytes | None:
    """PNG of the curves of each, one below the other on the same scales; titles say in what the trainings differ."""
    trees = [flat(training.config.model_dump(mode="json")) for training in trainings]
    curves = [(t.directory.name[:8] + _own(tree, trees), t.rows) for t, tree in zip(trainings, trees, strict=True)]
    return plots.compared_curves(curves)


def _own(tree: dict[str, str], trees: list[dict[str, str]]) -> str:
    """The settings of a training that not all of them have alike, as they are typed; of many the first three."""
    names = [name for name in tree if not name.startswith(NOT_COMPARED)]
    differing = [f"{name}={tree[name]}" for name in names if len({other.get(name) for other in trees}) > 1]
    return f"  {some(differing)}" if differing else ""
