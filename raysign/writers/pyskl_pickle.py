"""One pickle that is a whole data set, as pyskl and mmaction2 read it: `annotations.pkl`, and label_names.txt.

`{"split": {"train": [names], ...}, "annotations": [{"frame_dir", "label", "total_frames", "img_shape": (h, w),
"original_shape", "keypoint": (M, T, V, C), "keypoint_score": (M, T, V)}, ...]}`; zeros where a point is not seen. Two
channels are pixels (of a picture of 1 x 1 when its size is unknown), three are x, y, z as LANDMARKS has them. Where
some clips have a split, `unsplit` names the others.
"""

import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from raysign import store
from raysign.errors import ConfigError
from raysign.kinds import Section
from raysign.schema import SPLITS, Landmarks
from raysign.skeleton import layout
from raysign.sources.pyskl_pickle import UNSPLIT
from raysign.sources.stgcn_npy import SCORED
from raysign.writers import _labels
from raysign.writers._clips import Clip, off_origin

LAYOUTS = ()
LOSES = (
    "Numbers have float16's 11 bits, unless to.float32; features, the signer, the category, frames a second and "
    "points of visibility 0 are lost; with two channels z, with three the picture's size."
)
READ_BY = "pyskl_pickle"
_COPIES = 3  # of all numbers, in memory at once: the arrays, the pickle, and the pickle under older names


class Options(Section):
    """What the numbers are."""

    kind: Literal["pyskl_pickle"] = "pyskl_pickle"
    channels: Literal[2, 3] | None = Field(
        None,
        description="2: pixels, 3: x, y, z; None: 2 for poses found in pictures (openpose_18, coco_17 ...), else 3",
    )
    float32: bool = Field(False, description="numbers of 32 bits instead of the format's 16")
    memory_gb: float = Field(4.0, gt=0, description="the file is made in memory; refused when that takes more")


def left_out(clip: Clip, options: Options) -> str:  # noqa: ARG001 - as every writer
    """Clips without a label."""
    return _labels.unnumbered(clip)


def write(clips: list[Clip], landmarks: Iterable[tuple[int, Landmarks]], out: Path, options: Options) -> list[str]:
    """The pickle. ConfigError when it would take more memory than allowed."""
    _require_memory(clips, options)
    number = _labels.write_names(out, clips)
    annotations: list[dict] = [{} for _ in clips]
    for place, found in landmarks:
        clip = clips[place]
        about = {"frame_dir": clip.name, "label": number[clip.gloss], "total_frames": clip.frames}
        annotations[place] = about | _arrays(found, options)
    names = {key: [clip.name for clip in clips if (clip.split or UNSPLIT) == key] for key in (*SPLITS, UNSPLIT)}
    split = {key: found for key, found in names.items() if found} if any(clip.split for clip in clips) else {}
    store.write_bytes(out / "annotations.pkl", _pickled({"split": split, "annotations": annotations}))
    return [clip.name for clip in clips]


def _arrays(found: Landmarks, options: Options) -> dict[str, Any]:
    """img_shape, original_shape, keypoint and keypoint_score."""
    height, width = (found.height, found.width) if found.height and found.width else (1, 1)
    channels = _channels(found.layout, options)
    x = found.values[..., :channels]
    x = x * np.array([width, height], np.float32) if channels == 2 else x
    kind = np.float32 if options.float32 else np.float16
    keypoint = np.nan_to_num(x).astype(kind)
    off_origin(keypoint, np.isfinite(found.visibility))
    return {
        "img_shape": (height, width), "original_shape": (height, width),
        "keypoint": keypoint, "keypoint_score": np.nan_to_num(found.visibility).astype(kind),
    }  # fmt: skip


def _channels(name: str, options: Options) -> int:
    return options.channels or (2 if name in SCORED else 3)


def _pickled(tree: dict) -> bytes:
    """The pickle as programs with numpy 1 read it too, where numpy's inner module has another name.

    Protocol 3 writes names as lines without a length, so that one can stand for the other.
    """
    return pickle.dumps(tree, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)


def _require_memory(clips: list[Clip], options: Options) -> None:
    channels = _channels(clips[0].layout, options) + 1
    count = sum(clip.persons * clip.frames for clip in clips) * layout(clips[0].layout).points * channels
    needed = _COPIES * count * (4 if options.float32 else 2) / 1e9
    if needed > options.memory_gb:
        raise ConfigError(
            f"to.memory_gb: found {options.memory_gb:g}, expected {needed:.1f} or more for {len(clips)} clips in one "
            "pickle; raise it, or take to=stgcn_npy, which is written on disk"
        )


def source(clips: list[Clip], out: Path, options: Options) -> dict:  # noqa: ARG001
    """The file, the layout and the names of the labels."""
    names = str(out / _labels.FILE)
    return {"path": str(out / "annotations.pkl"), "layout": clips[0].layout, "label_names": names}
