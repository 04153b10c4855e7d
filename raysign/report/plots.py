"""Pictures as PNG bytes, drawn without pyplot: nothing global is touched, any thread or worker may call these."""

import io
import logging
import math
import warnings
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

MOST_CLASSES = 60  # more rows than this are too small to read on a page
MOST_BARS = 80
LONGEST_NAME = 28  # characters of a gloss shown before it is cut
INK, BLUE, RED = "#1f2933", "#2b6cb0", "#c05621"
_SPLITS = {"train": BLUE, "val": "#90cdf4", "test": RED, "all": BLUE}
# Fonts that have what matplotlib's own DejaVu Sans lacks, on Linux, macOS and Windows; those installed are used.
_MORE_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Bengali",
    "Noto Sans Tamil", "Noto Sans Ethiopic", "WenQuanYi Zen Hei", "Hiragino Sans", "Apple SD Gothic Neo",
    "Arial Unicode MS", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Nirmala UI", "Leelawadee UI",
)  # fmt: skip


@lru_cache(maxsize=1)
def _fonts() -> tuple[tuple[str, ...], frozenset[int]]:
    """Families to draw text with, and the code points that one of them can draw."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    families = ("DejaVu Sans", *(name for name in _MORE_FONTS if name in installed))
    paths = [font_manager.findfont(font_manager.FontProperties(family=name)) for name in families]
    return families, frozenset(code for path in paths for code in font_manager.get_font(path).get_charmap())


def font_file(label: str) -> str:
    """The file of a font that has all letters of a label; the first one where none has."""
    files = [font_manager.findfont(font_manager.FontProperties(family=name)) for name in _fonts()[0]]
    fitting = (path for path in files if set(map(ord, label)) <= set(font_manager.get_font(path).get_charmap()))
    return next(fitting, files[0])


def undrawable(label: str) -> bool:
    """Whether the fonts of this machine lack a letter of a gloss."""
    return any(ord(letter) not in _fonts()[1] for letter in label)


def name_of(index: int, label: str) -> str:
    """A gloss as it is written in a picture: cut when long, its number in the table when no font here can draw it."""
    if undrawable(label):
        return f"#{index + 1}"
    return label if len(label) <= LONGEST_NAME else label[: LONGEST_NAME - 1] + "…"


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    log = logging.getLogger("matplotlib.font_manager")
    before, log.level = log.level, logging.ERROR
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a margin too small for a long name is drawn all the same
            figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", facecolor="white")
    finally:
        log.level = before
    return buffer.getvalue()


def text(size: float) -> dict:
    return {"fontsize": size, "fontfamily": list(_fonts()[0]), "parse_math": False, "color": INK}


def plain(axes: Axes) -> None:
    """Take the lines at the top and the right away, and make the numbers small."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8)


# ---------------------------------------------------------------- confusion matrix


def most_confused(matrix: np.ndarray, limit: int = MOST_CLASSES) -> np.ndarray:
    """Indices, in order, of at most `limit` classes: all of them, or those with the most clips mistaken from or for."""
    if len(matrix) <= limit:
        return np.arange(len(matrix))
    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * matrix.diagonal()
    return np.sort(np.argsort(-wrong, kind="stable")[:limit])


def confusion_matrix(matrix: np.ndarray, labels: list[str]) -> bytes:
    """PNG of a (K, K) count matrix, each row divided by its clips. Above MOST_CLASSES: the most confused classes."""
    shown = most_confused(matrix)
    shares = (matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1))[np.ix_(shown, shown)]
    empty = matrix.sum(axis=1)[shown] == 0
    names = [name_of(int(i), labels[i]) for i in shown]
    count = len(shown)
    cell = 0.62 if count <= 15 else 0.3 if count <= 35 else 0.23
    figure = Figure(figsize=(max(3.0, cell * count) + 0.6, max(3.0, cell * count)))
    axes = figure.add_subplot()
    picture = axes.imshow(np.where(empty[:, None], np.nan, shares), cmap="Blues", vmin=0, vmax=1)
    axes.set_facecolor("#e5e7eb")  # rows without clips
    size = 9 if count <= 15 else 7.5
    axes.set_xticks(range(count), names, rotation=90, **text(size))
    axes.set_yticks(range(count), names, **text(size))
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("true", color=INK)
    if count <= 15:
        _write_shares(axes, shares, empty)
    part = "" if count == len(matrix) else f": the {count} most confused of {len(matrix)} classes"
    axes.set_title(f"Share of each gloss's clips{part}", fontsize=10, color=INK)
    figure.colorbar(picture, ax=axes, fraction=0.25 / figure.get_figwidth(), pad=0.02, shrink=0.8).ax.tick_params(
        labelsize=8
    )
    return png(figure)


def _write_shares(axes: Axes, shares: np.ndarray, empty: np.ndarray) -> None:
    for i, j in np.argwhere((shares > 0) & ~empty[:, None]).tolist():
        colour = "white" if shares[i, j] > 0.55 else INK
        axes.text(j, i, f"{shares[i, j]:.2f}", ha="center", va="center", fontsize=8, color=colour)


