"""A Parquet file a clip below a folder a gloss, `<gloss>/<clip>_landmarks.parquet`, a row for each landmark and frame.

Columns: type, landmark_index, frame, x, y, z, visibility; null where not seen. Beside them train.csv (path,
participant_id, sequence_id, sign) and gloss_map.csv (gloss, label). A clip without a gloss lies in the folder itself.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pyarrow as pa

from raysign import store
from raysign.kinds import Section
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS as KNOWN
from raysign.writers._clips import Clip, file_names, several
from raysign.writers._labels import numbers
from raysign.writers._landmark_rows import rows, write_list, write_rows

LAYOUTS = ("holistic_543", "holistic_75")
LOSES = "Features, the category, frames a second and the picture's size are lost."
READ_BY = "landmark_parquet"


class Options(Section):
    """Nothing to choose."""

    kind: Literal["gesture_parquet"] = "gesture_parquet"


def left_out(clip: Clip, options: Options) -> str:  # noqa: ARG001 - as every writer
    """Clips of several persons."""
    return several(clip)


def write(clips: list[Clip], landmarks: Iterable[tuple[int, Landmarks]], out: Path, options: Options) -> list[str]:  # noqa: ARG001
    """The tree and its two tables."""
    paths = _paths(clips)
    for folder in {(out / path).parent for path in paths}:
        folder.mkdir(exist_ok=True)
    for place, found in landmarks:
        columns = rows(found, list(KNOWN[found.layout].slices), pa.float32())
        write_rows(out / paths[place], pa.table(columns))
    write_list(out, clips, paths, (clip.name for clip in clips))
    store.write_csv(out / "gloss_map.csv", ("gloss", "label"), numbers(clip.gloss for clip in clips).items())
    return paths


def _paths(clips: list[Clip]) -> list[str]:
    glosses = sorted({clip.gloss for clip in clips if clip.gloss})
    folders = {gloss: f"{name}/" for gloss, name in zip(glosses, file_names(glosses), strict=True)}
    return [f"{folders.get(clip.gloss, '')}{clip.name}_landmarks.parquet" for clip in clips]


def source(clips: list[Clip], out: Path, options: Options) -> dict:  # noqa: ARG001
    """train.csv tells the rest."""
    return {}
