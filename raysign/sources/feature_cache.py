"""Pickles of features by video, `{video_id: (T, F) floats}`: the `train_20glosses.pkl` and `val_20glosses.pkl` that a
BiLSTM-CTC recogniser of WLASL caches. The split is in the file's name, the glosses are in a table beside it.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from raysign.errors import ClipError, SourceError
from raysign.kinds import AnyPath, Section
from raysign.schema import ClipRef, Landmarks
from raysign.sources import wlasl
from raysign.sources._features import alone
from raysign.sources._json import tree
from raysign.sources._media import require_unique, stamp_of
from raysign.sources._plain_pickle import load
from raysign.sources._tables import by_first

_TABLES = "a list of WLASL, a json of video_id: gloss (or glosses), or a csv with columns video_id and gloss"
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
        numbers = _loaded(ref.path, ref.stamp)[ref.index][1]
    except SourceError as error:
        raise ClipError(str(error)) from None
    return alone(numbers, options.features, ref.id, options.fps)


def _files(path: Path) -> list[Path]:
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in found if _NAME.fullmatch(file.name) and file.is_file()]


def _split(name: str) -> str | None:
    match = _NAME.fullmatch(name)
    return match[1] if match else None


@lru_cache(maxsize=2)
def _loaded(path: str, stamp: str) -> list[tuple[str, Any]]:  # noqa: ARG001 - the stamp tells a changed file
    """(video id, features) in the file's order."""
    found = load(Path(path))
    if not isinstance(found, dict) or not found:
        raise SourceError(f"{path}: found a {type(found).__name__}, expected a mapping of video_id to features")
    return [(str(name), features) for name, features in found.items()]


def _labels(path: Path) -> dict[str, dict]:
    """Video id -> its gloss and, where the table knows, its signer."""
    if path.suffix.lower() != ".json":
        told = by_first(path, {"video_id": ("video_id", "id"), "gloss": ("gloss",)}).items()
        pairs = ((name, [row["gloss"]], row.get("signer") or row.get("signer_id")) for name, row in told)
    elif wlasl.recognises(path):
        listed = wlasl.instances(wlasl.Options(path=path))  # pyright: ignore[reportCallIssue]
        pairs = ((one.video, [one.gloss], one.signer) for one in listed)
    else:
        pairs = ((name, glosses, None) for name, glosses in _mapping(path).items())
    return {name: {"gloss": tuple(filter(None, words)), "signer": signer or None} for name, words, signer in pairs}


def _mapping(path: Path) -> dict[str, list[str]]:
    """Video id -> its glosses: one, or those of a sentence."""
    found = tree(path, SourceError, f"expected {_TABLES}")
    if isinstance(found, dict):
        found = {name: [told] if isinstance(told, str) else told for name, told in found.items()}
        if all(isinstance(words, list) and all(isinstance(word, str) for word in words) for words in found.values()):
            return found
    raise SourceError(f"{path}: found something else than video_id: gloss; expected {_TABLES}")
