"""A bundle scored on one split of the clips: a table of predictions, figures and a page."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from raysign import __version__, schema, store
from raysign.config import Evaluate
from raysign.errors import BundleError, ClipError, RaysignError, StoreError, nearest
from raysign.infer import about
from raysign.infer.ensemble import EnsemblePredictor, predictor_of
from raysign.infer.predictor import Predictor, difference, top
from raysign.learn import ensemble as ensembles
from raysign.learn.bundle import Bundle
from raysign.learn.ensemble import Ensemble
from raysign.report import html, mistakes, results
from raysign.report.metrics import metrics
from raysign.skeleton import of_dict

_WHO = ["id", "gloss", "category", "signer", "split", "frames"]
_NOTHING = "a recipe of the bundle makes nothing of them, or of some of their frames"
_X = ["x", "persons", "frames", "points", "channels"]


def evaluate(
    bundle_dir: Path, clips_dir: Path, split: str, out_dir: Path, batch: int = 64, device: str = "auto",
    views: Evaluate | None = None, landmarks_dir: Path | None = None,
) -> dict:  # fmt: skip
    """Write predictions.parquet, report.html, the files of report.results and, last, metrics.json to `out_dir`; returns
    the metrics.

    The figures are those of report.metrics; beside them `split`, `clips` and `training` (the keys of what was scored)
    and `warnings`, sentences on what makes the figures say less than they seem to.
    views: as of Predictor; where it takes samplings of clips, landmarks_dir holds the landmarks of these.
    Clips of which a recipe of the bundle makes nothing are left out, and a warning tells how many.
    One shard of clips is in memory at a time, and the predictions: K numbers a clip. Raises BundleError when the clips
    are of another recipe or have a gloss the bundle does not know; StoreError when they are unfinished or the split is
    empty.
    """
    bundle_dir, clips_dir, out_dir = Path(bundle_dir), Path(clips_dir), Path(out_dir)
    card = card_with(clips_dir, split)
    bundle = ensembles.load(bundle_dir)
    if isinstance(bundle, Bundle):
        _check(bundle, card, clips_dir)
    predictor = predictor_of(bundle, device, views)
    table = pa.concat_tables([
        _scored(predictor, rows, batch, landmarks_dir / shard if landmarks_dir else None)
        for shard, rows in _shards_of(clips_dir, split, bundle)
    ])  # fmt: skip
    if not len(table):
        raise BundleError(f"{bundle_dir}: answers none of the {split} clips ({_NOTHING}); give another bundle")
    figures = {
        **metrics(table, bundle.labels),
        "split": split, "clips": card["key"], "training": bundle.card.get("training"), "views": predictor.told_views,
        "raysign": __version__, "warnings": about.warnings(bundle, card, split),
    }  # fmt: skip
    if unanswered := card["counts"]["split"][split] - len(table):
        figures["warnings"].append(f"{unanswered} {split} clip(s) have no answer and are left out: {_NOTHING}.")
    title = f"{bundle.config.name} on {split} clips"
    pictures = results.pictures(table, bundle.labels, figures)
    page = html.page(
        table, bundle.labels, figures, pictures, title=title,
        about=about.facts(bundle_dir, bundle, card, split, predictor.told_views),
        data=about.data(card), warnings=figures["warnings"], mistakes=mistakes.drawn(table, clips_dir),
        epochs=about.epochs_of(bundle_dir, bundle), config=bundle.config.to_yaml(),
    )  # fmt: skip
    text = results.text(table, bundle.labels, figures, title)
    store.unlink(out_dir / "metrics.json")  # of an earlier one: it says of which clips the predictions are
    store.write_table(out_dir / "predictions.parquet", table)
    for name in set(results.PICTURES) - set(pictures):  # of another bundle that was scored here
        store.unlink(out_dir / name)
    files = {
        **pictures,
        "results.txt": text.encode(),
        "test_result.pkl": results.scores(table, bundle.labels),
        "report.html": page.encode(),
    }
    for name, content in files.items():
        store.write_bytes(out_dir / name, content)
    store.write_json(out_dir / "metrics.json", figures)
    return figures


# ---------------------------------------------------------------- what fits, what is scored


def card_with(clips_dir: Path, split: str) -> dict:
    """The card of clips that have some in the split. StoreError when they are unfinished or have none."""
    card = store.read_card(clips_dir)
    if card is None:
        raise StoreError(f"{clips_dir}: no finished clips; run `raysign prepare` first")
    counts = card["counts"].get("split", {})
    if not counts.get(split):
        there = ", ".join(f"{name} ({count})" for name, count in counts.items())
        step = "give each gloss more clips or change the `split` section"
        raise StoreError(f"{clips_dir}: found no clip in {split!r}, only in {there or 'no split'}; {step}")
    return card


def _check(bundle: Bundle, card: dict, clips_dir: Path) -> None:
    """BundleError when the clips were not made as the bundle's were."""
    mine = bundle.config.prepare.model_dump(mode="json")
    theirs = card["config"]["prepare"]
    differing = sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key))
    step = "prepare the clips with the bundle's own config.yaml"
    if differing:
        key = differing[0]
        raise BundleError(f"{clips_dir}: found prepare.{key}={theirs.get(key)!r}, expected {mine.get(key)!r}; {step}")
    if unlike := difference(bundle, of_dict(card["skeleton"]), card["channels"]):
        raise BundleError(f"{clips_dir}: {unlike}; {step}")


