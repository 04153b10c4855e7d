"""What a search came to: a table in words, and a self-contained page with pictures.

Takes trials as `learn.job.Trial` has them: number, state, value, params, rows, seconds, error, same_as.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from raysign.report import html, plots

BEST, FIRST, OTHER, STOPPED = "#c05621", "#1f2933", "#2b6cb0", "#a0aec0"
MOST_AXES = 12  # parameters in the picture of all trials, the most important ones
ABSENT = -0.12  # where a line passes a parameter that its trial does not have
FEWEST = 5  # trials that importance is told of
BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}  # words
GREAT = 50.0  # highest over lowest of a range that is drawn by its logarithm


def table(trials: Sequence, ranked: Sequence, metric: str, most: int = 10) -> str:
    """The best trials (ranked: the finished ones, best first) as lines of text, and what became of the others."""
    names = parameters(ranked)
    lines = [["trial", metric, "epochs", "seconds", *names]]
    lines += [
        [str(t.number), short(t.value), str(len(t.rows)), f"{t.seconds:.0f}",
         *(short(t.params[name]) if name in t.params else "-" for name in names)]
        for t in ranked[:most]
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines]
    errors = [f"the first failure: trial {t.number}, {t.error}" for t in trials if t.state == "failed"]
    return "\n".join([*text, ", ".join(f"{count} {word}" for word, count in counts(trials).items()), *errors[:1]])


def words(trials: Sequence, ranked: Sequence, metric: str, confirmed: dict | None, answers: Path) -> str:
    """What to say at the end of a search: the table, what was confirmed and where everything is."""
    lines = [table(trials, ranked, metric), "validation clips chose the best"]
    if confirmed:
        about = f"{confirmed['split']}: {confirmed['seeds']} seeds on {confirmed['clips']} clips, which chose nothing"
        named = (("the best", "best"), ("the config as it is", "first"), ("difference", "difference"))
        lines[-1:] = [f"{lines[-1]}; {about}"]
        lines += [
            f"  {name:20}{row['mean']:.3f}  ({row['low']:.3f} to {row['high']:.3f})"
            for name, key in named if (row := confirmed[key])
        ]  # fmt: skip
    place = answers / "search"
    return "\n".join([
        *lines, f"report:  {place / 'report.html'}", f"bundle:  {answers / 'bundle'}",
        f"best:    {place / 'best.yaml'}   (raysign evaluate {place / 'best.yaml'})",
    ])  # fmt: skip


def counts(trials: Sequence) -> dict[str, int]:
    """How many trials ended how."""
    words = {"finished": "finished", "stopped": "stopped early", "failed": "failed"}
    return {word: sum(t.state == state for t in trials) for state, word in words.items()}


def parameters(trials: Sequence) -> list[str]:
    """Names of all parameters that a trial has, in the order they were asked for."""
    return list(dict.fromkeys(name for trial in trials for name in trial.params))


def short(value: Any) -> str:
    """A value in few digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def page(
    trials: Sequence, metric: str, best: int, *, title: str, about: Sequence[tuple[str, str]] = (),
    config: str = "", confirmed: dict | None = None,
) -> str:  # fmt: skip
    """The report of a search as HTML.

    best: number of the best trial. about: what was searched, names and values. config: the best settings as YAML.
    confirmed: what `infer.confirm.compared` found. Everything is escaped.
    """
    weights = importance(trials)
    drawn = {"curves": curves(trials, metric, best), "coordinates": coordinates(trials, metric, best, weights),
             "importance": bars(weights) if weights else None}  # fmt: skip
    pictures = {name: html.picture(png) if png else None for name, png in drawn.items()}
    rows = sorted(trials, key=lambda t: (t.number != best, t.number))
    return html.template("search.html").render(
        title=title, metric=metric, about=list(about), trials=rows, best=best, names=parameters(trials), short=short,
        config=config, confirmed=confirmed, fewest=FEWEST, **pictures,
        top=next(t for t in trials if t.number == best), first=trials[0],
        counts=counts(trials),
    )  # fmt: skip


# ---------------------------------------------------------------- importance


def importance(trials: Sequence) -> dict[str, float]:
    """Of each parameter, its share of what a random forest of the values goes by; most first. Empty for few trials.

    The forest (Breiman 2001) is fitted to finished and stopped trials, each with its last value; importance is the
    mean decrease of variance. A parameter that a trial does not have counts as a value of its own.
    """
    from sklearn.ensemble import RandomForestRegressor

    told = [t for t in trials if t.value is not None and t.params and t.same_as is None]
    names = [name for name in parameters(told) if len({str(t.params.get(name)) for t in told}) > 1]
    if len(told) < FEWEST or not names:
        return {}
    x = np.array([[_place(name, t, told) for name in names] for t in told])
    forest = RandomForestRegressor(300, random_state=0, min_samples_leaf=2).fit(x, [t.value for t in told])
    found = dict(zip(names, forest.feature_importances_.tolist(), strict=True))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _place(name: str, trial: Any, trials: Sequence) -> float:
    return _scale(name, trials)[0](trial.params[name]) if name in trial.params else ABSENT


