"""Clips as pictures: skeletons frame by frame as a strip or as a film, channels without a place as a map over time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from raysign.report.plots import INK, png, text
from raysign.skeleton import LAYOUTS, Skeleton

# Blue and vermilion of Okabe and Ito, which people who confuse red and green tell apart
COLOURS = {"left": "#0072b2", "right": "#d55e00", "": "#4b5563"}
FRAMES = 8  # of a strip
SUFFIXES = (".png", ".gif", ".mp4")
GAP = 0.06  # between the frames of a strip, in frames


@dataclass(frozen=True)
class View:
    """One picture of a clip.

    x: (M, T, V, C) float, NaN where not seen, without visibility. channels: the C names. tall: length of a unit of y,
    in units of x; negative when y grows upwards. note: what to say when there is nothing to draw. axes: the channels
    that are drawn across and down.
    """

    name: str
    x: np.ndarray
    skeleton: Skeleton
    channels: tuple[str, ...]
    tall: float = 1.0
    note: str = ""
    axes: tuple[str, str] = ("x", "y")

    @property
    def placed(self) -> bool:
        """Whether points have a place in the image."""
        return set(self.axes) <= set(self.channels)

    def points(self) -> np.ndarray:
        """(M, T, V, 2) places in a box of longest side 1, x to the right and y down; NaN where not seen."""
        xy = self.x[..., [self.channels.index(axis) for axis in self.axes]] * [1.0, self.tall]
        low, high = _bounds(xy)
        return (xy - low) / max((high - low).max(), 1e-9)


def _bounds(xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest place of all points that are seen; 0 when none is."""
    seen = xy[np.isfinite(xy).all(-1)]
    return (seen.min(0), seen.max(0)) if len(seen) else (np.zeros(2), np.zeros(2))


# ---------------------------------------------------------------- a skeleton


class _Bones:
    """A skeleton's lines and dots in axes, moved from frame to frame."""

    def __init__(self, axes: Axes, skeleton: Skeleton, width: float):
        self.bones, sides = np.array(skeleton.bones, int).reshape(-1, 2), skeleton.sides
        self.line_colours = np.array([_side(sides[a], sides[b]) for a, b in skeleton.bones])
        self.dot_colours = np.array([COLOURS[side] for side in sides])
        self.lines = LineCollection([], linewidths=width, capstyle="round")
        self.dots: PathCollection = axes.scatter([], [], s=(width * 1.3) ** 2, linewidths=0)
        axes.add_collection(self.lines)

    def put(self, points: np.ndarray) -> None:
        """Draw skeletons (N, V, 2); what is not seen is left out."""
        ends = points[:, self.bones]
        known, seen = np.isfinite(ends).all((-1, -2)), np.isfinite(points).all(-1)
        self.lines.set(segments=ends[known], colors=np.broadcast_to(self.line_colours, known.shape)[known])
        self.dots.set_offsets(points[seen])
        self.dots.set_facecolor(list(np.broadcast_to(self.dot_colours, seen.shape)[seen]))


def _side(a: str, b: str) -> str:
    """The colour of a bone: of the side that it is on or leads to."""
    return COLOURS["" if a and b and a != b else a or b]


def _titles(clips: Sequence[tuple[str, Sequence[View]]]) -> list[str]:
    """What stands over each view: its name, after the clip's title over the first."""
    return [view.name if i else f"{title}\n{view.name}" for title, some in clips for i, view in enumerate(some)]


def _bare(axes: Axes, view: View, title: str) -> None:
    axes.set_title(f"{view.name}: {view.note}" if view.note else title, loc="left", pad=3, **text(8))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#d1d5db")


def _legend(figure: Figure, views: Sequence[View]) -> None:
    """Which colour is which side; of a skeleton that a config declares nobody knows."""
    skeletons = [view.skeleton for view in views if view.placed]
    sides = {side for skeleton in skeletons for side in skeleton.sides}
    known = all(skeleton.name in LAYOUTS or len(skeleton.parts) > 1 for skeleton in skeletons)
    names = {"left": "left, the signer's own", "right": "right, the signer's own", "": "neither"}
    if not known:
        names |= {"left": "one side", "right": "the other side"}
    handles = [Line2D([], [], color=COLOURS[side], linewidth=2, label=names[side]) for side in names if side in sides]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False, labelcolor=INK)


# ---------------------------------------------------------------- a strip of frames


def strip(clips: Sequence[tuple[str, Sequence[View]]], frames: int = FRAMES) -> bytes:
    """PNG of titled clips, a row for each view: frames evenly spaced in time, side by side."""
    views = [view for _, some in clips for view in some]
    figure = Figure(figsize=(1.45 * max(frames, 3), 1.75 * len(views) + 0.4), layout="constrained")
    column = figure.subplots(len(views), 1, squeeze=False)[:, 0]
    for axes, view, title in zip(column, views, _titles(clips), strict=True):
        _bare(axes, view, f"{title}, {view.x.shape[1]} frames")
        if not view.note:
            _strip_row(axes, view, frames) if view.placed else _map(axes, view)
    _legend(figure, views)
    return png(figure)


