"""One file per thing raysign reads. Each has

class Options(Section)          kind (its file's name), path, and what else it needs
recognises(path) -> bool        whether a path given without a kind is one of these
clips(options) -> list[ClipRef] what it offers, in a fixed order, read in the driver; SourceError when it cannot
read(ref, options) -> Landmarks the landmarks of one clip, read in a worker; ClipError when they cannot be had.
                                Absent from sources of videos and images, whose clips go through MediaPipe.
audit(options) -> dict          what the source names and lacks, for one that names more than is there; `said` is a
                                sentence. Kept in the card, told by `raysign validate`; absent from most.
"""

from pathlib import Path

from raysign.errors import SourceError
from raysign.kinds import kind_module, kinds


def detect(path: Path) -> str:
    """The one kind of source that recognises `path`; SourceError when none or several do."""
    if path.is_dir() and not any(path.iterdir()):
        raise SourceError(f"{path}: found an empty folder, expected videos, images or landmark files in it")
    fitting = [kind for kind in kinds("source") if kind_module("source", kind).recognises(path)]
    if len(fitting) != 1:
        found = f"several kinds of source ({', '.join(fitting)})" if fitting else "no kind of source raysign knows"
        raise SourceError(f"{path}: looks like {found}; give source.kind=KIND, one of {', '.join(kinds('source'))}")
    return fitting[0]
