"""The data contract: what a clip is on the way from a source to an answer, and the tables it is stored in.

A clip is float32 (M, T, V, C): persons, frames, points, channels. NaN in LANDMARKS means not seen; CLIPS hold no NaN.
Tables are Parquet with one row per clip; arrays are flat, in C order, beside the columns of their shape.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from raysign import skeleton

VERSION = 2


def _schema(name: str, fields: dict[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(k, t) for k, t in fields.items()], metadata={"raysign.schema": f"{name}/{VERSION}"})


# Little-endian float32, as `numpy.frombuffer` reads them. Bytes and not a list: Parquet keeps a level for each number
# of a list, and to write and read those takes longer than to make the clip. Large: a shard may pass 2 GiB.
_ARRAY = pa.large_binary()
_WHO = {
    "id": pa.string(),  # unique in its store; stable when the source moves to another machine
    "gloss": pa.list_(pa.string()),  # what is signed: one name for an isolated sign, empty when unlabelled
    "category": pa.string(),
    "signer": pa.string(),
    "split": pa.string(),  # train, val or test; in LANDMARKS as the source says, or null
}
_SHAPE = {"persons": pa.int32(), "frames": pa.int32(), "points": pa.int32()}

LANDMARKS = _schema(
    "landmarks",
    {
        **_WHO,
        "source": pa.string(),  # the file the clip came from
        "stamp": pa.string(),  # changes when that file does
        "fps": pa.float32(),
        "width": pa.int32(),  # of the upright image, pixels
        "height": pa.int32(),
        **_SHAPE,
        "layout": pa.string(),  # which point is where, as raysign.skeleton.layout reads it
        "values": _ARRAY,  # M*T*V*3: x and y in image units, z in those of x (or all in metres); NaN: not seen
        "visibility": _ARRAY,  # M*T*V in [0, 1]; NaN: not seen
        "features": _ARRAY,  # T*F: what a network or a formula made of each frame; NaN: nothing; null: no features
        "feature_size": pa.int32(),  # F
        "features_kind": pa.string(),  # what the features are, such as inception_v3
        "seen": pa.list_(pa.float32()),  # per part of the layout, in its order: share of frames with any point of it
        "extractor": pa.string(),  # fingerprint of what made the values
        "note": pa.string(),  # what was damaged in a clip that was kept; null for nothing
        "error": pa.string(),  # why the clip is in quarantine; null for a good one
    },
)
CLIPS = _schema(
    "clips",
    {
        **_WHO,
        **_SHAPE,
        "channels": pa.int32(),
        "x": _ARRAY,  # M*T*V*C, no NaN; the last channel is the visibility
        "recipe": pa.string(),  # hash of the prepare section and of the landmarks' extractor
    },
)
ARRAYS = {field.name for table in (LANDMARKS, CLIPS) for field in table if field.type == _ARRAY}  # the large columns
PREDICTIONS = _schema(
    "predictions",
    {
        **_WHO,
        "frames": pa.int32(),
        "predicted": pa.string(),
        "confidence": pa.float32(),  # probability of `predicted`
        "top": pa.list_(pa.string()),  # the five likeliest, likeliest first
        "probabilities": pa.list_(pa.float32()),  # in the order of the bundle's labels
        # null where the recogniser's task does not tell
        "decoded": pa.list_(pa.string()),  # the glosses of the clip, one after the other
        "predicted_category": pa.string(),
        "blank": pa.float32(),  # share of frames whose likeliest symbol is the blank
    },
)


SPLITS = ("train", "val", "test")
_ALIASES = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}


def canonical_split(told: str | None) -> str | None:
    """The one of SPLITS that a source means, in whatever case or by another name of it; None for anything else."""
    word = (told or "").strip().lower()
    return word if word in SPLITS else _ALIASES.get(word)


FEATURE_SIZES = {"inception_v3": 2048, "phonological_36": 36}  # F of the kinds that raysign knows


@dataclass(frozen=True, slots=True)  # slots: there may be millions of them
class ClipRef:
    """A clip that a source offers, before anything is read of it.

    stamp: changes when the file's content may have. start, end: seconds within the file (end None: to its end).
    first_frame, last_frame: the same as 1-based frame numbers, both included, where a cut is told in frames.
    index: place within a file that holds many clips.
    """

    id: str
    path: str
    stamp: str
    gloss: tuple[str, ...] = ()
    category: str | None = None
    signer: str | None = None
    split: str | None = None
    start: float = 0.0
    end: float | None = None
    first_frame: int = 1
    last_frame: int | None = None
    index: int = 0


@dataclass(frozen=True)
class Landmarks:
    """What was seen in one clip.

    values: (M, T, V, 3) float32, NaN where not seen. visibility: (M, T, V) float32, NaN where not seen.
    layout: as skeleton.layout reads it; its number of points is V. fps: 0 when unknown. width, height: 0 when unknown.
    note: what was wrong with a clip that is good enough to keep ("" for nothing).
    features: (T, F) float32 beside the points, a row of NaN for a frame without; None for none. features_kind: what
    they are. A clip of features alone has the layout skeleton.NO_POINTS (V = 0).
    """

    values: np.ndarray
    visibility: np.ndarray
    layout: str
    fps: float = 0.0
    width: int = 0
    height: int = 0
    note: str = ""
    features: np.ndarray | None = None
    features_kind: str = ""

    def __post_init__(self):
        expected = skeleton.layout(self.layout).points
        if self.values.ndim != 4 or self.values.shape[2:] != (expected, 3):
            raise ValueError(
                f"values: found shape {self.values.shape}, expected (M, T, {expected}, 3) for {self.layout}"
            )
        if self.visibility.shape != self.values.shape[:3]:
            raise ValueError(f"visibility: found shape {self.visibility.shape}, expected {self.values.shape[:3]}")
        frames = self.values.shape[1]
        if self.features is not None and (self.features.ndim != 2 or len(self.features) != frames):
            raise ValueError(f"features: found shape {self.features.shape}, expected ({frames}, F)")


def landmarks_row(ref: ClipRef, extractor: str, result: Landmarks | str) -> dict:
    """The LANDMARKS row of a clip: its landmarks, or the reason why it is in quarantine."""
    row = {
        "id": ref.id, "gloss": list(ref.gloss), "category": ref.category, "signer": ref.signer, "split": ref.split,
        "source": ref.path, "stamp": ref.stamp, "extractor": extractor,
    }  # fmt: skip
    if isinstance(result, str):
        return {**row, "persons": 0, "frames": 0, "points": 0, "values": None, "visibility": None, "error": result}
    persons, frames, points, _ = result.values.shape
    return {
        **row, "fps": result.fps, "width": result.width, "height": result.height, "persons": persons, "frames": frames,
        "points": points, "layout": result.layout, "values": result.values, "visibility": result.visibility,
        "note": result.note or None, "seen": shares_seen(result), "features": result.features,
        "feature_size": None if result.features is None else result.features.shape[1],
        "features_kind": result.features_kind or None,
    }  # fmt: skip


def shares_seen(result: Landmarks) -> np.ndarray:
    """(parts,) float32: per part of the layout the share of frames in which anyone's point of it is seen."""
    starts = [part.start for part in skeleton.layout(result.layout).slices.values()]
    shown = np.asarray(np.isfinite(result.values[..., 0]).any(axis=0))
    if not shown.size:
        return np.zeros(len(starts), np.float32)
    return np.logical_or.reduceat(shown, starts, axis=1).mean(axis=0, dtype=np.float32)


