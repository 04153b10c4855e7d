"""Evaluations of the same clips compared: is one recogniser better than another, or were these clips kind to it?

Each clip is answered by both, so the two are compared clip by clip: intervals of the difference are of draws of the
same clips for both, and tests ask how often as much of a difference comes of chance alone.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.stats import binomtest, permutation_test

from raysign import remote, store
from raysign.config import of_split
from raysign.errors import StoreError
from raysign.report import intervals
from raysign.report.tally import Tally, by_top, right
from raysign.report.words import FIGURES as TITLES
from raysign.schema import PREDICTIONS

FEWEST = 0.5  # share of the smaller evaluation's clips that both must have
MOST = 5  # glosses named on either side
DRAWS = 9999  # of a permutation test
SIDES = ("first", "other")
SHARES = ("top1", "category_top1", "sequence_accuracy")
FIGURES = ("top1", "top5", "top1_per_class", "macro_f1", "category_top1", "wer", "sequence_accuracy")
NEEDED = ("id", "gloss", "predicted", "top")
COLUMNS = (*NEEDED, "category", "signer", "decoded", "predicted_category")  # of PREDICTIONS


@dataclass(frozen=True)
class Evaluation:
    """What `raysign evaluate` left: where, its PREDICTIONS by id, and of metrics.json what says of which clips."""

    place: str
    table: pa.Table
    about: dict


def read(place: Path) -> Evaluation:
    """An evaluation's folder, that of all results of a config (its test clips before others), or a predictions.parquet.
    StoreError for none.
    """
    folders = [place, *(place / of_split("evaluation", split) for split in ("test", "val", "train"))]
    tried = [place] if place.suffix == ".parquet" else [folder / "predictions.parquet" for folder in folders]
    file = next((file for file in tried if store.exists(file)), None)
    if file is None:
        raise StoreError(
            f"{remote.shown(place)}: found no predictions.parquet, expected an evaluation; run `raysign evaluate` first"
        )
    table = _predictions(store.read_table(file), file)
    store.refuse_twins(table["id"].to_pylist(), file)
    try:
        figures = store.read_json(file.with_name("metrics.json"))
    except StoreError:
        figures = {}
    return Evaluation(remote.shown(place), table, {name: figures.get(name) for name in ("split", "clips")})


def _predictions(table: pa.Table, file: Path) -> pa.Table:
    """The COLUMNS of PREDICTIONS by id; optional ones, which older tables lack, are null. StoreError for others."""
    strange = f"{remote.shown(file)}: found no predictions (%s), expected some; run `raysign evaluate` again"
    empty, columns = pa.nulls(len(table)), {}
    try:
        for name in COLUMNS:
            column = table[name] if name in table.column_names else empty
            columns[name] = column.cast(PREDICTIONS.field(name).type)
    except pa.ArrowException as error:
        raise StoreError(strange % error) from None
    if not len(table):
        raise StoreError(strange % "no clip")
    for name in NEEDED:
        if columns[name].null_count:
            raise StoreError(strange % f"clips without {name}")
    return pa.table(columns).sort_by("id")


def compare(first: Evaluation, others: Sequence[Evaluation]) -> list[dict]:
    """Each of the others against the first, on the clips that both have.

    first, other: the places. clips: how many both have; only_first, only_other: how many but one has. notes: on what
    makes the two less alike. figures {name: first, other, difference (other less first), with the intervals
    first_interval, other_interval, interval, and signers, that of the difference for other signers, where it can be
    told}. tests {figure: test, p of no difference, holm, p as one of so many comparisons, and what it counted}. better,
    worse: the glosses that changed most: gloss, clips, first and other, clips told right.
    StoreError when they are not of the same clips.
    """
    rows = [_compared(first, other) for other in others]
    for figure in {figure for row in rows for figure in row["tests"]}:
        told = [row["tests"][figure] for row in rows if figure in row["tests"]]
        for test, p in zip(told, holm([test["p"] for test in told]), strict=True):
            test["holm"] = p
    return rows


def _compared(first: Evaluation, other: Evaluation) -> dict:
    tables, notes = _paired(first, other)
    one, two = (by_top(table) for table in tables)
    return {
        "first": first.place, "other": other.place, "clips": len(one),
        "only_first": len(first.table) - len(one), "only_other": len(other.table) - len(one), "notes": notes,
        "figures": _figures(one, two), "tests": _tests(one, two), **_changed(*tables),
    }  # fmt: skip


# ---------------------------------------------------------------- the same clips


def _paired(first: Evaluation, other: Evaluation) -> tuple[list[pa.Table], list[str]]:
    """The rows of the clips that both have, in one order, and notes."""
    ids = [set(one.table["id"].to_pylist()) for one in (first, other)]
    both, fewest = ids[0] & ids[1], min(map(len, ids))
    where = f"{first.place}, {other.place}"
    splits = [one.about["split"] for one in (first, other)]
    if None not in splits and splits[0] != splits[1]:
        raise StoreError(
            f"{where}: found {splits[0]} and {splits[1]} clips, expected one split; evaluate both on the same"
        )
    if len(both) < FEWEST * fewest:
        raise StoreError(
            f"{where}: found {len(both)} clips in both of {len(ids[0])} and {len(ids[1])}, expected the same "
            "ones; evaluate both on the same split of the same source"
        )
    tables = [
        one.table.filter(pa.array([name in both for name in one.table["id"].to_pylist()])) for one in (first, other)
    ]
    glosses = (table["gloss"].to_pylist() for table in tables)
    for name, a, b in zip(tables[0]["id"].to_pylist(), *glosses, strict=True):
        if a != b:
            raise StoreError(
                f"{where}: clip {name}: found {' '.join(a)!r} and {' '.join(b)!r}, expected one label; "
                "prepare both of the same landmarks"
            )
    several = len({one.about["clips"] for one in (first, other)} - {None}) > 1
    note = "The clips were prepared or divided in two ways: see that none of them was trained on in one."
    return tables, [note] if several else []


# ---------------------------------------------------------------- figures


def _figures(one: Tally, two: Tally) -> dict[str, dict]:
    """The figures that both have, their differences and the intervals of all."""

    def difference(weights: np.ndarray) -> dict[str, np.ndarray]:
        a, b = one.figures(weights), two.figures(weights)
        return {name: b[name] - a[name] for name in FIGURES if name in a and name in b}

    every = np.ones((1, len(one)))
    apart = difference(every)
    sides = [(side.figures(every), intervals.of_shares(side, side.figures)) for side in (one, two)]
    found = intervals.over_clips(difference, len(one))
    clips = {name: _unless_alike(interval, one.told(name)) for name, interval in found.items()}
    others = intervals.over_signers(difference, one.signers, clips)
    return {
        name: {
            **{side: float(figures[name][0]) for side, (figures, _) in zip(SIDES, sides, strict=True)},
            **{f"{side}_interval": found[name] for side, (_, found) in zip(SIDES, sides, strict=True)},
            "difference": float(values[0]), "interval": clips[name],
            **({"signers": others[name]} if name in others else {}),
        }
        for name, values in apart.items()
    }  # fmt: skip


def _unless_alike(found: intervals.Interval, count: int) -> intervals.Interval:
    """In place of [0, 0], what they may differ in where none of as many clips differs."""
    far = intervals.rarest(count)
    return [-far, far] if found == [0.0, 0.0] else found


# ---------------------------------------------------------------- tests


def _tests(one: Tally, two: Tally) -> dict[str, dict]:
    shares = [name for name in SHARES if name in one.parts and name in two.parts]
    found = {name: mcnemar(*_right(one, two, name)) for name in shares}
    if "wer" in one.parts and "wer" in two.parts:
        found["wer"] = permuted(one.parts["wer"][0], two.parts["wer"][0])
    return found


def _right(one: Tally, two: Tally, name: str) -> list[np.ndarray]:
    """Whether each side is right in the clips that both can be right in."""
    asked = (one.parts[name][1] > 0) & (two.parts[name][1] > 0)
    return [side.parts[name][0][asked] > 0 for side in (one, two)]


def mcnemar(one: np.ndarray, two: np.ndarray) -> dict:
    """Exact test (McNemar 1947) of as many clips being right (N,) bool in the one alone as in the other alone."""
    alone = int((one & ~two).sum()), int((two & ~one).sum())
    p = float(binomtest(alone[1], sum(alone)).pvalue) if sum(alone) else 1.0
    return {"test": "exact McNemar", "right_in_first": alone[0], "right_in_other": alone[1], "p": p}


def permuted(one: np.ndarray, two: np.ndarray) -> dict:
    """Permutation test of as many edits (N,) in the one as in the other: what if each clip's two were the other way?"""
    p = 1.0
    if (one != two).any():
        batch = max(1, intervals.TOGETHER // len(one))
        p = float(permutation_test(
            (one, two), lambda a, b, axis: (b - a).sum(axis=axis), permutation_type="samples", vectorized=True,
            n_resamples=DRAWS, batch=batch, rng=np.random.default_rng(intervals.SEED),
        ).pvalue)  # fmt: skip
    return {"test": "paired permutation", "fewer": int((two < one).sum()), "more": int((two > one).sum()), "p": p}


def holm(values: Sequence[float]) -> list[float]:
    """p of each as one of so many tests (Holm 1979), in their order."""
    order = np.argsort(values, kind="stable")
    found = np.empty(len(order))
    factors = np.arange(len(order), 0, -1)
    found[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(values, float)[order]))
    return found.tolist()