# ---------------------------------------------------------------- F1 of each class


def class_f1(per_class: dict[str, dict]) -> bytes:
    """PNG of the F1 of each class with clips, best first. Above MOST_BARS: how F1 is spread, and the lowest ones."""
    rows = [(name_of(i, gloss), f["f1"], f["support"]) for i, (gloss, f) in enumerate(per_class.items())]
    rows = sorted((row for row in rows if row[2]), key=lambda row: -row[1])
    if len(rows) <= MOST_BARS:
        figure = Figure(figsize=(7.5, 0.9 + 0.23 * len(rows)))
        _bars(figure.add_subplot(), rows, f"F1 of {len(rows)} glosses (clips)")
        return png(figure)
    height = 0.2 * MOST_CLASSES
    figure = Figure(figsize=(7.5, height + 3.2))
    spread, lowest = figure.subplots(2, 1, height_ratios=[2.2, height], gridspec_kw={"hspace": 0.9 / height * 2})
    spread.hist([row[1] for row in rows], bins=np.linspace(0, 1, 21).tolist(), color=BLUE)
    spread.set_title(f"How F1 is spread over {len(rows)} glosses", fontsize=10, color=INK)
    spread.set_ylabel("glosses", color=INK, fontsize=8)
    spread.set_xlim(0, 1)
    plain(spread)
    _bars(lowest, rows[-MOST_CLASSES:], f"The {MOST_CLASSES} lowest F1 (clips)")
    return png(figure)


def _bars(axes: Axes, rows: list[tuple[str, float, int]], title: str) -> None:
    places = np.arange(len(rows))
    plain(axes)
    axes.barh(places, [row[1] for row in rows], color=BLUE, height=0.7)
    axes.set_yticks(places, [f"{name} ({support})" for name, _, support in rows], **text(8))
    for place, (_, f1, _) in enumerate(rows):
        axes.text(f1 + 0.01, place, f"{f1:.2f}", va="center", fontsize=7, color=INK)
    axes.set_xlim(0, 1.08)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title(title, fontsize=10, color=INK)


# ---------------------------------------------------------------- what to believe


def reliability(rows: list[dict]) -> bytes:
    """PNG of how often answers of a confidence are right: rows as of metrics.calibration, dots by their clips."""
    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    x, y, counts = (np.array([row[name] for row in rows]) for name in ("confidence", "right", "count"))
    axes.plot([0, 1], [0, 1], color="#9aa5b1", linewidth=1, linestyle="--")
    axes.plot(x, y, color=BLUE, linewidth=1)
    axes.scatter(x, y, s=20 + 300 * counts / counts.sum(), color=BLUE, alpha=0.8, linewidths=0, clip_on=False)
    axes.set(xlim=(0, 1.03), ylim=(-0.03, 1.06), aspect="equal")
    axes.set_title("Share that is right at each confidence", fontsize=10, color=INK)
    axes.set_xlabel("confidence", fontsize=8, color=INK)
    axes.set_ylabel("right", fontsize=8, color=INK)
    plain(axes)
    return png(figure)


def signers(rows: list[tuple[str, int, float, list[float]]], whole: float, title: str) -> bytes:
    """PNG of a figure of each signer with its interval, lowest first: rows (signer, clips, value, interval).

    whole: the figure of all clips, as a line. Above MOST_BARS: the MOST_BARS signers furthest from it.
    """
    chosen = sorted(rows, key=lambda row: -abs(row[2] - whole))[:MOST_BARS]
    chosen.sort(key=lambda row: (row[2], row[0]))
    figure = Figure(figsize=(4.6, 0.9 + 0.26 * len(chosen)))
    axes = figure.add_subplot()
    values, ends, places = (
        np.array([row[2] for row in chosen]),
        np.array([row[3] for row in chosen]).T,
        np.arange(len(chosen)),
    )
    axes.axvline(whole, color="#9aa5b1", linewidth=1, linestyle="--")
    axes.hlines(places, *ends, color=BLUE, linewidth=1.6)
    axes.plot(values, places, "o", color=BLUE, markersize=5)
    axes.set_yticks(places, [f"{name_of(i, row[0])} ({row[1]})" for i, row in enumerate(chosen)], **text(8))
    axes.set_ylim(len(chosen) - 0.4, -0.6)
    axes.set_xlim(-0.02, max(1.02, float(ends.max()) + 0.02))
    part = "" if len(chosen) == len(rows) else f", the {len(chosen)} furthest of {len(rows)} from all"
    axes.set_title(f"{title} of each signer (clips){part}", fontsize=10, color=INK)
    plain(axes)
    return png(figure)


# ---------------------------------------------------------------- what is on disk


def histogram(values: np.ndarray, title: str, unit: str, bounds: tuple[float, float] | None = None) -> bytes:
    """PNG of how many clips have which value, (N,); without bounds whole numbers from 0 on, of few a bar each."""
    figure = Figure(figsize=(6.0, 2.6), layout="constrained")
    axes = figure.add_subplot()
    low, high = bounds or (0.0, float(np.max(values, initial=1)))
    bins = np.arange(low - 0.5, high + 1) if not bounds and high - low < 40 else np.linspace(low, high, 41)
    axes.hist(values, bins=bins.tolist(), color=BLUE)
    axes.set_title(title, fontsize=10, color=INK)
    axes.set_xlabel(unit, fontsize=8, color=INK)
    axes.set_ylabel("clips", fontsize=8, color=INK)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if not bounds:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain(axes)
    return png(figure)


