"""What the sources of videos and images share: finding files and telling who signs what from where they lie."""

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from raysign.errors import SourceError, some
from raysign.schema import ClipRef
from raysign.store import stamp

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp",
     ".ogv", ".gif")
)  # fmt: skip
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp"))


def _compiles(pattern: str | None) -> str | None:
    if pattern is not None:
        try:
            groups = set(re.compile(pattern).groupindex)
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from None
        if not groups or groups - {"gloss", "signer", "split", "category"}:
            raise ValueError("expected named groups out of gloss, signer, split and category, as in (?P<signer>\\w+)_")
    return pattern


Pattern = Annotated[
    str | None,
    AfterValidator(_compiles),
    Field(description="regular expression over a file's relative path; its groups gloss, signer, split, category tell"),
]


def files(root: Path, suffixes: Iterable[str]) -> Iterator[str]:
    """Relative POSIX paths of the files below `root` with one of the suffixes in any case.

    Hidden files and folders are left out, links to folders followed.
    """
    wanted = tuple(suffixes)
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".") and not _leads_back(Path(folder, name))]
        inside = Path(folder).relative_to(root)
        yield from ((inside / n).as_posix() for n in names if n.lower().endswith(wanted) and not n.startswith("."))


def _leads_back(folder: Path) -> bool:
    """Whether it is a link to a folder that it lies in: to follow it would never end."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    return any(above.resolve().is_relative_to(target) for above in folder.parents)


def any_file(root: Path, suffixes: Iterable[str]) -> bool:
    """Whether `root` is a folder with such a file below it."""
    return next(files(root, suffixes), None) is not None


def in_folders(root: Path, suffixes: Iterable[str], what: str, pattern: str | None) -> list[ClipRef]:
    """One clip per file below `root`, its gloss the folder it lies in; of one file, that clip, without a gloss.

    SourceError when there is none.
    """
    if root.is_file() and root.name.lower().endswith(tuple(suffixes)):
        return [clip_at(root.parent, root.name, pattern)]
    if not root.is_dir():
        raise SourceError(f"{root}: {'a file' if root.exists() else 'no such folder'}, expected a folder of {what}")
    clips = [clip_at(root, relative, pattern) for relative in sorted(files(root, suffixes))]
    if not clips:
        endings = ", ".join(sorted(suffixes))
        raise SourceError(f"{root}: no {what} in it, expected {root.name}/GLOSS/FILE with an ending of {endings}")
    return clips


def clip_at(root: Path, relative: str, pattern: str | None) -> ClipRef:
    """What the path of a file (or of a folder of frames) below `root` tells of its clip."""
    folders = relative.split("/")[:-1]
    told = {"gloss": folders[-1]} if folders else {}
    match = re.search(pattern, relative) if pattern else None
    if match:
        told.update({name: value for name, value in match.groupdict().items() if value})
    path = root / relative
    return ClipRef(
        relative,
        str(path),
        stamp_of(path),
        gloss=(told["gloss"],) if "gloss" in told else (),
        category=told.get("category"),
        signer=told.get("signer"),
        split=told.get("split"),
    )


def stamp_of(path: Path) -> str:
    """The file's stamp, or "missing"."""
    try:
        return stamp(path)
    except (OSError, ValueError):  # the second for a name that no file can have
        return "missing"


def require_unique(clips: list[ClipRef], place: Path) -> list[ClipRef]:
    """The clips; SourceError naming ids that more than one of them has."""
    twice = [name for name, count in Counter(clip.id for clip in clips).items() if count > 1]
    if twice:
        raise SourceError(f"{place}: found more than once: {some(twice)}; give each an `id` of its own")
    return clips


def gloss_of(label: Any, names: Sequence[str]) -> str:
    """The name of a numbered label; the number itself without names. IndexError, ValueError, TypeError for no such.

    A whole number may come as 1, 1.0 or the text of either.
    """
    try:
        number = float(label)
    except OverflowError:
        number = math.inf
    if not number.is_integer():  # nor is one that is infinite
        raise ValueError(f"label {label}")
    if number < 0:
        raise IndexError(f"label {label}")  # which Python would count from the end
    return names[int(number)] if names else str(int(number))


def label_names(path: Path | None) -> list[str]:
    """Names of numbered labels, one a line of a text file; none without a file. SourceError when it cannot be read."""
    if path is None:
        return []
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()  # editors of Windows put a mark before the text
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: not readable ({error}); give a text file with one name a line") from None
