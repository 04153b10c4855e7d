"""How far our landmarks lie from landmarks that MediaPipe's own tests publish as `expected_*.prototxt`."""

import re
from pathlib import Path

import numpy as np

from raysign import config
from raysign.errors import ClipError
from raysign.extract.frames import is_image
from raysign.extract.landmarker import LAYOUT, Landmarker
from raysign.schema import ClipRef
from raysign.skeleton import LAYOUTS

_POINT = re.compile(r"\bx:\s*(\S+)\s+y:\s*(\S+)")
_SAME = 0.05  # mean difference, in image units, beyond which an image is not the one the points were published for


def agreement(folder: Path) -> dict[str, float | None]:
    """Name of each prototxt below `folder` -> mean difference of x and y, image units, to the image nearest to it.

    None where no image below the folder is the one the points belong to (the files do not name it).
    """
    wanted = {
        path.stem.removeprefix("expected_"): _published(path) for path in sorted(folder.rglob("expected_*.prototxt"))
    }
    if not wanted:
        return {}
    best = dict.fromkeys(wanted, np.inf)
    folders = {path.parent for path in folder.rglob("expected_*.prototxt")}
    images = sorted({path for place in folders for path in place.rglob("*") if is_image(path)})
    with Landmarker(config.Extract()) as reader:  # pyright: ignore[reportCallIssue]
        for points in (points for image in images for points in _parts(reader, image)):
            for name, published in wanted.items():
                if len(points) == len(published):
                    best[name] = min(best[name], float(np.abs(points - published).mean()))
    return {name: round(value, 5) if value < _SAME else None for name, value in best.items()}


def _published(path: Path) -> np.ndarray:
    """(N, 2) x and y of a landmark list in text form."""
    return np.array(_POINT.findall(path.read_text(encoding="utf-8")), np.float32).reshape(-1, 2)


def _parts(reader: Landmarker, image: Path) -> list[np.ndarray]:
    """The parts of a body that are seen in an image, (N, 2) each."""
    try:
        values = reader.read(ClipRef(image.name, str(image), "")).values[0, 0, :, :2]
    except ClipError:
        return []
    return [values[part] for part in LAYOUTS[LAYOUT].slices.values() if np.isfinite(values[part]).all()]
