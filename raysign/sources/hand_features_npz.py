"""Hands of letters as features, one npz file: `features` (N, 84), `labels` (N,), `label_names`.

The first 63 numbers are x, y, z of a hand's 21 points, seen from its wrist, the farthest of them at distance 1. The
other 21 are lengths of its bones; they follow from the points and are not read.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from raysign.errors import ClipError, SourceError
from raysign.kinds import AnyPath, Section
from raysign.schema import ClipRef, Landmarks
from raysign.sources._arrays import float32, has, load, shape_of
from raysign.sources._media import gloss_of, stamp_of

LAYOUT, POINTS, FEATURES = "hand_21", 21, 84


class Options(Section):
    """An npz file of hand features."""

    kind: Literal["hand_features_npz"] = "hand_features_npz"
    path: AnyPath = Field(description="the npz file")


def recognises(path: Path) -> bool:
    """An npz file with these three arrays."""
    return has(path, "features", "labels", "label_names")


def clips(options: Options) -> list[ClipRef]:
    """One clip of one frame for each row, called by the file's name and the row. SourceError when rows do not fit."""
    file, mark = options.path, stamp_of(options.path)
    shape = shape_of(str(file), mark, "features")
    labels, names = (load(str(file), mark, key).reshape(-1).tolist() for key in ("labels", "label_names"))
    if shape != (len(labels), FEATURES):
        raise SourceError(f"{file}: `features` has shape {shape}, expected ({len(labels)} labels, {FEATURES})")
    names = [str(name) for name in names]
    try:
        glosses = [gloss_of(label, names) for label in labels]
    except (IndexError, ValueError, TypeError):
        raise SourceError(f"{file}: a label is no number from 0 to {len(names) - 1}, a place in label_names") from None
    return [ClipRef(f"{file.stem}/{i:06d}", str(file), mark, (gloss,), index=i) for i, gloss in enumerate(glosses)]


def read(ref: ClipRef, options: Options) -> Landmarks:  # noqa: ARG001
    """The hand of one row: values (1, 1, 21, 3) in units of its size, from the wrist; every point is seen.

    ClipError when a number is none, or all are 0, as where no hand was found.
    """
    try:
        row = float32(load(ref.path, ref.stamp, "features")[ref.index], ref.id)
    except SourceError as error:
        raise ClipError(str(error)) from None
    hand = row[: POINTS * 3].reshape(1, 1, POINTS, 3)
    if not np.isfinite(hand).all() or not hand.any():
        raise ClipError(f"{ref.id}: no hand, expected {POINTS * 3} numbers that are not all 0")
    return Landmarks(hand, np.ones((1, 1, POINTS), np.float32), LAYOUT)