def _strip_row(axes: Axes, view: View, frames: int) -> None:
    points, time = view.points(), view.x.shape[1]
    shown = np.unique(np.linspace(0, time - 1, frames).round().astype(int))
    low, high = _bounds(points)
    step = max(high[0], 0.35) + GAP
    offset = np.arange(len(shown))[:, None, None] * [step, 0.0]
    bones = _Bones(axes, view.skeleton, 0.9 if view.skeleton.points > 30 else 1.4)
    bones.put((points[:, shown] + offset).reshape(-1, *points.shape[2:]))
    for place, number in enumerate(shown):
        axes.text(place * step, high[1] + GAP, str(number + 1), va="top", **text(6))
    axes.set(xlim=(-GAP, frames * step), ylim=(high[1] + 0.22, low[1] - GAP), aspect="equal", anchor="W")


def _map(axes: Axes, view: View) -> None:
    """Channels over time, each between its own least and largest value; white where not seen.

    Of a clip of one frame, whose channels have one value each, between the least and the largest of them all.
    """
    rows = np.moveaxis(view.x, 1, -1).reshape(-1, view.x.shape[1])
    seen, over = np.isfinite(rows), 1 if rows.shape[1] > 1 else None
    low = np.where(seen, rows, np.inf).min(over, keepdims=True)
    span = np.where(seen, rows, -np.inf).max(over, keepdims=True) - low
    scaled = np.where(seen, (rows - low) / np.where(span > 0, span, 1), np.nan)
    axes.imshow(scaled, aspect="auto", interpolation="nearest", cmap="cividis", vmin=0, vmax=1)
    if len(rows) == len(view.channels) <= 24:
        axes.set_yticks(range(len(rows)), view.channels, **text(5))


# ---------------------------------------------------------------- a film


def film(clips: Sequence[tuple[str, Sequence[View]]]) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 pictures, H and W even, one a frame: a row for each clip, its views side by side."""
    views = [view for _, some in clips for view in some]
    columns = max(len(some) for _, some in clips)
    figure = Figure(figsize=(3.0 * columns, 3.2 * len(clips) + 0.4), dpi=100, layout="constrained")
    grid = figure.subplots(len(clips), columns, squeeze=False)
    places = [axes for row, (_, some) in zip(grid, clips, strict=True) for axes in row[: len(some)]]
    for axes in set(grid.flat) - set(places):
        axes.set_axis_off()
    canvas, moving = FigureCanvasAgg(figure), []
    for axes, view, title in zip(places, views, _titles(clips), strict=True):
        _bare(axes, view, title)
        if not view.note:
            moving.append(_placed(axes, view) if view.placed else _marked(axes, view))
    _legend(figure, views)
    canvas.draw()
    figure.set_layout_engine("none")  # everything has its place now; to look for it anew takes longer than to draw
    for number in range(max((view.x.shape[1] for view in views if not view.note), default=1)):
        for put in moving:
            put(number)
        canvas.draw()
        picture = np.asarray(canvas.buffer_rgba())[..., :3]
        yield picture[: len(picture) // 2 * 2, : picture.shape[1] // 2 * 2].copy()


def _placed(axes: Axes, view: View):
    """What draws a frame of a skeleton; the last one stays when the clip is over."""
    points = view.points()
    (left, top), (right, bottom) = _bounds(points)
    axes.set(xlim=(left - GAP, right + GAP), ylim=(bottom + GAP, top - GAP), aspect="equal")
    bones = _Bones(axes, view.skeleton, 1.4)
    return lambda number: bones.put(points[:, min(number, points.shape[1] - 1)])


def _marked(axes: Axes, view: View):
    """What marks a frame in a map over time."""
    _map(axes, view)
    line = axes.axvline(0, color=COLOURS["right"])
    return lambda number: line.set_xdata([min(number, view.x.shape[1] - 1)] * 2)


def save(clips: Sequence[tuple[str, Sequence[View]]], path: Path, fps: float) -> None:
    """Write titled clips to a .png (a strip), a .gif or an .mp4 (films)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        path.write_bytes(strip(clips))
    elif path.suffix == ".gif":
        _write_gif(film(clips), path, fps)
    else:
        _write_mp4(film(clips), path, fps)


def _write_gif(pictures: Iterator[np.ndarray], path: Path, fps: float) -> None:
    from PIL import Image

    images = [Image.fromarray(picture).quantize(32) for picture in pictures]
    images[0].save(path, save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0)


def _write_mp4(pictures: Iterator[np.ndarray], path: Path, fps: float) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "20"})
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
