"""Pickles of features by video, `{video_id: (T, F) floats}`: the `train_20glosses.pkl` and `val_20glosses.pkl` that a
BiLSTM-CTC recogniser of WLASL caches. The split is in the file's name, the glosses are in a table beside it.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from raysign.config import AnyPath, Section
from raysign.errors import ClipError, SourceError
from raysign.schema import FEATURE_SIZES, ClipRef, Landmarks
from raysign.skeleton import NO_POINTS
from raysign.sources._media import require_unique, stamp_of
from raysign.sources._plain_pickle import load

_TABLES = "a WLASL json, a json of video_id: gloss, or a csv with columns video_id and gloss"
_NAME = re.compile(r"(train|val|test)_\d+glosses\.pkl")


class Options(Section):
    """A cache of features."""

    kind: Literal["feature_cache"] = "feature_cache"
    path: AnyPath = Field(description="a folder of train_20glosses.pkl and val_20glosses.pkl, or one such file")
    labels: AnyPath | None = Field(None, description=f"glosses: {_TABLES}; None: unlabelled")
    features: str = Field("phonological_36", min_length=1, description="what the features are")
    fps: float = Field(0.0, ge=0, description="frames a second; 0: unknown")


def recognises(path: Path) -> bool:
    """Such a file, or a folder with one in it."""
    return bool(_files(path))


def clips(options: Options) -> list[ClipRef]:
    """The videos of each file in its order; those of which `labels` says nothing have no gloss.

    SourceError when a file is no such pickle, when `labels` is no such table, or when it names none of the videos.
    """
    root = options.path
    files = _files(root) or ([root] if root.is_file() else [])
    if not files:
        raise SourceError(f"{root}: found no features, expected train_20glosses.pkl (as many glosses as there are)")
    labels = _labels(options.labels) if options.labels else {}
    refs = [ref for file in files for ref in _clips_of(file, labels)]
    if options.labels and not any(ref.gloss for ref in refs):
        raise SourceError(
            f"{options.labels}: found no gloss of any of {len(refs)} videos, such as {refs[0].id}; give their own table"
        )
    return require_unique(refs, root)


def _clips_of(file: Path, labels: dict[str, dict]) -> Iterator[ClipRef]:
    mark, split = stamp_of(file), _split(file.name)
    for i, (name, _) in enumerate(_loaded(str(file), mark)):
        yield ClipRef(f"{file.stem}/{name}", str(file), mark, split=split, index=i, **labels.get(name, {}))


def read(ref: ClipRef, options: Options) -> Landmarks:
    """The features of one video, without any points (layout no_points); a frame whose numbers are not finite is NaN.

    ClipError when they are not (T, F) numbers, not of the size of their kind, or finite in no frame.
    """
    try:
        with np.errstate(over="ignore"):  # a number float32 cannot hold counts as not finite
            features = np.asarray(_loaded(ref.path, ref.stamp)[ref.index][1], np.float32)
    except SourceError as error:
        raise ClipError(str(error)) from None
    except (TypeError, ValueError) as error:
        raise ClipError(f"{ref.id}: features are no numbers ({str(error)[:80]})") from None
    size = FEATURE_SIZES.get(options.features)
    if features.ndim != 2 or 0 in features.shape or features.shape[1] != (size or features.shape[1]):
        raise ClipError(
            f"{ref.id}: features of shape {features.shape}, expected (frames, {size or 'numbers'}) "
            f"of {options.features}; set source.features to what they are"
        )
    seen = np.isfinite(features).all(axis=1, keepdims=True)
    if not seen.any():
        raise ClipError(f"{ref.id}: no finite features in any of {len(features)} frames")
    features = np.where(seen, features, np.float32(np.nan))
    values = np.empty((1, len(features), 0, 3), np.float32)
    return Landmarks(
        values, values[..., 0], NO_POINTS.name, options.fps, features=features, features_kind=options.features
    )


def _files(path: Path) -> list[Path]:
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in found if _NAME.fullmatch(file.name) and file.is_file()]


def _split(name: str) -> str | None:
    match = _NAME.fullmatch(name)
    return match[1] if match else None


@lru_cache(maxsize=2)
def _loaded(path: str, stamp: str) -> list[tuple[str, Any]]:  # noqa: ARG001 - the stamp tells a changed file
    """(video id, features) in the file's order."""
    tree = load(Path(path))
    if not isinstance(tree, dict) or not tree:
        raise SourceError(f"{path}: found a {type(tree).__name__}, expected a mapping of video_id to features")
    return [(str(name), features) for name, features in tree.items()]


def _labels(path: Path) -> dict[str, dict]:
    """Video id -> its gloss and, where the table knows, its signer."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        entries = list(_of_json(json.loads(text)) if path.suffix.lower() == ".json" else _of_csv(text))
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}; give an existing table") from None
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise SourceError(
            f"{path}: not readable ({type(error).__name__}: {str(error)[:80]}); expected {_TABLES}"
        ) from None
    return {
        str(name): {"gloss": (str(gloss),) if gloss else (), "signer": None if signer in (None, "") else str(signer)}
        for name, gloss, signer in entries
    }


def _of_json(tree: Any) -> Iterator[tuple]:
    """(video id, gloss, signer or None)."""
    if isinstance(tree, list):
        for entry in tree:
            yield from ((one["video_id"], entry["gloss"], one.get("signer_id")) for one in entry["instances"])
        return
    for name, gloss in tree.items():
        if not isinstance(gloss, str):
            raise TypeError(f"{name} is a {type(gloss).__name__}, not a gloss")
        yield name, gloss, None


def _of_csv(text: str) -> Iterator[tuple]:
    """(video id, gloss, signer or None)."""
    for row in csv.DictReader(io.StringIO(text, newline=""), strict=True):
        yield row["video_id"], row["gloss"], row.get("signer") or row.get("signer_id")
