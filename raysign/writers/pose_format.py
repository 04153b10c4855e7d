"""`.pose` files of pose-format, version 0.2, one a clip: `<split>/<signer>/<gloss>/<clip>.pose`.

Components, point names and units are those of MediaPipe Holistic there: x and y in pixels (of a picture of 1000 x 1000
when its size is unknown), z in image units, confidence 0 where a point is not seen. The limbs of the face are its
contours. A folder that no clip needs is left out, `_` stands for an unknown split or signer, and a clip without a
gloss lies at the top. Source: the specification of pose-format.
"""

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from raysign.bones import FACE_BONES, HAND_BONES, POSE_BONES
from raysign.kinds import Section
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS as KNOWN
from raysign.sources.pose_format import NAMES
from raysign.writers._clips import Clip, off_origin

LAYOUTS = ("holistic_543", "holistic_75", "hands_42", "pose_33")
LOSES = (
    "Features, the category, points of visibility 0, the last bits of x and y, and split and signer of clips without a "
    "gloss are lost; hands and face come back no surer than their distance from the border, persons with the surest "
    "first, a picture of unknown size as 1000 x 1000."
)
READ_BY = "pose_format"
_UNKNOWN = "_"
_SIZE = 1000  # what pose-format takes for a picture of unknown size

_FINGERS = {
    "THUMB": ((192, 0, 0), "CMC MCP IP TIP"),
    "INDEX_FINGER": ((192, 192, 0), "MCP PIP DIP TIP"),
    "MIDDLE_FINGER": ((0, 192, 0), "MCP PIP DIP TIP"),
    "RING_FINGER": ((0, 192, 192), "MCP PIP DIP TIP"),
    "PINKY": ((255, 128, 0), "MCP PIP DIP TIP"),
}
_HAND = ["WRIST", *(f"{finger}_{joint}" for finger, (_, joints) in _FINGERS.items() for joint in joints.split())]
_HAND_COLOURS = [(232, 232, 232), *(colour for colour, _ in _FINGERS.values() for _ in range(4))]
_COMPONENTS = {
    "pose": ("POSE_LANDMARKS", NAMES["POSE_LANDMARKS"], POSE_BONES, [(255, 0, 0)]),
    "face": ("FACE_LANDMARKS", NAMES["FACE_LANDMARKS"][:468], FACE_BONES, [(128, 0, 0)]),
    "left_hand": ("LEFT_HAND_LANDMARKS", _HAND, HAND_BONES, _HAND_COLOURS),
    "right_hand": ("RIGHT_HAND_LANDMARKS", _HAND, HAND_BONES, _HAND_COLOURS),
}


class Options(Section):
    """Nothing to choose."""

    kind: Literal["pose_format"] = "pose_format"


def left_out(clip: Clip, options: Options) -> str:  # noqa: ARG001 - as every writer
    """Clips whose gloss or signer cannot be the name of a folder."""
    for what, name in (("gloss", clip.gloss), ("signer", clip.signer or "")):
        if name == _UNKNOWN or name.startswith(".") or {"/", "\0"} & set(name) or len(name.encode()) > 255:
            return f"a {what} that cannot name a folder"
    return ""


def write(clips: list[Clip], landmarks: Iterable[tuple[int, Landmarks]], out: Path, options: Options) -> list[str]:  # noqa: ARG001
    """The folders and their files."""
    paths, levels = [], _levels(clips)
    for clip in clips:
        folders = [*(getattr(clip, level) or _UNKNOWN for level in levels), clip.gloss] if clip.gloss else []
        paths.append("/".join([*folders, f"{clip.name}.pose"]))
    for place, found in landmarks:
        (out / paths[place]).parent.mkdir(parents=True, exist_ok=True)
        (out / paths[place]).write_bytes(_file(found))
    return paths


def _levels(clips: list[Clip]) -> list[str]:
    """Which folders there are above those of the glosses."""
    return [level for level in ("split", "signer") if any(getattr(clip, level) for clip in clips)]


def _file(found: Landmarks) -> bytes:
    """Header and body of one clip."""
    width, height = (found.width, found.height) if found.width and found.height else (_SIZE, _SIZE)
    components = [_COMPONENTS[part] for part in KNOWN[found.layout].slices]
    header = struct.pack("<f4H", 0.2, width, height, 0, len(components))
    header += b"".join(_component(*component) for component in components)
    persons, frames = found.values.shape[:2]
    values = np.nan_to_num(found.values * np.array([width, height, 1], np.float32))
    off_origin(values, np.isfinite(found.visibility))
    values = values.swapaxes(0, 1)
    confidence = np.nan_to_num(found.visibility).swapaxes(0, 1)
    body = struct.pack("<fIH", found.fps, frames, persons)
    return header + body + values.astype("<f4").tobytes() + confidence.astype("<f4").tobytes()


def _component(name: str, points: Sequence[str], limbs: Sequence, colours: Sequence) -> bytes:
    told = _text(name) + _text("XYZC") + struct.pack("<3H", len(points), len(limbs), len(colours))
    numbers = np.array([number for tuples in (limbs, colours) for one in tuples for number in one], "<u2")
    return told + b"".join(map(_text, points)) + numbers.tobytes()


def _text(words: str) -> bytes:
    encoded = words.encode()
    return struct.pack("<H", len(encoded)) + encoded


def source(clips: list[Clip], out: Path, options: Options) -> dict:  # noqa: ARG001
    """What the folders mean, and how many persons to keep."""
    levels = "".join(f"(?:{_UNKNOWN}|(?P<{level}>[^/]+))/" for level in _levels(clips))
    return {"pattern": f"^{levels}" if levels else None, "persons": max(clip.persons for clip in clips)}