def to_table(rows: Iterable[dict], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table of `schema`; a missing key is null, an array is flattened without a copy per value."""
    rows = list(rows)
    columns = [_column([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _column(cells: list, kind: pa.DataType) -> pa.Array:
    if kind != _ARRAY:
        return pa.array(cells, kind)
    empty = np.empty(0, np.float32)
    arrays = [empty if cell is None else np.asarray(cell, np.float32).reshape(-1) for cell in cells]
    offsets = np.zeros(len(arrays) + 1, np.int64)
    np.cumsum([array.nbytes for array in arrays], out=offsets[1:])
    valid = np.packbits(np.array([cell is not None for cell in cells], bool), bitorder="little")
    data = np.concatenate(arrays) if arrays else empty
    return pa.Array.from_buffers(kind, len(cells), [pa.py_buffer(part) for part in (valid, offsets, data)])


def arrays(table: pa.Table, column: str, *shape: str | int) -> Iterator[np.ndarray]:
    """The float32 arrays of a flat column, one (read-only, without a copy) per row.

    shape: names of the columns (or fixed numbers) that give each row's shape: `arrays(t, "x", "persons", "frames",
    "points", "channels")`.
    """
    sizes = [table[part].to_numpy() if isinstance(part, str) else None for part in shape]
    row = 0
    for chunk in table[column].chunks:
        values, offsets = _flat(chunk)
        for i in range(len(chunk)):
            form = [int(size[row]) if size is not None else part for size, part in zip(sizes, shape, strict=True)]
            yield values[offsets[i] : offsets[i + 1]].reshape(form)  # pyright: ignore[reportArgumentType, reportCallIssue]
            row += 1


def _flat(chunk: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of all rows of an array, and where each row begins among them."""
    _, offsets, data = chunk.buffers()
    starts = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    return np.frombuffer(data or b"", np.float32, count=int(starts[-1]) // 4), starts // 4


def landmarks_of(table: pa.Table) -> Iterator[Landmarks]:
    """The landmarks of each row of a LANDMARKS table (rows without error)."""
    values = arrays(table, "values", "persons", "frames", "points", 3)
    visibility = arrays(table, "visibility", "persons", "frames", "points")
    about = zip(*(table[name].to_pylist() for name in ("layout", "fps", "width", "height")), strict=True)
    for array, seen, (layout, fps, width, height), features in zip(
        values, visibility, about, _features_of(table), strict=True
    ):
        yield Landmarks(array, seen, layout, fps or 0.0, width or 0, height or 0, **features)


def _features_of(table: pa.Table) -> Iterator[dict]:
    """`features` and `features_kind` of each row; nothing for a row without."""
    sized = table.select(["frames", "features"]).append_column("size", table["feature_size"].fill_null(0))
    kinds = table["features_kind"].to_pylist()
    for features, kind in zip(arrays(sized, "features", "frames", "size"), kinds, strict=True):
        yield {"features": features, "features_kind": kind} if features.shape[1] else {}
