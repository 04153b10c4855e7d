"""Clips as rows of single landmarks, and the table that lists them: what the formats of landmark Parquet share."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raysign import store
from raysign.schema import Landmarks
from raysign.skeleton import COUNTS, LAYOUTS
from raysign.writers._clips import Clip


def rows(found: Landmarks, parts: Sequence[str], number: pa.DataType) -> dict[str, pa.Array]:
    """type, landmark_index, frame (from 0), x, y, z, visibility of every landmark of the parts in every frame.

    Null where not seen, and in a part that the layout lacks. number: the type of x, y, z and visibility.
    """
    frames, place = found.values.shape[1], LAYOUTS[found.layout].slices
    blocks = [_block(found, place[part]) if part in place else _unseen(frames, COUNTS[part]) for part in parts]
    numbers = np.concatenate(blocks, axis=1).reshape(-1, 4)
    counts = [COUNTS[part] for part in parts]
    codes = np.tile(np.repeat(np.arange(len(parts), dtype=np.int8), counts), frames)
    columns = {
        "type": pa.DictionaryArray.from_arrays(codes, list(parts)).cast(pa.string()),
        "landmark_index": pa.array(np.tile(np.concatenate([np.arange(n, dtype=np.int16) for n in counts]), frames)),
        "frame": pa.array(np.repeat(np.arange(frames, dtype=np.int32), sum(counts))),
    }
    for name, column in zip(("x", "y", "z", "visibility"), numbers.T, strict=True):
        columns[name] = pc.cast(pa.array(np.ascontiguousarray(column), from_pandas=True), number)
    return columns


def _block(found: Landmarks, points: slice) -> np.ndarray:
    return np.concatenate([found.values[0][:, points], found.visibility[0][:, points, None]], axis=-1)


def _unseen(frames: int, points: int) -> np.ndarray:
    return np.full((frames, points, 4), np.nan, np.float32)


def write_rows(path: Path, table: pa.Table) -> None:
    """A Parquet file; numbers that hardly recur are not looked up in a dictionary: smaller, and twice as fast."""
    pq.write_table(table, path, use_dictionary=["type", "landmark_index", "frame"])  # pyright: ignore[reportArgumentType]


def write_list(out: Path, clips: list[Clip], paths: list[str], sequences: Iterable) -> None:
    """train.csv: path, participant_id, sequence_id, sign of each clip, and its split where any has one."""
    split = ("split",) if any(clip.split for clip in clips) else ()
    store.write_csv(
        out / "train.csv",
        ("path", "participant_id", "sequence_id", "sign", *split),
        (
            (path, clip.signer, sequence, clip.gloss, *(clip.split for _ in split))
            for clip, path, sequence in zip(clips, paths, sequences, strict=True)
        ),
    )
