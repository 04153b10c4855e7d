"""Pickles of OpenHands, one a clip: `{"keypoints": (T, V, 2 or 3), "confidences": (T, V)}` in image units.

75 points are MediaPipe's pose and hands, 27 the choice of them that OpenHands trains on. Zeros were not seen.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from raysign.errors import ClipError, SourceError
from raysign.kinds import AnyPath, Section
from raysign.schema import ClipRef, Landmarks
from raysign.skeleton import LayoutName
from raysign.sources._arrays import float32
from raysign.sources._media import Pattern, in_folders
from raysign.sources._plain_pickle import load
from raysign.sources._points import landmarks, layout_by_points


class Options(Section):
    """A folder of pickles."""

    kind: Literal["openhands_pickle"] = "openhands_pickle"
    path: AnyPath = Field(
        description="a folder of .pkl files at any depth, `<gloss>/` above them unless `pattern` tells"
    )
    pattern: Pattern = None
    layout: LayoutName | None = Field(None, description="a layout of raysign.skeleton; None: by the number of points")
    fps: float = Field(0.0, ge=0, description="frames a second; 0: unknown")


def recognises(path: Path) -> bool:  # noqa: ARG001 - what is in a pickle is known only once it is read
    """Never: there are pickles of many kinds."""
    return False


def clips(options: Options) -> list[ClipRef]:
    """One clip per file, by name. SourceError when there is none."""
    return in_folders(options.path, [".pkl"], "pickles", options.pattern)


def read(ref: ClipRef, options: Options) -> Landmarks:
    """One clip: values (1, T, V, 3), a missing z being 0, NaN where the confidence or every coordinate is 0.

    ClipError when the pickle holds anything else.
    """
    try:
        tree = load(Path(ref.path))
        x = float32(tree["keypoints"], ref.path)
        told = tree.get("confidences")
        scores = np.ones(x.shape[:2], np.float32) if told is None else float32(told, ref.path)
    except SourceError as error:
        raise ClipError(str(error)) from None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ClipError(
            f"{ref.path}: {type(error).__name__} {str(error)[:80]}, expected keypoints and confidences"
        ) from None
    if x.ndim != 3 or x.shape[2] not in (2, 3) or scores.shape != x.shape[:2]:
        found = f"keypoints of shape {x.shape} and confidences of {scores.shape}"
        raise ClipError(f"{ref.path}: {found}, expected (frames, points, 2 or 3) and (frames, points)")
    values = np.zeros((1, *x.shape[:2], 3), np.float32)
    values[0, ..., : x.shape[2]] = x
    name = layout_by_points(options.layout, x.shape[1], ref.path)
    return landmarks(values, np.nan_to_num(scores)[None], name, ref.path, fps=options.fps)
