"""Arrays of st-gcn: `<split>_data.npy` (N, C, T, V, M) float32 beside `<split>_label.pkl` (names, label numbers).

Clips without a split are in all_data.npy. Channels are x, y, z, or for poses found in pictures x - 0.5, y - 0.5 and the
visibility; a point not seen is zeros, as are the frames and persons that a clip has less than the largest.
label_names.txt has a gloss a line. The array is filled on disk, whatever its size.
"""

import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from raysign import store
from raysign.kinds import Section
from raysign.schema import Landmarks
from raysign.skeleton import layout
from raysign.sources.stgcn_npy import SCORED
from raysign.writers import _labels
from raysign.writers._clips import Clip, off_origin, zeros_on_disk

LAYOUTS = ()
LOSES = (
    "Features, the signer, the category, frames a second, the picture's size, persons never seen and frames at the end "
    "in which nothing is seen are lost; so is the visibility, or where `scored` z, points of visibility 0 and the last "
    "bit of x and y."
)
READ_BY = "stgcn_npy"


class Options(Section):
    """Size and channels of the array."""

    kind: Literal["stgcn_npy"] = "stgcn_npy"
    frames: int | None = Field(None, ge=1, description="T; longer clips are left out; None: of the longest clip")
    persons: int | None = Field(
        None, ge=1, description="M; clips of more are left out; None: of the clip with the most"
    )
    scored: bool | None = Field(
        None, description="channels are x - 0.5, y - 0.5, visibility instead of x, y, z; None: by the layout, as st-gcn"
    )


def left_out(clip: Clip, options: Options) -> str:
    """Clips without a label, and those that do not fit into the array."""
    if options.frames and clip.frames > options.frames:
        return f"more than {options.frames} frames"
    if options.persons and clip.persons > options.persons:
        return f"more than {options.persons} persons"
    return _labels.unnumbered(clip)


def write(clips: list[Clip], landmarks: Iterable[tuple[int, Landmarks]], out: Path, options: Options) -> list[str]:
    """An array and its labels for each split."""
    number = _labels.write_names(out, clips)
    most = {"frames": options.frames, "persons": options.persons}
    frames, persons = (most[side] or max(getattr(clip, side) for clip in clips) for side in ("frames", "persons"))
    shape, at, arrays = (3, frames, layout(clips[0].layout).points, persons), {}, {}
    for split in {clip.split for clip in clips}:
        places = [place for place, clip in enumerate(clips) if clip.split == split]
        at.update((place, (split, row)) for row, place in enumerate(places))
        arrays[split] = zeros_on_disk(out / f"{split or 'all'}_data.npy", (len(places), *shape))
        # read as paths, so with an ending that readers take off
        told = [f"{clips[place].name}.npy" for place in places], [number[clips[place].gloss] for place in places]
        store.write_bytes(out / f"{split or 'all'}_label.pkl", pickle.dumps(told, protocol=2))
    for place, found in landmarks:
        split, row = at[place]
        x = _array(found, _scored(clips, options))
        arrays[split][row, :, : x.shape[1], :, : x.shape[3]] = x
    return [clip.name for clip in clips]


def _array(found: Landmarks, scored: bool) -> np.ndarray:
    """(C, T, V, M) float32, zeros where a point is not seen."""
    x, seen = found.values.copy(), np.asarray(np.isfinite(found.values).all(-1))
    if scored:
        x[..., 2] = 0
    off_origin(x, seen)
    if scored:
        x[..., :2] -= 0.5
        x[..., 2] = found.visibility
    x[~seen] = 0
    return x.transpose(3, 1, 2, 0)


def _scored(clips: list[Clip], options: Options) -> bool:
    return clips[0].layout in SCORED if options.scored is None else options.scored


def source(clips: list[Clip], out: Path, options: Options) -> dict:
    """The layout, which channels there are, and the names of the labels."""
    names = str(out / _labels.FILE)
    return {"layout": clips[0].layout, "scored": _scored(clips, options), "label_names": names}