def class_clips(classes: dict[str, dict[str, int]]) -> bytes:
    """PNG of the clips of each gloss, most first, in colours by split. Above MOST_BARS: how the numbers are spread."""
    rows = [(name_of(i, gloss), count) for i, (gloss, count) in enumerate(classes.items())]
    rows = sorted(rows, key=lambda row: -sum(row[1].values()))
    if len(rows) > MOST_BARS:
        figure = Figure(figsize=(6.0, 2.6), layout="constrained")
        axes = figure.add_subplot()
        axes.hist([sum(count.values()) for _, count in rows], bins=40, color=BLUE)
        axes.set_xlabel("clips of a gloss", fontsize=8, color=INK)
        axes.set_ylabel("glosses", fontsize=8, color=INK)
    else:
        figure = Figure(figsize=(7.5, 0.9 + 0.23 * len(rows)))
        axes = figure.add_subplot()
        _stacked(axes, rows)
    axes.set_title(f"Clips of {len(rows)} glosses", fontsize=10, color=INK)
    plain(axes)
    return png(figure)


def _stacked(axes: Axes, rows: list[tuple[str, dict[str, int]]]) -> None:
    places, left = np.arange(len(rows)), np.zeros(len(rows))
    for split, colour in _SPLITS.items():
        counts = np.array([count.get(split, 0) for _, count in rows])
        if counts.any():
            axes.barh(places, counts, left=left, color=colour, height=0.7, label=split)
            left += counts
    axes.set_yticks(places, [name for name, _ in rows], **text(8))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if "all" not in {split for _, count in rows for split in count}:
        axes.legend(fontsize=7, frameon=False, loc="lower right")


# ---------------------------------------------------------------- training

_CURVES = {  # title of a picture -> how the names of its figures end
    "loss": "loss", "share of clips": ("top1", "top5"), "word error rate": "/wer", "learning rate": "/lr",
}  # fmt: skip
_WIDEST = 12.2  # inches: what a page shows without scrolling


def training_curves(rows: list[dict]) -> bytes | None:
    """PNG of the losses, shares (top-1 and others), word error rate and learning rate by epoch; None without epochs.

    rows: one mapping an epoch, `epoch` and named figures (`train/loss`, `val/top1`, `train/lr`); what is absent from
    a row or not finite is left out.
    """
    return compared_curves([("", rows)])


def compared_curves(trainings: list[tuple[str, list[dict]]]) -> bytes | None:
    """The same of several trainings (title, rows), one below the other on the same scales."""
    trainings = [(title, [row for row in rows if _finite(row.get("epoch"))]) for title, rows in trainings]
    names = sorted({name for _, rows in trainings for row in rows for name, value in row.items() if _finite(value)})
    groups = [(title, [name for name in names if name.endswith(ends)]) for title, ends in _CURVES.items()]
    groups = [(title, members) for title, members in groups if members]
    if not groups:
        return None
    figure = Figure(figsize=(min(4.0 * len(groups), _WIDEST), 3.0 * len(trainings)), layout="constrained")
    parts = np.ravel(np.asarray(figure.subfigures(len(trainings), 1)))
    columns = [[] for _ in groups]
    for part, (name, rows) in zip(parts, trainings, strict=True):
        if name:
            part.suptitle(name, **text(10))
        for axes, column, (title, members) in zip(_row(part, len(groups)), columns, groups, strict=True):
            _curves(axes, rows, members)
            axes.set_title(title, fontsize=10, color=INK)
            axes.set_xlabel("epoch", fontsize=8, color=INK)
            column.append(axes)
    for column, (title, _) in zip(columns, groups, strict=True):
        _same_scales(column)
        if title == "share of clips":
            column[0].set_ylim(0, 1.02)
    return png(figure)


def _row(part: SubFigure, count: int) -> list[Axes]:
    return np.ravel(np.asarray(part.subplots(1, count))).tolist()


def _same_scales(column: list[Axes]) -> None:
    for axes in column[1:]:
        axes.sharex(column[0])
        axes.sharey(column[0])
    column[0].autoscale()


def _curves(axes: Axes, rows: list[dict], members: Iterable[str]) -> None:
    figures = sorted({name.rpartition("/")[2] for name in members})
    for name in members:
        split, _, figure = name.rpartition("/")
        points = [(row["epoch"], row[name]) for row in rows if _finite(row.get(name))]
        x, y = ([point[side] for point in points] for side in (0, 1))
        dashed, alone = "--" if split == "train" else "-", "o" if len(points) == 1 else None
        axes.plot(x, y, dashed, color=f"C{figures.index(figure)}", marker=alone, label=name, linewidth=1.4)
    axes.legend(fontsize=7, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.23))  # over no line
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain(axes)


def _finite(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
