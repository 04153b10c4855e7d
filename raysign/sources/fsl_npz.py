"""Folders of npz files beside tables of their labels, as made of the Filipino signs of FSL-105.

`train_labels.csv` (file,gloss,cat,occluded) names the files of `keypoints_train/`, `val_labels.csv` those of
`keypoints_val/`; `labels_reference.csv` (gloss_id,label,cat_id,category) names the numbers in them. A file holds `X`
(T, 156), x and y of 78 points in image units; `mask` (T, 78), False where a point was not seen; `timestamps_ms` (T,);
perhaps `X2048` (T, 2048), InceptionV3 features of the frames. Files of `features_train/` may hold features alone, as
`X2048` or as `X`.
"""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from raysign.errors import ClipError, SourceError
from raysign.kinds import AnyPath, Section
from raysign.schema import FEATURE_SIZES, SPLITS, ClipRef, Landmarks
from raysign.skeleton import LAYOUTS
from raysign.sources._arrays import float32, shape_of, together
from raysign.sources._features import alone, features
from raysign.sources._media import require_unique, stamp_of
from raysign.sources._points import landmarks
from raysign.sources._tables import by_first, rows

LAYOUT, FEATURES = "fsl_78", "inception_v3"
ARRAYS = ("X", "mask", "timestamps_ms", "X2048")
COLUMNS = {name: (name,) for name in ("file", "gloss", "cat")}
REFERENCE = {name: (name,) for name in ("gloss_id", "label", "cat_id", "category")}
# what is told of a clip beyond its labels, at the end of its stamp: it is read again when that changes
NOTES = {"-occluded": "occluded, as its labels say", "-unlisted": "unlabelled: no row of the labels names its file"}


class Options(Section):
    """npz files and their labels."""

    kind: Literal["fsl_npz"] = "fsl_npz"
    path: AnyPath = Field(description="the folder of train_labels.csv and keypoints_train/; or one folder of npz files")
    folder: str = Field("keypoints", description="what the folders of npz files are called before _train, _val, _test")
    labels: AnyPath | None = Field(None, description="the one table of labels; None: each *labels.csv in `path`")
    reference: AnyPath | None = Field(
        None, description="names of numbers; None: labels_reference.csv, where there is one"
    )


def recognises(path: Path) -> bool:
    """A folder with a table of such labels in it."""
    return path.is_dir() and any(_header(table) >= set(COLUMNS) for table in path.glob("*labels.csv"))


def _header(table: Path) -> set[str]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            return {name.strip() for name in next(csv.reader(file), ())}
    except (OSError, UnicodeDecodeError, csv.Error):
        return set()


def clips(options: Options) -> list[ClipRef]:
    """The clips of all tables and folders, by file, in the split that the table's name begins with.

    A row whose file is missing is listed and goes to quarantine. A file without a row is listed without a gloss.
    SourceError when a table cannot be read, names a file twice, or has a number that the reference does not name.
    """
    root = options.path
    tables = [options.labels] if options.labels else sorted(root.glob("*labels.csv"))
    if not tables:
        raise SourceError(f"{root}: found no *labels.csv, expected train_labels.csv; or set source.labels")
    told = _told(tables, options)
    found = {file for table in tables for file in _folder(table, options).glob("*.npz")}
    return require_unique([_ref(file, root, told.get(file)) for file in sorted(found | set(told))], root)


def _split(table: Path) -> str | None:
    return next((name for name in SPLITS if table.name.startswith(name)), None)


def _folder(table: Path, options: Options) -> Path:
    """Where the files of a table are: a folder of its split, else the one folder there is."""
    folder = options.path / f"{options.folder}_{_split(table)}"
    return folder if folder.is_dir() else options.path


def _told(tables: list[Path], options: Options) -> dict[Path, tuple[str, str, str | None, bool]]:
    """File -> gloss, category, split, and whether it is occluded."""
    told = {}
    glosses, categories = _names(options)
    for table in tables:
        for name, row in by_first(table, COLUMNS).items():
            file = _folder(table, options) / f"{Path(name).name.removesuffix('.npz')}.npz"
            if file in told:
                raise SourceError(f"{table}: {name} is named twice, here or in another table; keep one row")
            gloss, category = _named(row["gloss"], glosses, table), _named(row["cat"], categories, table)
            occluded = row.get("occluded", "").lower() in ("1", "1.0", "true", "yes")
            told[file] = (gloss, category, _split(table), occluded)
    return told