def _scale(name: str, trials: Sequence) -> tuple[Any, list[tuple[float, str]]]:
    """(A parameter's value -> its place from 0 to 1, ticks: places and words)."""
    values = [t.params[name] for t in trials if name in t.params]
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        low, high = min(values), max(values)
        log = low > 0 and high / low > GREAT
        ends = Normalize(math.log(low), math.log(high)) if log else Normalize(low, high)
        steps = np.geomspace(low, high, 4) if log else np.linspace(low, high, 4)
        if low == high:
            return lambda _: 0.5, [(0.5, short(low))]
        place = (lambda v: float(ends(math.log(v)))) if log else (lambda v: float(ends(v)))
        whole = all(isinstance(v, int) for v in values)
        steps = sorted({round(step) for step in steps.tolist()}) if whole else steps.tolist()
        steps = sorted(set(values)) if len(set(values)) < 5 else steps
        return place, [(place(step), f"{step:.3g}") for step in steps]
    words = sorted({str(v) for v in values})
    places = {word: i / max(1, len(words) - 1) for i, word in enumerate(words)}
    return lambda v: places[str(v)], [(at, plots.name_of(i, word)) for i, (word, at) in enumerate(places.items())]


def bars(weights: dict[str, float]) -> bytes:
    """PNG of the importance of each parameter."""
    figure = Figure(figsize=(7.5, 0.7 + 0.26 * len(weights)))
    axes = figure.add_subplot()
    places = np.arange(len(weights))
    axes.barh(places, list(weights.values()), color=OTHER, height=0.7)
    axes.set_yticks(places, list(weights), **plots.text(8))
    for place, weight in enumerate(weights.values()):
        axes.text(weight + 0.01, place, f"{weight:.2f}", va="center", fontsize=7, color=plots.INK)
    axes.set_xlim(0, 1.08)
    axes.set_ylim(len(weights) - 0.4, -0.6)
    plots.plain(axes)
    return plots.png(figure)


# ---------------------------------------------------------------- all trials


def curves(trials: Sequence, metric: str, best: int) -> bytes | None:
    """PNG of the metric by epoch: one line a trial, the best and the first one named."""
    shown = [t for t in trials if t.same_as is None and any(metric in row for row in t.rows)]
    if not shown:
        return None
    figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for trial in sorted(shown, key=lambda t: (t.number in (best, 0), t.number == best)):
        points = [(row["epoch"], row[metric]) for row in trial.rows if metric in row]
        colour, width, label = _look(trial, best)
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=width, label=label, alpha=0.9,
                  marker="x" if trial.state == "stopped" else "o" if len(points) == 1 else None,
                  markevery=[len(points) - 1], markersize=4)  # fmt: skip
    axes.set_xlabel("epoch", fontsize=8, color=plots.INK)
    axes.set_ylabel(metric, fontsize=8, color=plots.INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.plot([], [], color=OTHER, linewidth=1, label="finished")
    axes.plot([], [], color=STOPPED, linewidth=1, marker="x", markersize=4, label="stopped early or failed")
    axes.legend(fontsize=7, frameon=False, loc="best")
    plots.plain(axes)
    return plots.png(figure)


def _look(trial: Any, best: int) -> tuple[str, float, str]:
    """Colour, width and name of a trial's line."""
    if trial.number == best:
        return BEST, 2.2, f"the best: trial {best}"
    if trial.number == 0:
        return FIRST, 1.8, "trial 0: the config as it is"
    return (OTHER, 1.0, "") if trial.state == "finished" else (STOPPED, 1.0, "")


def coordinates(trials: Sequence, metric: str, best: int, weights: dict[str, float]) -> bytes | None:
    """PNG of parallel coordinates: an axis for each parameter and one for the metric, a line for each trial."""
    told = [t for t in trials if t.value is not None and t.params]
    names = [name for name in parameters(told) if name in list(weights)[:MOST_AXES] or not weights][:MOST_AXES]
    if not names:
        return None
    figure = Figure(figsize=(max(4.5, 1.45 * (len(names) + 1)), 4.2), layout="constrained")
    axes = figure.add_subplot()
    values = [t.value for t in told]
    ends = Normalize(min(values), max(values) if max(values) > min(values) else min(values) + 1)
    for trial in sorted(told, key=lambda t: (t.number == best, t.state == "finished")):
        line = [_place(name, trial, told) for name in names]
        colour, width, _ = _look(trial, best)
        axes.plot(range(len(names) + 1), [*line, float(ends(trial.value))], color=colour, linewidth=width, alpha=0.8)
    absent = any(name not in t.params for t in told for name in names)
    low, high = min(values), float(ends.vmax or 1)
    top = [(float(ends(step)), f"{step:.3g}") for step in np.linspace(low, high, 5)]
    for x, ticks in enumerate([*(_scale(name, told)[1] for name in names), top]):
        axes.axvline(x, color="#d9e2ec", linewidth=1, zorder=0)
        for y, word in [*ticks, *([(ABSENT, "none")] if absent and x < len(names) else [])]:
            axes.text(x + 0.03, y, word, va="center", **plots.text(7), bbox=BEHIND)
    axes.set_xticks(range(len(names) + 1), [_broken(name) for name in [*names, metric]], **plots.text(7.5))
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(names) + 0.45)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return plots.png(figure)


def _broken(name: str) -> str:
    """A dotted name in lines short enough for an axis."""
    return name.replace("].", "]\n") if "[" in name else name.replace(".", ".\n", 1)
