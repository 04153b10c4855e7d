"""Questions as they are sent: landmarks in JSON, and of what kind a file is. Everything in them may be wrong."""

import base64
import binascii
import json
import re
from pathlib import PurePath
from typing import Any

import numpy as np

from raysign import skeleton
from raysign.errors import ConfigError, LimitError
from raysign.schema import Landmarks
from raysign.serve.settings import Serve

SHORT = 2**20  # bytes of JSON that is read in a moment
_LONGEST = 20_000  # characters of a layout that is written out
_LARGEST = 1e6  # whose squares, summed up, are numbers yet
_KEYS = {"layout", "values", "visibility", "fps", "width", "height", "features", "features_kind"}


def of_json(body: bytes | str) -> Any:
    """What JSON says. ConfigError when it is none; NaN may stand for what was not seen."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise ConfigError(f"body: found no JSON ({reason}), expected landmarks; see /openapi.json") from None


def clips_of(told: Any, settings: Serve) -> tuple[list[Landmarks], bool]:
    """The landmarks of a question, and whether it is a list of clips. ConfigError or LimitError says what is wrong."""
    if not isinstance(told, dict):
        raise ConfigError(f"body: found {_kind(told)}, expected an object with `layout` and `values`, or with `clips`")
    if "clips" not in told:
        return [landmarks_of(told, settings, "")], False
    clips = told["clips"]
    if set(told) != {"clips"} or not isinstance(clips, list) or not clips:
        raise ConfigError("clips: expected a list of clips and nothing beside it")
    if len(clips) > settings.max_clips:
        raise LimitError(f"clips: found {len(clips)}, expected at most {settings.max_clips}; ask in several questions")
    return [landmarks_of(clip, settings, f"clips[{place}].") for place, clip in enumerate(clips)], True


def landmarks_of(told: Any, settings: Serve, place: str = "") -> Landmarks:
    """The landmarks of one clip: `values` (T, V, 3) of one person or (M, T, V, 3), as `layout` has its points.

    ConfigError or LimitError naming what is wrong.
    """
    if not isinstance(told, dict):
        raise ConfigError(f"{place or 'clip'}: found {_kind(told)}, expected an object with `layout` and `values`")
    if unknown := set(told) - _KEYS:
        raise ConfigError(f"{place}{min(unknown)[:40]}: unknown key, expected some of {', '.join(sorted(_KEYS))}")
    layout = told.get("layout")
    if not isinstance(layout, str) or len(layout) > _LONGEST:
        raise ConfigError(f"{place}layout: found {_kind(layout)}, expected the name of a layout such as holistic_75")
    points = skeleton.layout(layout).points
    values = _whole(_array(told.get("values"), f"{place}values"), points, 3, f"{place}values")
    _refuse_long(values, settings, place)
    unseen = np.isnan(values[..., 0])
    visibility = np.where(unseen, np.nan, 1).astype(np.float32)
    if told.get("visibility") is not None:
        visibility = _array(told["visibility"], f"{place}visibility")
        visibility = visibility.reshape(values.shape[:3]) if visibility.shape == values.shape[1:3] else visibility
    if visibility.shape != values.shape[:3]:
        raise ConfigError(f"{place}visibility: found shape {visibility.shape}, expected {values.shape[:3]}")
    fps, width, height = (_number(told, name, place) for name in ("fps", "width", "height"))
    _refuse_slow(values, fps, settings, place)
    return Landmarks(
        values, visibility, layout, fps, int(width), int(height), **_features(told, values.shape[1], place)
    )


def _features(told: dict, frames: int, place: str) -> dict:
    if told.get("features") is None:
        return {}
    features, kind = _array(told["features"], f"{place}features"), told.get("features_kind")
    if features.ndim != 2 or len(features) != frames or not isinstance(kind, str):
        raise ConfigError(f"{place}features: found shape {features.shape}, expected ({frames}, F) and `features_kind`")
    return {"features": features, "features_kind": kind[:80]}


def _whole(values: np.ndarray, points: int, channels: int, place: str) -> np.ndarray:
    """(M, T, V, C) of what may lack the persons."""
    whole = values[None] if values.ndim == 3 else values
    if whole.ndim != 4 or whole.shape[2:] != (points, channels) or 0 in whole.shape[:2]:
        expected = f"(frames, {points}, {channels}) or (persons, frames, {points}, {channels})"
        raise ConfigError(f"{place}: found shape {values.shape}, expected {expected} for this layout")
    return whole


def _refuse_long(values: np.ndarray, settings: Serve, place: str) -> None:
    persons, frames = values.shape[:2]
    most = settings.limits.frames or 0
    if persons * frames > most:
        found = f"{frames} frames of {persons} persons" if persons > 1 else f"{frames} frames"
        raise LimitError(f"{place}values: found {found}, expected at most {most}; cut the clip")


def _refuse_slow(values: np.ndarray, fps: float, settings: Serve, place: str) -> None:
    """Recipes resample by the rate: of a clip that claims to last for hours they would make millions of frames."""
    seconds = values.shape[1] / fps if fps else 0.0
    if seconds > settings.max_seconds:
        raise LimitError(f"{place}fps: found {seconds:.6g} seconds, expected at most {settings.max_seconds:g}; cut it")


def _number(told: dict, name: str, place: str) -> float:
    value = told.get(name) or 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e5:
        raise ConfigError(f"{place}{name}: found {_shown(value)}, expected a number from 0 (not known) to 100000")
    return value


def _array(told: Any, place: str) -> np.ndarray:
    """A float32 array of nested lists, in which null and NaN are what was not seen, or of base64 with a shape."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            array = _of_base64(told, place) if isinstance(told, dict) else _of_lists(told, place)
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError, binascii.Error) as error:
        raise ConfigError(
            f"{place}: found no array ({str(error)[:150]}), expected lists of numbers and nulls"
        ) from None
    if (np.abs(array) > _LARGEST).any():
        raise ConfigError(f"{place}: found a number beyond {_LARGEST:g}, expected image units, pixels or metres")
    return array