def _shards_of(clips_dir: Path, split: str, bundle: Bundle | Ensemble) -> Iterator[tuple[str, pa.Table]]:
    """The name of each shard that has rows of the split, and these. BundleError naming a gloss that is no label."""
    labels, known = bundle.labels, set(bundle.labels)
    for path in store.shards(clips_dir):
        rows = store.read_table(path, ["id", "gloss", "split"])
        chosen = np.array([name == split for name in rows["split"].to_pylist()], bool)
        if not chosen.any():
            continue
        for clip, gloss in zip(*(rows.filter(chosen)[name].to_pylist() for name in ("id", "gloss")), strict=True):
            if unknown := [word for word in gloss if word not in known]:
                near = nearest(unknown[0], labels)
                step = "train on clips of it too, or leave its clips out"
                if "imported" in bundle.card:
                    step = "import the weights again with the names of their glosses, by --labels FILE"
                raise BundleError(f"{clip}: gloss {unknown[0]!r} is none of the bundle's {len(labels)}{near}; {step}")
        yield path.name, store.read_table(path, [*dict.fromkeys([*_WHO, *_X])]).filter(chosen)


def _scored(predictor: Predictor | EnsemblePredictor, clips: pa.Table, batch: int, landmarks: Path | None) -> pa.Table:
    """The PREDICTIONS rows of some clips, in their order. landmarks: the shard that they were made of."""
    labels = predictor.bundle.labels
    if predictor.prepares:
        answers = _of_landmarks(predictor, clips["id"].to_pylist(), landmarks, batch)
    else:
        answers = zip(*predictor.answers(list(schema.arrays(clips, *_X)), batch), strict=True)
    rows = []
    for who, answer in zip(clips.select(_WHO).to_pylist(), answers, strict=True):
        if isinstance(answer, ClipError):
            continue
        row, columns = answer
        likeliest = top(row, labels)
        name, confidence = likeliest[0]
        more = {"predicted": name, "confidence": confidence, "top": [label for label, _ in likeliest]}
        rows.append({**who, **more, **columns, "probabilities": row})
    return schema.to_table(rows, schema.PREDICTIONS)


def _of_landmarks(
    predictor: Predictor | EnsemblePredictor, ids: list[str], shard: Path | None, batch: int
) -> Iterator[tuple | ClipError]:
    """The answers to clips whose views are made of their landmarks. Raises the first error that is not of a clip."""
    if shard is None:
        raise StoreError("evaluate: found no landmarks, of which the clips to ask are made; give landmarks_dir")
    table = store.read_table(shard)
    place = {clip: row for row, clip in enumerate(table["id"].to_pylist())}
    chosen = table.take([place[clip] for clip in ids])
    for answer in predictor.each(list(schema.landmarks_of(chosen)), batch):
        if isinstance(answer, RaysignError) and not isinstance(answer, ClipError):
            raise answer
        yield answer
