"""One npz file of all clips, landmarks.npz: x (N, T, F) float32 with F the layout's points times x, y, z, visibility.

NaN where not seen and behind the end of a clip. Beside it the keys id, gloss, signer, split (empty: unknown) and
lengths (frames of each clip). What raysign's own npz source reads when told these keys.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from raysign.kinds import Section
from raysign.schema import Landmarks
from raysign.skeleton import layout
from raysign.writers._clips import Clip, several, zeros_on_disk

LAYOUTS = ()
LOSES = "Features, the category, frames a second and the picture's size are lost."
READ_BY = "npz"


class Options(Section):
    """Nothing to choose."""

    kind: Literal["npz"] = "npz"


def left_out(clip: Clip, options: Options) -> str:  # noqa: ARG001 - as every writer
    """Clips of several persons."""
    return several(clip)


def write(clips: list[Clip], landmarks: Iterable[tuple[int, Landmarks]], out: Path, options: Options) -> list[str]:  # noqa: ARG001
    """The file; its array is first filled on disk, whatever its size."""
    flat = out / "x.npy"
    shape = (len(clips), max(clip.frames for clip in clips), 4 * layout(clips[0].layout).points)
    x = zeros_on_disk(flat, shape)
    for place, found in landmarks:
        frames = found.values.shape[1]
        x[place, :frames] = np.concatenate([found.values[0], found.visibility[0, ..., None]], -1).reshape(frames, -1)
        x[place, frames:] = np.nan
    told = {key: np.array([getattr(clip, key) or "" for clip in clips]) for key in ("id", "gloss", "signer", "split")}
    told |= {"x": x, "lengths": np.array([clip.frames for clip in clips], np.int32)}
    np.savez(out / "landmarks.npz", **told)  # pyright: ignore[reportArgumentType] - no key is `allow_pickle`
    flat.unlink()
    return [clip.id for clip in clips]


def source(clips: list[Clip], out: Path, options: Options) -> dict:  # noqa: ARG001
    """The file, its keys and what its numbers are."""
    keys = {key: key for key in ("id", "gloss", "signer", "split", "lengths")}
    channels = ["x", "y", "z", "visibility"]
    parts = [{"part": part, "channels": channels} for part in layout(clips[0].layout).slices]
    return {**keys, "path": str(out / "landmarks.npz"), "layout": clips[0].layout, "parts": parts}
