"""The layout of asl-signs: train.csv and `train_landmark_files/<participant>/<sequence>.parquet`, 543 rows a frame.

Columns: frame, row_id ("frame-type-index"), type, landmark_index, x, y, z; the parts in the order face, left_hand,
pose, right_hand; null where not seen. Sequences are numbered in order of the clips' ids;
sign_to_prediction_index_map.json numbers the glosses. A clip without a signer lies in train_landmark_files itself.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from raysign import store
from raysign.kinds import Section
from raysign.schema import Landmarks
from raysign.writers._clips import Clip, file_names, several
from raysign.writers._labels import numbers
from raysign.writers._landmark_rows import rows, write_list, write_rows

LAYOUTS = ("holistic_543", "holistic_75")
LOSES = (
    "Visibility (a seen pose reads as 1, hands and face by their distance from the border), features, the category, "
    "frames a second and the picture's size are lost; clips without a face come back with one that is never seen."
)
READ_BY = "landmark_parquet"
_PARTS = ("face", "left_hand", "pose", "right_hand")
_MOST_FRAMES = 1 << 15  # `frame` is int16


class Options(Section):
    """Nothing to choose."""

    kind: Literal["gislr_parquet"] = "gislr_parquet"


def left_out(clip: Clip, options: Options) -> str:  # noqa: ARG001 - as every writer
    """Clips of several persons, or of more frames than the format can number."""
    return several(clip) or (f"more than {_MOST_FRAMES} frames" if clip.frames > _MOST_FRAMES else "")


def write(clips: list[Clip], landmarks: Iterable[tuple[int, Landmarks]], out: Path, options: Options) -> list[str]:  # noqa: ARG001
    """The tree, train.csv and the map of signs."""
    paths = _paths(clips)
    for folder in {(out / path).parent for path in paths}:
        folder.mkdir(parents=True, exist_ok=True)
    for place, found in landmarks:
        write_rows(out / paths[place], _table(found))
    write_list(out, clips, paths, range(len(clips)))
    store.write_json(out / "sign_to_prediction_index_map.json", numbers(clip.gloss for clip in clips))
    return paths


def _table(found: Landmarks) -> pa.Table:
    columns = rows(found, _PARTS, pa.float64())
    frame, kind, index = (columns[name].cast(pa.string()) for name in ("frame", "type", "landmark_index"))
    return pa.table(
        {
            "frame": columns["frame"].cast(pa.int16()),
            "row_id": pc.binary_join_element_wise(frame, kind, index, "-"),  # pyright: ignore
            **{name: columns[name] for name in ("type", "landmark_index", "x", "y", "z")},
        }
    )


def _paths(clips: list[Clip]) -> list[str]:
    signers = sorted({clip.signer for clip in clips if clip.signer})
    folders = {signer: f"{name}/" for signer, name in zip(signers, file_names(signers), strict=True)}
    return [f"train_landmark_files/{folders.get(clip.signer or '', '')}{i}.parquet" for i, clip in enumerate(clips)]


def source(clips: list[Clip], out: Path, options: Options) -> dict:  # noqa: ARG001
    """train.csv tells the rest."""
    return {}
