"""NTU RGB+D, 60 and 120: one text file a clip, `S001C002P003R002A013.skeleton`, bodies of 25 joints in metres.

The name tells setup, camera, performer, repetition and action. A file is a flow of numbers: frames; for each frame the
number of bodies; for each body 10 numbers, the first its id, then the number of joints and 12 numbers for each (x, y,
z, four places in the pictures, a quaternion, the tracking state). Source: Shahroudy et al. (CVPR 2016), Liu et al.
(TPAMI 2019).
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from raysign import store
from raysign.errors import ClipError, SourceError
from raysign.kinds import AnyPath, Section
from raysign.schema import ClipRef, Landmarks
from raysign.sources._arrays import float32
from raysign.sources._media import require_unique
from raysign.sources._points import landmarks

LAYOUT, JOINTS, FPS = "ntu_25", 25, 30.0
NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
TRAIN_SUBJECTS = frozenset(  # of the cross-subject benchmark; those above 40 are of the larger set
    (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38, 45, 46, 47, 49, 50, 52, 53, 54, 55, 56,
     57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94, 95, 97, 98, 100, 103)
)  # fmt: skip
TRACKED = (0.0, 0.5, 1.0)  # visibility of a joint that the camera did not track, inferred, tracked


class Options(Section):
    """A folder of `.skeleton` files."""

    kind: Literal["ntu_skeleton"] = "ntu_skeleton"
    path: AnyPath = Field(description="a folder with .skeleton files in it at any depth")
    benchmark: Literal["xsub", "xview", "xset"] | None = Field(
        None,
        description="splits by performer (xsub), camera (xview) or setup (xset); None: no split",
    )
    missing: AnyPath | None = Field(
        None, description="text file of clip names without a usable skeleton, one a line, which are left out"
    )
    persons: int = Field(2, ge=1, description="bodies kept, those seen in most frames first")


def recognises(path: Path) -> bool:
    """A `.skeleton` file, or a folder with one below it."""
    return next(path.rglob("*.skeleton"), None) is not None if path.is_dir() else _is_clip(path)


def _is_clip(path: Path) -> bool:
    return path.suffix == ".skeleton" and path.is_file()


def clips(options: Options) -> list[ClipRef]:
    """One clip per file, by name; its gloss is the action (`A013`), its signer the performer (`P003`)."""
    single = _is_clip(options.path)
    if not (single or options.path.is_dir()):
        raise SourceError(f"{options.path}: no such folder, expected one with .skeleton files")
    left_out = _names(options.missing)
    found = []
    for file in [options.path] if single else sorted(options.path.rglob("*.skeleton")):
        told = NAME.search(file.stem)
        if told is None:
            raise SourceError(f"{file}: expected a name such as S001C002P003R002A013.skeleton; rename or move it")
        if told[0] in left_out:
            continue
        setup, camera, subject, _, action = (int(number) for number in told.groups())
        split = _split(options.benchmark, setup, camera, subject)
        found.append(
            ClipRef(told[0], str(file), store.stamp(file), (f"A{action:03d}",), None, f"P{subject:03d}", split)
        )
    if not found:
        raise SourceError(f"{options.path}: no .skeleton files, expected such as S001C002P003R002A013.skeleton")
    return require_unique(found, options.path)


def _names(listing: Path | None) -> set[str]:
    if listing is None:
        return set()
    try:
        return set(listing.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{listing}: not readable ({error}); give a text file of clip names") from None


def _split(benchmark: str | None, setup: int, camera: int, subject: int) -> str | None:
    if benchmark is None:
        return None
    trains = {"xsub": subject in TRAIN_SUBJECTS, "xview": camera in (2, 3), "xset": setup % 2 == 0}
    return "train" if trains[benchmark] else "test"


def read(ref: ClipRef, options: Options) -> Landmarks:
    """The clip's bodies, values (M, T, 25, 3) in metres as the camera sees them, NaN where a body is not in a frame
    or a joint was not tracked.

    A person is a body's id, whatever its place in a frame. Raises ClipError for a torn file or one without bodies.
    """
    try:
        flow = iter(Path(ref.path).read_text(encoding="ascii").split())
    except (OSError, UnicodeDecodeError) as error:
        raise ClipError(f"{ref.path}: not readable ({error})") from None
    try:
        frames = [dict(_bodies(flow)) for _ in range(_count(flow, 100_000))]
        return _stacked(ref, frames, options.persons)
    except StopIteration:
        raise ClipError(f"{ref.path}: ends in the middle of a frame") from None
    except ValueError as error:
        raise ClipError(f"{ref.path}: found {str(error)[:80]}, expected numbers in NTU's order") from None


def _bodies(flow: Iterator[str]) -> list[tuple[str, list[str]]]:
    """(id, words of x, y, z and state of its joints) of each body of the next frame."""
    found = []
    for _ in range(_count(flow, 100)):
        identity = _some(flow, 10)[0]
        if (joints := _count(flow, 100)) != JOINTS:
            raise ValueError(f"{joints} joints")
        words = _some(flow, 12 * JOINTS)
        found.append((identity, [word for i in (0, 1, 2, 11) for word in words[i::12]]))
    return found


def _some(flow: Iterator[str], count: int) -> list[str]:
    if len(found := list(islice(flow, count))) < count:
        raise StopIteration
    return found


def _count(flow: Iterator[str], most: int) -> int:
    if not 0 <= (count := int(next(flow))) <= most:
        raise ValueError(f"a count of {count}")
    return count


def _stacked(ref: ClipRef, frames: list[dict[str, list[str]]], most: int) -> Landmarks:
    """The bodies that are in most frames. ValueError for a word that is no number."""
    shown = Counter(identity for frame in frames for identity in frame)
    if not shown:
        raise ClipError(f"{ref.path}: no body in any of {len(frames)} frames")
    kept = {identity: person for person, (identity, _) in enumerate(shown.most_common(most))}
    told = [(kept[who], t, words) for t, frame in enumerate(frames) for who, words in frame.items() if who in kept]
    person, at = np.array([place[:2] for place in told]).T
    values = np.full((len(kept), len(frames), JOINTS, 4), np.nan, np.float32)
    numbers = float32(np.array([words for _, _, words in told], float), ref.path)  # all at once: much the faster way
    values[person, at] = numbers.reshape(-1, 4, JOINTS).swapaxes(1, 2)
    visibility = np.asarray(TRACKED, np.float32)[np.clip(np.nan_to_num(values[..., 3]), 0, 2).astype(int)]
    return landmarks(values[..., :3], visibility, LAYOUT, ref.path, fps=FPS)
