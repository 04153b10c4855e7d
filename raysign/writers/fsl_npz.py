"""An npz file a clip for the Transformer of FSL-105: `keypoints_<split>/<clip>.npz`, and tables of labels.

X (T, 156) float32 is x and y of 78 points (pose 25, hands 21 each, face 11), within [0, 1], 0 where not seen; mask
(T, 78) bool; timestamps_ms (T,), at 30 frames a second when that is unknown; meta, JSON; X2048 (T, 2048), where a clip
has features of inception_v3. A pose point is seen from a visibility of one half on, others inside the picture.
`<split>_labels.csv` lists file, gloss, cat, occluded, by numbers that labels_reference.csv names. Clips without a split
lie in the folder itself, listed in all_labels.csv.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from raysign import store
from raysign.clips import handcrafted, points
from raysign.kinds import Section
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS as KNOWN
from raysign.writers import _labels
from raysign.writers._clips import Clip, off_origin, several

LAYOUTS = ("fsl_78", "holistic_543")
LOSES = (
    "Features but inception_v3's, depth, the visibility but for seen or not, all other points, pose points of "
    "visibility below one half, hands and face outside the picture, the signer, the picture's size and the rate of "
    "frames where it is unknown or there is one frame are lost; the pose is held within the picture."
)
READ_BY = "fsl_npz"
_FPS = 30.0


class Options(Section):
    """Nothing to choose."""

    kind: Literal["fsl_npz"] = "fsl_npz"


def left_out(clip: Clip, options: Options) -> str:  # noqa: ARG001 - as every writer
    """Clips without a label, and of several persons."""
    return several(clip) or _labels.unnumbered(clip)


def write(clips: list[Clip], landmarks: Iterable[tuple[int, Landmarks]], out: Path, options: Options) -> list[str]:  # noqa: ARG001
    """The folders of clips and the tables of labels."""
    occluded: list[bool] = [False] * len(clips)
    for place, found in landmarks:
        clip = clips[place]
        folder = out / f"keypoints_{clip.split}" if clip.split else out
        folder.mkdir(exist_ok=True)
        x, mask = _keypoints(found)
        times = np.arange(len(x)) * 1000 / (found.fps or _FPS)
        meta = json.dumps({"id": clip.id, "fps": found.fps or _FPS, "gloss": clip.gloss}, ensure_ascii=False)
        arrays = {"X": x, "mask": mask, "timestamps_ms": times, "meta": meta}
        if found.features_kind == "inception_v3":
            arrays["X2048"] = found.features
        np.savez_compressed(folder / f"{clip.name}.npz", **arrays)  # pyright: ignore[reportArgumentType] - as in npz
        occluded[place] = bool(handcrafted.occluded(mask[None])[0])
    _write_labels(clips, occluded, out)
    return [clip.name for clip in clips]


def _keypoints(found: Landmarks) -> tuple[np.ndarray, np.ndarray]:
    """X (T, 156) and mask (T, 78)."""
    at = points.subset(found.layout, "fsl_78")
    x = np.concatenate([found.values[:, :, at], found.visibility[:, :, at, None]], -1)
    mask = handcrafted.trusted(x, KNOWN["fsl_78"].slices["pose"])[0]
    xy = np.where(mask[..., None], np.clip(x[0, ..., :2], 0, 1), 0).astype(np.float32)
    off_origin(xy, mask)
    return xy.reshape(len(mask), -1), mask


def _write_labels(clips: list[Clip], occluded: list[bool], out: Path) -> None:
    glosses, categories = (_labels.numbers(getattr(clip, key) for clip in clips) for key in ("gloss", "category"))
    for split in {clip.split for clip in clips}:
        rows = [
            (clip.name, glosses[clip.gloss], categories.get(clip.category or "", ""), int(hidden))
            for clip, hidden in zip(clips, occluded, strict=True)
            if clip.split == split
        ]
        store.write_csv(out / f"{split or 'all'}_labels.csv", ("file", "gloss", "cat", "occluded"), rows)
    pairs = sorted({(glosses[c.gloss], c.gloss, categories.get(c.category or "", ""), c.category or "") for c in clips})
    store.write_csv(out / "labels_reference.csv", ("gloss_id", "label", "cat_id", "category"), pairs)


def source(clips: list[Clip], out: Path, options: Options) -> dict:  # noqa: ARG001
    """The tables tell all."""
    return {}