def _of_lists(told: Any, place: str) -> np.ndarray:
    if not isinstance(told, list):
        raise ConfigError(f"{place}: found {_kind(told)}, expected nested lists, or `base64` and `shape`")
    array = np.array(told, object)  # of text NumPy would else make an array in which all are as long as the longest
    if array.ndim > 4 or not set(map(type, array.flat)) <= {int, float, type(None)}:
        raise TypeError("other things than numbers, or lists of different lengths")
    return array.astype(np.float32)


def _of_base64(told: dict, place: str) -> np.ndarray:
    """Little-endian float32 in C order."""
    shape, text = told.get("shape"), told.get("base64")
    if set(told) != {"base64", "shape"} or not isinstance(text, str) or not isinstance(shape, list):
        raise ConfigError(f"{place}: expected an object of `base64`, little-endian float32, and `shape`")
    if not 1 <= len(shape) <= 4 or not all(type(size) is int and 0 < size < 2**31 for size in shape):
        raise ConfigError(f"{place}.shape: found {_shown(shape)}, expected up to four whole numbers above 0")
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").reshape(shape)


def _kind(told: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", type(None): "nothing"}
    return names.get(type(told), "a number")


def _shown(told: Any) -> str:
    return json.dumps(told)[:60]


# ---------------------------------------------------------------- files

_IMAGES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG\r\n\x1a\n": ".png", b"BM": ".bmp"}
_VIDEOS = {
    b"\x1aE\xdf\xa3": ".mkv", b"OggS": ".ogv", b"FLV\x01": ".flv", b"GIF8": ".gif", b"\x30\x26\xb2\x75": ".wmv",
    b"\x00\x00\x01\xba": ".mpg", b"\x00\x00\x01\xb3": ".mpg",
}  # fmt: skip
_TABLES = {b"PAR1": ".parquet", b"PK\x03\x04": ".npz"}
IMAGES = frozenset((*_IMAGES.values(), ".webp"))
TABLES = frozenset(_TABLES.values())
_STILL = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")  # photos in the box of a video, which nobody here reads


def name_of(told: str | None) -> str:
    """What a file is called in answers: its name without folders, ending and all that is no letter, digit or `-`."""
    words = re.findall(r"[\w-]+", PurePath((told or "").replace("\\", "/")).stem)
    return "_".join(words)[:60] or "clip"


def suffix_of(head: bytes) -> str | None:
    """The ending of the name that a file ought to have, told by its first 512 bytes; None: no kind that is read.

    What a file is called is not asked: FFmpeg would take a text file for a list of other files to open.
    """
    for start, suffix in (_IMAGES | _VIDEOS | _TABLES).items():
        if head.startswith(start):
            return suffix
    if head[:4] == b"RIFF":
        return {b"WEBP": ".webp", b"AVI ": ".avi"}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return None if head[8:12] in _STILL else ".mp4"
    packets = (head[0:1], head[188:189], head[376:377])
    return ".ts" if set(packets) == {b"G"} else None
