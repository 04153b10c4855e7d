"""Landmark files: one Parquet file a clip, one row for each landmark of each frame.

Two schemas are read, told apart by their columns:
  type, landmark_index, frame, x, y, z[, visibility]     `<gloss>/<clip>_landmarks.parquet`, or asl-signs (GISLR)
  frame_id, landmark_id ("frame-part-index"), x, y, z[, body_part, visibility]     an older generation of the first
Other columns are not read. Frames are kept in order of their numbers, wherever these begin; a number that is missing
is not made up for: no schema says whether the camera or the writer left it out.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from raysign import store
from raysign.errors import ClipError, SourceError, nearest
from raysign.kinds import AnyPath, Section
from raysign.schema import ClipRef, Landmarks
from raysign.sources._landmark_rows import dense
from raysign.sources._media import require_unique
from raysign.sources._tables import by_first, rows

_TORN = (OSError, UnicodeDecodeError, pa.ArrowException)  # what a damaged file raises when its header or rows are read


class Options(Section):
    """Landmark parquet trees."""

    kind: Literal["landmark_parquet"] = "landmark_parquet"
    path: AnyPath = Field(description="a folder of landmark files, or one file")
    metadata: AnyPath | None = Field(
        None,
        description="csv of path, sign[, participant_id or signer_id, split]; None: train.csv in the folder, if any",
    )
    gloss_map: AnyPath | None = Field(None, description="csv of gloss,label; clips of other signs go to quarantine")
    fps: float = Field(0.0, ge=0, description="frames a second; 0: unknown")


# ---------------------------------------------------------------- which clips there are


def recognises(path: Path) -> bool:
    """A landmark file, or a folder whose first Parquet file is one."""
    if path.is_file():
        return path.suffix == ".parquet" and _is_landmarks(path)
    first = next(iter(path.rglob("*.parquet")), None) if path.is_dir() else None
    return first is not None and _is_landmarks(first)


def _is_landmarks(path: Path) -> bool:
    try:
        names = set(pq.read_schema(path).names)
        return names >= {"x", "y", "z"} and (names >= _NEW or names >= _OLD)
    except _TORN:
        return False


def clips(options: Options) -> list[ClipRef]:
    """The clips the metadata lists, in its order; without metadata every Parquet file, by name.

    Without metadata the gloss of `<gloss>/<clip>.parquet` is its folder, and other files are unlabelled. A file that
    is missing, or whose sign is not in the gloss map, is listed all the same and goes to quarantine when it is read.
    """
    root = options.path
    if not root.exists():
        raise SourceError(f"{root}: found nothing, expected a folder of landmark files or one file")
    table = options.metadata or root / "train.csv"
    listed = root.is_dir() and (options.metadata or table.exists())
    refs = list(_listed(root, table) if listed else _found(root))
    if not refs:
        raise SourceError(
            f"{root}: found no landmark files; expected .parquet files of type, landmark_index, frame, x, y, z"
        )
    return require_unique([_marked(ref, options) for ref in refs], root)


def _found(root: Path) -> Iterator[ClipRef]:
    base = root if root.is_dir() else root.parent
    for file in sorted(base.rglob("*.parquet")) if root.is_dir() else [root]:
        relative = file.relative_to(base)
        gloss = (relative.parts[0],) if len(relative.parts) == 2 else ()
        yield ClipRef(_name(relative), str(file), store.stamp(file), gloss=gloss)


def _listed(root: Path, table: Path) -> Iterator[ClipRef]:
    """The clips of a metadata table, paths relative to the root."""
    for row in by_first(table, {"path": ("path",), "sign": ("sign", "gloss", "label")}).values():
        file = root / row["path"]
        file = file if file.suffix == ".parquet" else file.with_name(f"{file.name}.parquet")
        signer = row.get("participant_id") or row.get("signer_id") or row.get("signer") or None
        stamp = store.stamp(file) if file.is_file() else "missing"
        gloss = (row["sign"],) if row["sign"] else ()
        yield ClipRef(_name(Path(row["path"])), str(file), stamp, gloss, signer=signer, split=row.get("split") or None)


def _name(relative: Path) -> str:
    """A clip's id: where its file lies below the root, without `_landmarks` and `.parquet`."""
    return relative.as_posix().removesuffix(".parquet").removesuffix("_landmarks")


def _marked(ref: ClipRef, options: Options) -> ClipRef:
    """`ref` with a stamp that also changes when the gloss map takes its sign in or out."""
    if options.gloss_map is None or _in_map(ref, options.gloss_map):
        return ref
    return replace(ref, stamp=f"{ref.stamp}-unmapped")


def _in_map(ref: ClipRef, gloss_map: Path) -> bool:
    return set(ref.gloss) <= _glosses(str(gloss_map), store.stamp(gloss_map) if gloss_map.exists() else "")


@lru_cache(maxsize=4)
def _glosses(gloss_map: str, stamp: str) -> frozenset[str]:  # noqa: ARG001 - the stamp tells a changed map
    return frozenset(row["gloss"] for _, row in rows(Path(gloss_map), {"gloss": ("gloss", "sign")}))