def _names(options: Options) -> tuple[dict[str, str], dict[str, str]]:
    """Names of the numbers of glosses and of categories; empty without a reference."""
    table = options.reference or options.path / "labels_reference.csv"
    if options.reference is None and not table.is_file():
        return {}, {}
    told = [row for _, row in rows(table, REFERENCE)]
    return {row["gloss_id"]: row["label"] for row in told}, {row["cat_id"]: row["category"] for row in told}


def _named(cell: str, names: dict[str, str], table: Path) -> str:
    if cell.isdecimal() and names and cell not in names:
        raise SourceError(f"{table}: the reference does not name {cell}; complete it or correct the row")
    return names.get(cell, cell)


def _ref(file: Path, root: Path, told: tuple[str, str, str | None, bool] | None) -> ClipRef:
    gloss, category, split, occluded = told or ("", "", None, False)
    mark = "-occluded" if occluded else "" if told else "-unlisted"
    identity = file.relative_to(root).with_suffix("").as_posix()
    labels = (gloss,) if gloss else ()
    return ClipRef(identity, str(file), stamp_of(file) + mark, labels, category=category or None, split=split)


def read(ref: ClipRef, options: Options) -> Landmarks:  # noqa: ARG001
    """One clip: values (1, T, 78, 3) with z 0, NaN where the mask is False or both numbers are 0; features, where
    the file has some, and no points (layout no_points) where it has them alone; `note` says whether it is occluded or
    unlabelled.

    ClipError when the file is missing, torn or of another shape, or nothing is seen.
    """
    file = Path(ref.path)
    if not file.is_file():
        raise ClipError(f"{file}: the file is missing, and the labels name it; put it there or delete its row")
    arrays = _arrays(ref)
    note = next((text for mark, text in NOTES.items() if ref.stamp.endswith(mark)), "")
    if "X" not in arrays:
        return replace(alone(arrays["X2048"], FEATURES, ref.path, _fps(ref, arrays)), note=note)
    x, points = float32(arrays["X"], ref.path), LAYOUTS[LAYOUT].points
    mask = arrays.get("mask", np.ones((*x.shape[:1], points), bool))
    if x.shape[1:] != (2 * points,) or mask.shape != (len(x), points) or mask.dtype.kind not in "biuf":
        expected = f"(frames, {2 * points}) and (frames, {points})"
        raise ClipError(f"{file}: X has shape {x.shape} and mask {mask.shape} of {mask.dtype}, expected {expected}")
    values = np.zeros((1, len(x), points, 3), np.float32)
    values[0, ..., :2] = x.reshape(-1, points, 2)
    seen = (mask != 0)[None].astype(np.float32)
    return landmarks(values, seen, LAYOUT, ref.path, fps=_fps(ref, arrays), note=note, **_features(ref, arrays))


def _arrays(ref: ClipRef) -> dict[str, np.ndarray]:
    """What the file holds, features as `X2048` whatever it calls them. ClipError without points and features."""
    try:
        arrays = together(ref.path, *ARRAYS)
        if not arrays.keys() & {"X", "X2048"}:
            shape_of(ref.path, ref.stamp, "X")  # says what there is instead
    except SourceError as error:
        raise ClipError(str(error)) from None
    if "X2048" not in arrays and arrays["X"].shape[1:] == (FEATURE_SIZES[FEATURES],):
        arrays["X2048"] = arrays.pop("X")
    return arrays


def _features(ref: ClipRef, arrays: dict[str, np.ndarray]) -> dict:
    if "X2048" not in arrays:
        return {}
    found = features(arrays["X2048"], FEATURES, ref.path)
    if len(found) != len(arrays["X"]):
        raise ClipError(f"{ref.path}: X2048 of {len(found)} frames, expected the {len(arrays['X'])} of X")
    return {"features": found, "features_kind": FEATURES}


def _fps(ref: ClipRef, arrays: dict[str, np.ndarray]) -> float:
    """Frames a second, by the usual time between two; 0 where the file does not tell."""
    if "timestamps_ms" not in arrays:
        return 0.0
    times = float32(arrays["timestamps_ms"], ref.path).reshape(-1)
    steps = np.diff(times[np.isfinite(times)])
    step = float(np.median(steps)) if len(steps) else 0.0
    return 1000 / step if step >= 1 else 0.0  # no camera takes a thousand frames a second
