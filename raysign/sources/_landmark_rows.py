"""Rows of single landmarks as dense arrays: one row for each landmark of each frame, in any order, some missing."""

from itertools import pairwise

import numpy as np

from raysign.errors import ClipError, nearest
from raysign.skeleton import COUNTS, LAYOUTS, border_visibility

_IRISES = 10  # points 468-477 of a refined face mesh: left out, as the layout has the mesh itself
_DROP = -1


def dense(
    parts: list[str],
    codes: np.ndarray,
    index: np.ndarray,
    frame: np.ndarray,
    columns: dict[str, np.ndarray],
    layout: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Values (T, V, 3) and visibility (T, V), float32, NaN where not seen; T is the number of different frames.

    parts: names of the parts; codes, index, frame: for each row the place of its part among `parts`, the landmark's
    index in it and the frame's number. columns: x, y, z and perhaps visibility of each row; where that is missing, seen
    pose points have 1, hands and face `skeleton.border_visibility`. ClipError: an unknown landmark, one that occurs
    twice, or nothing seen at all.
    """
    width = _frame_width(codes, index, frame)
    slot = _slots(parts, codes[:width], index[:width], layout)
    with np.errstate(over="ignore", invalid="ignore"):  # a number float32 cannot hold counts as not seen
        if width:
            values, visibility = _regular(slot, columns, layout)
        else:
            values, visibility = _scattered(slot, frame, columns, layout)
        _settle(values, visibility, layout)
    return values, visibility


def _frame_width(codes: np.ndarray, index: np.ndarray, frame: np.ndarray) -> int | None:
    """Rows a frame when every frame has the same landmarks in the same order, and frames go up; else None."""
    other = frame != frame[0]
    width = int(other.argmax()) or len(frame)
    if len(frame) % width:
        return None
    numbers = frame.reshape(-1, width)
    same = (numbers == numbers[:, :1]).all() and (numbers[1:, 0] > numbers[:-1, 0]).all()
    for keys in (codes, index):
        same = same and (keys.reshape(-1, width) == keys[:width]).all()
    return width if same else None


def _slots(parts: list[str], codes: np.ndarray, index: np.ndarray, layout: str) -> np.ndarray:
    """Each row's point of the layout, or _DROP for an iris. ClipError for a part or index there is not."""
    if unknown := sorted(set(parts) - set(COUNTS)):
        raise ClipError(f"landmark type {unknown[0]!r}, expected {', '.join(COUNTS)}{nearest(unknown[0], COUNTS)}")
    index = index.astype(np.int64)
    starts = np.array([LAYOUTS[layout].slices[part].start for part in parts])
    counts = np.array([COUNTS[part] for part in parts])
    slack = np.array([_IRISES if part == "face" else 0 for part in parts])
    if (wrong := (index < 0) | (index >= (counts + slack)[codes])).any():
        row = wrong.argmax()
        part = parts[codes[row]]
        raise ClipError(f"landmark_index {index[row]} of {part}, expected 0 to {COUNTS[part] - 1}")
    return np.where(index < counts[codes], starts[codes] + index, _DROP)


def _empty(frames: int, layout: str) -> tuple[np.ndarray, np.ndarray]:
    points = LAYOUTS[layout].points
    return np.full((frames, points, 3), np.nan, np.float32), np.full((frames, points), np.nan, np.float32)


def _regular(slot: np.ndarray, columns: dict[str, np.ndarray], layout: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the same order in every frame: each run of neighbouring points is copied as a block."""
    width = len(slot)
    kept = slot[slot != _DROP]
    if len(set(kept.tolist())) < len(kept):
        raise ClipError("a landmark occurs twice in each frame")
    values, visibility = _empty(len(columns["x"]) // width, layout)
    bounds = [0, *(np.flatnonzero(np.diff(slot) != 1) + 1).tolist(), width]
    for name, column in columns.items():
        to, rows = _channel(values, visibility, name), column.reshape(-1, width)
        for start, end in pairwise(bounds):
            if slot[start] != _DROP:
                to[:, slot[start] : slot[start] + end - start] = rows[:, start:end]
    return values, visibility


def _scattered(
    slot: np.ndarray, frame: np.ndarray, columns: dict[str, np.ndarray], layout: str
) -> tuple[np.ndarray, np.ndarray]:
    """Rows in any order, some of them missing."""
    numbers, place = np.unique(frame, return_inverse=True)
    points = LAYOUTS[layout].points
    kept = slot != _DROP
    cell = place * points + slot
    if len(twice := np.flatnonzero(np.bincount(cell[kept], minlength=1) > 1)):
        raise ClipError(f"a landmark of frame {numbers[twice[0] // points]} occurs twice")
    values, visibility = _empty(len(numbers), layout)
    for name, column in columns.items():
        _channel(values, visibility, name)[place[kept], slot[kept]] = column[kept]
    return values, visibility


def _channel(values: np.ndarray, visibility: np.ndarray, name: str) -> np.ndarray:
    return visibility if name == "visibility" else values[:, :, "xyz".index(name)]


def _settle(values: np.ndarray, visibility: np.ndarray, layout: str) -> None:
    """NaN in all numbers of points not wholly seen; a visibility where there was none. ClipError: nothing is seen."""
    unseen = ~np.isfinite(values[..., 0] + values[..., 1] + values[..., 2])  # a quarter of the time of a sum over three
    if unseen.all():
        raise ClipError(f"no point is seen in any of {len(values)} frames")
    lacking = np.isnan(visibility)
    if (lacking & ~unseen).any():
        guess = np.ones_like(visibility)
        for part, place in LAYOUTS[layout].slices.items():
            if part != "pose":
                guess[:, place] = border_visibility(values[:, place, :2])
        np.copyto(visibility, guess, where=lacking)
    np.clip(visibility, 0, 1, out=visibility)
    values.reshape(-1, 3)[np.flatnonzero(unseen)] = np.nan
    visibility[unseen] = np.nan