# ---------------------------------------------------------------- one clip

_NEW = {"type", "landmark_index", "frame"}
_OLD = {"frame_id", "landmark_id"}
_TEXTS, _NUMBERS = {"type", "body_part", "landmark_id"}, {"x", "y", "z", "visibility"}


def read(ref: ClipRef, options: Options) -> Landmarks:
    """The landmarks of one file: values (1, T, V, 3), NaN where a row is missing or has no number.

    The layout is holistic_543 when the file has rows of a face, else holistic_75. Where the file gives no visibility,
    seen pose points have 1, hands and face that of `skeleton.border_visibility`. Raises ClipError.
    """
    if options.gloss_map is not None and not _in_map(ref, options.gloss_map):
        raise ClipError(f"sign {' '.join(ref.gloss) or '(none)'!r} is not in {options.gloss_map.name}")
    table = _table(Path(ref.path))
    parts, codes, index, frame = _keys(table)
    name = "holistic_543" if "face" in parts else "holistic_75"
    columns = {c: table[c].to_numpy() for c in ("x", "y", "z", "visibility") if c in table.column_names}
    values, visibility = dense(parts, codes, index, frame, columns, name)
    return Landmarks(values[None], visibility[None], name, options.fps)


def _table(path: Path) -> pa.Table:
    """The needed columns of a landmark file, each of one chunk."""
    try:
        file = _opened(path)
        names = set(file.schema_arrow.names)
        keys = _NEW if names >= _NEW else _OLD
        if lacking := sorted((keys if keys <= names else _NEW) - names) or sorted({"x", "y", "z"} - names):
            found = ", ".join(file.schema_arrow.names)
            raise ClipError(f"no column {lacking[0]!r}, found {found}{nearest(lacking[0], names)}")
        _require_types(file.schema_arrow)
        if not file.metadata.num_rows:
            raise ClipError("found no rows, expected one for each landmark of each frame")
        wanted = [*sorted(keys), *(name for name in ("x", "y", "z", "visibility", "body_part") if name in names)]
        return file.read(columns=wanted, use_threads=False).combine_chunks()
    except _TORN as error:
        if not path.exists():
            raise ClipError("the file is missing") from None
        raise ClipError(f"not readable as Parquet ({' '.join(str(error).split())[:160]})") from None


def _require_types(schema: pa.Schema) -> None:
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        text = pa.types.is_null(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
        number = pa.types.is_null(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if (field.name in _TEXTS and not text) or (field.name in _NUMBERS and not number):
            expected = "text" if field.name in _TEXTS else "numbers"
            raise ClipError(f"column {field.name!r} holds {kind}, expected {expected}")


def _opened(path: Path) -> pq.ParquetFile:
    """The file, set to give the column of part names as codes of a dictionary instead of one string a row."""
    for column in ("type", "body_part"):
        try:
            return pq.ParquetFile(path, read_dictionary=[column])
        except KeyError:  # there is no such column
            continue
    return pq.ParquetFile(path)


def _keys(table: pa.Table) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Names of the parts, and for each row the part's place among them, the landmark's index and the frame."""
    if "type" in table.column_names:
        part, index, frame = (table[name] for name in ("type", "landmark_index", "frame"))
    else:
        words = pc.split_pattern(table["landmark_id"].cast(pa.string()), "-").combine_chunks()  # pyright: ignore
        if words.null_count or (np.diff(words.offsets.to_numpy()) != 3).any():
            raise ClipError("a landmark_id is not of the form frame-part-index")
        part = table["body_part"] if "body_part" in table.column_names else pa.chunked_array([words.values[1::3]])
        index, frame = pa.chunked_array([words.values[2::3]]), table["frame_id"]
    names = part.combine_chunks() if pa.types.is_dictionary(part.type) else part.dictionary_encode().combine_chunks()
    if names.null_count:
        raise ClipError(f"{names.null_count} rows have no landmark type")
    try:
        parts = names.dictionary.to_pylist()
    except UnicodeDecodeError:
        raise ClipError("a landmark type is no text") from None
    codes = names.indices.to_numpy()
    if len(codes) and not 0 <= codes.min() <= codes.max() < len(parts):  # of a torn file; pyarrow does not look
        raise ClipError(f"a landmark type is none of the {len(parts)} that the file lists")
    used = np.flatnonzero(np.bincount(codes, minlength=len(parts)))  # of a table whose rows were filtered, not all are
    codes = codes if len(used) == len(parts) else np.searchsorted(used, codes)
    return [parts[i] for i in used], codes, _whole(index, "landmark index"), _whole(frame, "frame")


def _whole(column: pa.ChunkedArray, what: str) -> np.ndarray:
    """A column of whole numbers, of any type. ClipError when a cell is empty or is none."""
    if column.null_count:
        raise ClipError(f"{column.null_count} rows have no {what}")
    if pa.types.is_integer(column.type):
        return column.to_numpy()
    try:
        return pc.cast(column, pa.int64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ClipError(f"{what}: expected whole numbers ({' '.join(str(error).split())[:80]})") from None
