"""Videos in folders named by what is signed: `<path>/<gloss>/<clip>.mp4`, at any depth.

The gloss is the folder a video lies in; a video in the root folder has none.
"""

from pathlib import Path
from typing import Literal

from raysign.kinds import AnyPath, Section
from raysign.schema import ClipRef
from raysign.sources._media import VIDEO_SUFFIXES, Pattern, any_file, in_folders


class Options(Section):
    """Settings of a folder of videos."""

    kind: Literal["video_folder"] = "video_folder"
    path: AnyPath
    pattern: Pattern = None


def recognises(path: Path) -> bool:
    """Whether `path` is a folder with a video anywhere in it."""
    return any_file(path, VIDEO_SUFFIXES)


def clips(options: Options) -> list[ClipRef]:
    """One clip per video, sorted by path. SourceError when there is no folder or no video in it."""
    return in_folders(options.path, VIDEO_SUFFIXES, "videos", options.pattern)