# ---------------------------------------------------------------- glosses


def _changed(one: pa.Table, two: pa.Table) -> dict[str, list[dict]]:
    """The glosses of clips of one gloss that got better and worse by most clips."""
    rights = [right(table) for table in (one, two)]
    glosses = [gloss[0] if len(gloss) == 1 else None for gloss in one["gloss"].to_pylist()]
    clips = Counter(filter(None, glosses))
    told = [Counter(gloss for gloss, good in zip(glosses, side, strict=True) if good) for side in rights]
    rows = [{"gloss": gloss, "clips": count, **{name: side[gloss] for name, side in zip(SIDES, told, strict=True)}}
            for gloss, count in sorted(clips.items())]  # fmt: skip
    rows.sort(key=lambda row: row["first"] - row["other"])
    worse = [row for row in reversed(rows) if row["other"] < row["first"]]
    return {"better": [row for row in rows if row["other"] > row["first"]][:MOST], "worse": worse[:MOST]}


# ---------------------------------------------------------------- words


def words(rows: Sequence[dict]) -> str:
    """What was found, as text: A is the first, B and so on are the others."""
    return "\n\n".join("\n".join(_lines(row, chr(ord("B") + i), len(rows))) for i, row in enumerate(rows))


def _lines(row: dict, letter: str, count: int) -> Iterator[str]:
    yield f"A  {row['first']}"
    yield f"{letter}  {row['other']}"
    yield from (f"note: {note}" for note in row["notes"])
    left = [
        f"{row[f'only_{side}']} only in {name}"
        for side, name in zip(SIDES, ("A", letter), strict=True)
        if row[f"only_{side}"]
    ]
    yield (
        ", ".join([f"{row['clips']} clips in both", *left])
        + f"; in brackets intervals of {intervals.LEVEL:.0%} over clips"
    )
    yield ""
    yield f"{'':18}{'A':26}{letter:26}{letter} - A"
    for name, told in row["figures"].items():
        one, other = (f"{told[side]:.3f} ({_to(told[f'{side}_interval'], '.3f')})" for side in SIDES)
        line = f"{TITLES[name]:18}{one:26}{other:26}{told['difference']:+.3f} ({_to(told['interval'], '+.3f')})"
        yield line + (f", new signers ({_to(told['signers'], '+.3f')})" if "signers" in told else "")
    yield ""
    yield from (_tested(TITLES[name], test, letter, count) for name, test in row["tests"].items())
    for name in ("better", "worse"):
        if row[name]:
            changed = (f"{one['gloss']} {one['first']} to {one['other']} of {one['clips']}" for one in row[name])
            yield f"{name} in {letter}: {', '.join(changed)}"


def _to(interval: intervals.Interval, form: str) -> str:
    return " to ".join(format(end, form) for end in interval)


def _tested(title: str, test: dict, letter: str, count: int) -> str:
    if "fewer" in test:
        counted = f"{test['fewer']} clips with fewer edits in {letter}, {test['more']} with more"
    else:
        counted = f"{test['right_in_first']} clips right in A alone, {test['right_in_other']} in {letter} alone"
    p = f"p = {test['p']:.3g}" + (f", {test['holm']:.3g} as one of {count} comparisons (Holm)" if count > 1 else "")
    shown = "" if test["holm"] < 1 - intervals.LEVEL else "; these clips do not show that one is better"
    return f"{title}: {counted}, {test['test']} test: {p}{shown}"
