"""One file per thing raysign reads. Each has

class Options(Section)          kind (its file's name), path, and what else it needs
recognises(path) -> bool        whether a path given without a kind is one of these
clips(options) -> list[ClipRef] what it offers, in a fixed order, read in the driver; SourceError when it cannot
read(ref, options) -> Landmarks the landmarks of one clip, read in a worker; ClipError when they cannot be had.
                                Absent from sources of videos and images, whose clips go through MediaPipe.
audit(options) -> dict          what the source names and lacks, for one that names more than is there; `said` is a
                                sentence. Kept in the card, told by `raysign validate`; absent from most.
"""

from collections import Counter
from itertools import islice
from pathlib import Path

from raysign.errors import SourceError, some
from raysign.kinds import kind_module, kinds

MOST_FILES = 1000  # of a folder that are looked at to say what it holds


def _held(path: Path) -> str:
    """The endings of the first files of a folder, the commonest first; of a file its own."""
    files = islice((one for one in path.rglob("*") if one.is_file()), MOST_FILES) if path.is_dir() else [path]
    return some(ending for ending, _ in Counter(one.suffix.lower() or "no ending" for one in files).most_common())


def detect(path: Path) -> str:
    """The one kind of source that recognises `path`; SourceError when none or several do."""
    if path.is_dir() and not any(path.iterdir()):
        raise SourceError(f"{path}: found an empty folder, expected videos, images or landmark files in it")
    fitting = [kind for kind in kinds("source") if kind_module("source", kind).recognises(path)]
    if len(fitting) != 1:
        several = f"several kinds of source ({', '.join(fitting)})"
        found = several if fitting else f"no kind of source raysign knows (files: {_held(path)})"
        raise SourceError(f"{path}: looks like {found}; give source.kind=KIND, one of {', '.join(kinds('source'))}")
    return fitting[0]
