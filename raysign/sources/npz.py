"""Arrays of landmarks in npz files: one file of many clips or a folder of files, unpacked as the options declare.

`values` is (N, T, F), (N, T, V, C) or, for a file of one clip, (T, F) or (T, V, C). F is the sum over `parts` of points
times channels. A two-dimensional array whose `gloss` has one entry a row is read as N clips of one frame.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from raysign import skeleton, store
from raysign.errors import ClipError, ConfigError, SourceError, nearest
from raysign.kinds import AnyPath, Section
from raysign.schema import ClipRef, Landmarks
from raysign.skeleton import LayoutName
from raysign.sources._arrays import float32, load, mapped, shape_of
from raysign.sources._declared import Declaration
from raysign.sources._media import gloss_of, require_unique

CHANNELS = ("x", "y", "z", "visibility")


class Part(Section):
    """One block of the last axis (or axes) of `values`."""

    part: str = Field(description="a part of the layout: pose, face, left_hand, right_hand")
    points: int | tuple[int, ...] | None = Field(
        None, description="number of points (the part's first ones) or their indices; None: all of the part"
    )
    channels: tuple[Literal["x", "y", "z", "visibility", "skip"], ...] = Field(
        ("x", "y", "z"), min_length=1, description="what the numbers of a point are, in order; skip: left out"
    )


class Layout(Section):
    """What the numbers of a frame are."""

    layout: LayoutName = Field("holistic_75", description="a layout of raysign.skeleton")
    skeleton: Declaration | None = Field(None, description="a skeleton of your own, of one part `body`; not a layout")
    parts: tuple[Part, ...] = Field((), description="how the last axis unpacks; empty: the layout's parts as x, y, z")
    missing: float | None = Field(None, description="value that fills a part not seen in a frame; NaN always does")
    fps: float = Field(0.0, ge=0, description="frames a second; 0: unknown")


class Options(Layout):
    """npz arrays with a declared layout."""

    kind: Literal["npz"] = "npz"
    path: AnyPath = Field(description="an npz file, or a folder with npz files in it at any depth")
    values: str = Field("x", description="key of the array of coordinates")
    gloss: str | None = Field(None, description="key of the labels, one a clip (names, or numbers with label_names)")
    signer: str | None = Field(None, description="key of the signers")
    split: str | None = Field(None, description="key of the splits")
    id: str | None = Field(None, description="key of the clips' names; None: file name and place in it")
    lengths: str | None = Field(None, description="key of the numbers of frames; None: all frames of each clip")
    label_names: str | tuple[str, ...] | None = Field(
        None, description="names of numbered labels: a key, or the list itself"
    )


def recognises(path: Path) -> bool:  # noqa: ARG001 - every source is asked
    """Never: what the numbers of an npz mean must be declared."""
    return False


def clips(options: Options) -> list[ClipRef]:
    """The clips of the file or of all files of the folder, in order of name. Reads labels and shapes, no values."""
    blocks(options)
    root = options.path
    files = sorted(root.rglob("*.npz")) if root.is_dir() else [root]
    if not root.exists() or not files:
        found = "an empty folder" if root.is_dir() else "nothing"
        raise SourceError(f"{root}: found {found}, expected an npz file or a folder of them")
    base = root if root.is_dir() else root.parent
    refs = [ref for file in files for ref in _clips_of(file, file.relative_to(base), options)]
    return require_unique(refs, root)


def _clips_of(file: Path, relative: Path, options: Options) -> list[ClipRef]:
    clip_axis, shape = arranged(file, options)
    count = shape[0] if clip_axis else 1
    name = relative.with_suffix("").as_posix()
    default = [f"{name}/{i:06d}" for i in range(count)] if clip_axis else [name]
    names = [f"{name}/{given}" for given in _column(file, options.id, count)] if options.id else default
    glosses = _glosses(file, options, count)
    signers, splits = (_column(file, key, count) for key in (options.signer, options.split))
    mark = store.stamp(file)
    return [
        ClipRef(names[i], str(file), mark, gloss=(glosses[i],) if glosses[i] else (), signer=signers[i] or None,
                split=splits[i] or None, index=i)
        for i in range(count)
    ]  # fmt: skip


def read(ref: ClipRef, options: Options) -> Landmarks:
    """The landmarks of one clip: values (1, T, V, 3), NaN where the file has NaN or a part is all `missing`.

    Where no visibility channel is declared it is 1 for seen pose points and the border visibility of hands and face.
    Raises ClipError when the file cannot be read or the clip holds nothing.
    """
    file = Path(ref.path)
    try:
        clip_axis, _ = arranged(file, options)
        array = mapped(str(file), ref.stamp, options.values)
        lengths = load(str(file), ref.stamp, options.lengths).reshape(-1) if options.lengths else None
    except SourceError as error:
        raise ClipError(str(error)) from None
    clip = float32(array[ref.index] if clip_axis else array, ref.id).reshape(-1, flat_size(options))
    return landmarks(clip if lengths is None else clip[: _length(ref, lengths)], options, ref.id)


def _length(ref: ClipRef, lengths: np.ndarray) -> int:
    if lengths.dtype.kind not in "iu" or ref.index >= len(lengths) or lengths[ref.index] < 0:
        raise ClipError(f"{ref.id}: found no number of frames in `lengths`, expected a whole number for each clip")
    return int(lengths[ref.index])


def landmarks(frames: np.ndarray, options: Layout, place: str) -> Landmarks:
    """Frames (T, F) of one person as their landmarks, values (1, T, V, 3). ClipError when no point is seen."""
    values, visibility = unpack(frames, options)
    if not np.isfinite(values).any():
        raise ClipError(f"{place}: no point is seen in any of {len(values)} frames")
    return Landmarks(values[None], visibility[None], layout_of(options), options.fps)


def unpack(clip: np.ndarray, options: Layout) -> tuple[np.ndarray, np.ndarray]:
    """(T, F) as values (T, V, 3) and visibility (T, V)."""
    whole = skeleton.layout(layout_of(options))
    values = np.full((len(clip), whole.points, 3), np.nan, np.float32)
    visibility = np.full(values.shape[:2], np.nan, np.float32)
    start = 0
    for part, points, channels in blocks(options):
        size = len(points) * len(channels)
        block = clip[:, start : start + size].reshape(len(clip), len(points), len(channels))
        start += size
        if options.missing is not None:
            gone = (block == options.missing).all((1, 2))
            block = np.where(gone[:, None, None], np.float32(np.nan), block)
        where = np.asarray(points) + whole.slices[part].start
        xyz, seen = _channels(block, channels, part)
        values[:, where], visibility[:, where] = xyz, seen
    return values, visibility


def _channels(block: np.ndarray, channels: tuple[str, ...], part: str) -> tuple[np.ndarray, np.ndarray]:
    """(T, P, C) by channel name as (T, P, 3), a missing z being 0, and visibility (T, P); NaN where not seen."""
    xyz = np.zeros((*block.shape[:2], 3), np.float32)
    for i, name in enumerate("xyz"):
        if name in channels:
            xyz[..., i] = block[..., channels.index(name)]
    unseen = ~np.isfinite(xyz).all(-1)
    xyz[unseen] = np.nan
    if "visibility" in channels:
        visibility = np.clip(np.nan_to_num(block[..., channels.index("visibility")]), 0, 1)
    elif part in ("face", "left_hand", "right_hand"):
        visibility = skeleton.border_visibility(xyz[..., :2])
    else:
        visibility = np.ones(block.shape[:2], np.float32)
    return xyz, np.where(unseen, np.float32(np.nan), visibility)


# ---------------------------------------------------------------- the declared layout


def layout_of(options: Layout) -> str:
    """The layout as tables name it."""
    return options.layout if options.skeleton is None else skeleton.text_of(options.skeleton.skeleton())


def blocks(options: Layout) -> list[tuple[str, tuple[int, ...], tuple[str, ...]]]:
    """The (part, point indices, channels) of each block. ConfigError when they do not fit the layout."""
    sizes = dict(skeleton.layout(layout_of(options)).parts)
    declared = options.parts or tuple(Part(part=name) for name in sizes)  # pyright: ignore[reportCallIssue]
    found = []
    for block in declared:
        if block.part not in sizes:
            near = nearest(block.part, sizes)
            name = skeleton.layout(layout_of(options)).name
            raise ConfigError(f"source.parts: {block.part!r} is no part of {name} ({', '.join(sizes)}){near}")
        given = sizes[block.part] if block.points is None else block.points
        points = tuple(range(given)) if isinstance(given, int) else given
        if not points or max(points) >= sizes[block.part] or min(points) < 0 or len(set(points)) < len(points):
            raise ConfigError(f"source.parts: points of {block.part} must be different ones of its {sizes[block.part]}")
        if not {"x", "y"} <= set(block.channels):
            raise ConfigError(f"source.parts: channels of {block.part} lack x or y; found {', '.join(block.channels)}")
        found.append((block.part, points, block.channels))
    if len({part for part, _, _ in found}) < len(found):
        raise ConfigError("source.parts: a part is declared twice; declare each once")
    return found


def flat_size(options: Layout) -> int:
    """F, the numbers of a frame."""
    return sum(len(points) * len(channels) for _, points, channels in blocks(options))


def _trailing(shape: tuple[int, ...], options: Options) -> int:
    """How many of the last axes hold a frame: 1 when flat, 2 for (points, channels); 0 when neither fits."""
    known, flat = blocks(options), flat_size(options)
    if shape and shape[-1] == flat:
        return 1
    if (
        len(shape) > 1
        and len({c for _, _, c in known}) == 1
        and shape[-1] == len(known[0][2])
        and flat == shape[-2] * shape[-1]
    ):
        return 2
    return 0


def arranged(file: Path, options: Options) -> tuple[bool, tuple[int, ...]]:
    """Whether the values have an axis of clips, and their shape. SourceError when it does not fit the layout."""
    shape = shape_of(str(file), store.stamp(file) if file.exists() else "", options.values)
    lead = len(shape) - _trailing(shape, options)
    if lead == len(shape) or lead not in (1, 2):
        parts = " + ".join(f"{part} {len(points)}x{len(channels)}" for part, points, channels in blocks(options))
        raise SourceError(f"{file}: `{options.values}` has shape {shape}, expected (clips, frames, F) with F = {parts}")
    if lead == 2 or not options.gloss:
        return lead == 2, shape
    labels = shape_of(str(file), store.stamp(file), options.gloss)
    return len(labels) == 1 and labels[0] == shape[0], shape


# ---------------------------------------------------------------- columns of a file


def _glosses(file: Path, options: Options, count: int) -> list[str]:
    """The gloss of each clip, numbers replaced by their names."""
    found = _column(file, options.gloss, count)
    if options.label_names is None or not options.gloss:
        return found
    names = options.label_names
    if isinstance(names, str):
        names = tuple(str(name) for name in load(str(file), store.stamp(file), names).reshape(-1))
    try:
        return [gloss_of(label, names) for label in found]
    except (IndexError, ValueError):
        last = len(names) - 1
        raise SourceError(
            f"{file}: a label of `{options.gloss}` is no number from 0 to {last}; check label_names"
        ) from None


def _column(file: Path, key: str | None, count: int) -> list[str]:
    """A key's array as `count` strings; empty strings without a key."""
    if key is None:
        return [""] * count
    cells = load(str(file), store.stamp(file), key).reshape(-1)
    if len(cells) != count:
        raise SourceError(f"{file}: `{key}` has {len(cells)} entries, expected one for each of {count} clips")
    return [cell.decode() if isinstance(cell, bytes) else str(cell) for cell in cells.tolist()]
