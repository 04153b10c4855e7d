"""Videos and images that are named to a registered bundle.

Who asks a server must not be able to read its disk: files are read only below the one folder that the server's owner
names, only as videos and images, and what cannot be read is answered alike whether it is there or not.
"""

import os
import threading
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from raysign.errors import ClipError, RaysignError
from raysign.infer.reader import Reader
from raysign.learn.bundle import Bundle
from raysign.schema import Landmarks
from raysign.sources._media import IMAGE_SUFFIXES, VIDEO_SUFFIXES

FOLDER = "RAYSIGN_MEDIA"


class Media:
    """Reads the landmarks of one file after another for a bundle, with the MediaPipe files in the folder `models`.

    Files that are asked for at once wait for each other. No landmarker is kept: MLflow never says that it needs a
    model no more, and MediaPipe must not be left to the interpreter's end, when it is too late to close it.
    """

    def __init__(self, bundle: Bundle, models: Path):
        from raysign.extract import models as files

        settings = bundle.config.extract.model_copy(update={"model": models / files.file_of("holistic")})
        config = bundle.config.model_copy(update={"extract": settings})
        self.bundle, self.alone = replace(bundle, config=config), threading.Lock()

    def landmarks(self, asked: str) -> Landmarks | RaysignError:
        """Those of a file, named from the folder $RAYSIGN_MEDIA or in full, or why there are none."""
        try:
            file = inside(asked)
            with self.alone, closing(Reader(self.bundle)) as reader:
                ((_, found),) = reader.clips(file)
        except RaysignError as error:
            return error
        # no more of where it lies is told than was asked
        return ClipError(str(found).replace(str(file), asked)) if isinstance(found, RaysignError) else found


def inside(asked: str) -> Path:
    """The video or image of that name in the folder $RAYSIGN_MEDIA, links followed. ClipError when there is none."""
    if not (named := os.environ.get(FOLDER)):
        raise ClipError(f"path: this server reads no files; its owner names a folder of those it may read by {FOLDER}")
    with suppress(OSError, ValueError):  # a name that is too long or holds a zero byte
        folder = Path(named).resolve()
        file = (folder / asked).resolve()
        if file.is_relative_to(folder) and file.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES and file.is_file():
            return file
    raise ClipError("path: found no video or image of that name in the folder that this server reads")
