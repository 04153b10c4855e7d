"""What damage to the landmarks costs: a page with a curve of each stressor, and a line of words.

Takes the figures of infer.robustness: `undamaged`, `stressors`, `skipped`, `count`.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from raysign.report import html, plots

COLUMNS, BAND = 3, "#bee3f8"


def page(
    found: dict, worst: Sequence[tuple[str, dict]], *, title: str, about: Sequence[tuple[str, str]] = (),
    warnings: Sequence[str] = (), config: str = "",
) -> str:  # fmt: skip
    """The report as HTML. worst: (stressor, its level that costs most), what costs most first.

    Everything is escaped.
    """
    return html.template("robustness.html").render(
        title=title, about=list(about), warnings=list(warnings), config=config, found=found, worst=list(worst)[:3],
        curves=html.picture(drawn) if (drawn := curves(found)) else None, level_of=level_of,
    )  # fmt: skip


def level_of(name: str, level: float, found: dict) -> str:
    """A stressor at a level in words."""
    unit = found["stressors"][name]["unit"]
    return name if unit == "wholly" else f"{name} {level:g} ({unit})"


def words(found: dict, worst: Sequence[tuple[str, dict]], split: str) -> str:
    """One line: what is told right undamaged, and the three stressors that cost most."""
    some = [f"{level_of(name, row['level'], found)}: {row['accuracy']:.3f} ({row['difference']:+.3f})"
            for name, row in worst[:3]]  # fmt: skip
    told = f"worst: {'; '.join(some)}" if some else "no stressor costs anything"
    return f"{split}: {found['undamaged']['accuracy']:.3f} right on {found['count']} clips; {told}"


def curves(found: dict) -> bytes | None:
    """PNG of the share of clips told right by level, an axes for each stressor of several, with the interval's band;
    None when there is no such stressor.
    """
    names = [name for name, one in found["stressors"].items() if len(one["levels"]) > 1]
    if not names:
        return None
    rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(3.7 * COLUMNS, 2.6 * rows), layout="constrained")
    axes = np.ravel(np.asarray(figure.subplots(rows, COLUMNS, squeeze=False)))
    for place in axes[len(names) :]:
        place.set_visible(False)
    for place, name in zip(axes, names, strict=False):
        _curve(place, found["stressors"][name], found["undamaged"])
        place.set_title(name, fontsize=10, color=plots.INK)
    for place in axes[: len(names) : COLUMNS]:
        place.set_ylabel("told right", fontsize=8, color=plots.INK)
    return plots.png(figure)


def _curve(axes, one: dict, undamaged: dict) -> None:
    points = sorted([(one["nothing"], undamaged), *((row["level"], row) for row in one["levels"])], key=lambda p: p[0])
    x, y, low, high = ([level for level, _ in points], *([row[key] for _, row in points] for key in _KEYS))
    axes.axhline(undamaged["accuracy"], color="#a0aec0", linewidth=1, linestyle="--")
    axes.fill_between(x, low, high, color=BAND)
    axes.plot(x, y, color=plots.BLUE, marker="o", markersize=4, linewidth=1.6)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xticks(x, [f"{level:g}" for level in x])
    axes.set_xlabel(one["unit"], fontsize=8, color=plots.INK)
    plots.plain(axes)


_KEYS = ("accuracy", "low", "high")
