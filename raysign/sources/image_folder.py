"""Images in folders named by what they show: `<path>/<class>/<image>.jpg`, at any depth: clips of one frame."""

from pathlib import Path
from typing import Literal

from raysign.kinds import AnyPath, Section
from raysign.schema import ClipRef
from raysign.sources._media import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Pattern, any_file, in_folders


class Options(Section):
    """Settings of a folder of images."""

    kind: Literal["image_folder"] = "image_folder"
    path: AnyPath
    pattern: Pattern = None


def recognises(path: Path) -> bool:
    """Whether `path` is a folder with an image anywhere in it and no video: thumbnails often lie beside videos."""
    return any_file(path, IMAGE_SUFFIXES) and not any_file(path, VIDEO_SUFFIXES)


def clips(options: Options) -> list[ClipRef]:
    """One clip per image, sorted by path. SourceError when there is no folder or no image in it."""
    return in_folders(options.path, IMAGE_SUFFIXES, "images", options.pattern)
