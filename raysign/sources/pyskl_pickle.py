"""One pickle that is a whole data set, as pyskl and mmaction2 share them: splits and annotations.

`{"split": {"xsub_train": [names], ...}, "annotations": [{"frame_dir", "label", "total_frames", "img_shape": (h, w),
"keypoint": (M, T, V, C), "keypoint_score": (M, T, V)}, ...]}`. Two channels are pixels with scores, three are metres.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from raysign.errors import ClipError, SourceError, nearest
from raysign.kinds import AnyPath, Section
from raysign.schema import SPLITS, ClipRef, Landmarks
from raysign.skeleton import LayoutName
from raysign.sources._arrays import float32
from raysign.sources._media import gloss_of, label_names, require_unique, stamp_of
from raysign.sources._plain_pickle import load
from raysign.sources._points import landmarks, layout_by_points

UNSPLIT = "unsplit"  # raysign's own: the clips that are in none of the others
_ENDS = (*SPLITS, UNSPLIT)
_KEY = re.compile(rf"(.*?)_?({'|'.join(_ENDS)})(\d*)", re.DOTALL)  # xsub_train, train, train1


class Options(Section):
    """A pickle of pyskl."""

    kind: Literal["pyskl_pickle"] = "pyskl_pickle"
    path: AnyPath = Field(description="the .pkl file")
    benchmark: str | None = Field(
        None,
        coerce_numbers_to_str=True,
        description="which of several divisions: xsub for xsub_train and xsub_val, 1 for train1 and test1; "
        "None: the only one",
    )
    layout: LayoutName | None = Field(None, description="a layout of raysign.skeleton; None: by the number of points")
    label_names: AnyPath | None = Field(None, description="text file, a name for each label number, one a line")
    fps: float = Field(0.0, ge=0, description="frames a second; 0: unknown")


def recognises(path: Path) -> bool:  # noqa: ARG001 - what is in a pickle is known only once it is read
    """Never: pickles are large, and of many kinds."""
    return False


def clips(options: Options) -> list[ClipRef]:
    """The annotations that the division names, in their order; all of them when the file has no division."""
    tree, names = _loaded(str(options.path), stamp_of(options.path)), label_names(options.label_names)
    split = _division(options, tree["split"])
    found = []
    for i, one in enumerate(tree["annotations"]):
        try:
            name, gloss = str(one["frame_dir"]), gloss_of(one["label"], names)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            place = f"{options.path}: annotation {i}"
            raise SourceError(f"{place}: {type(error).__name__} {error}, expected frame_dir and label") from None
        if split is None or name in split:
            where = None if split is None else split[name]
            found.append(ClipRef(name, str(options.path), stamp_of(options.path), (gloss,), split=where, index=i))
    if not found:
        raise SourceError(f"{options.path}: none of {len(tree['annotations'])} annotations is in the division")
    return require_unique(found, options.path)


def read(ref: ClipRef, options: Options) -> Landmarks:
    """One clip: values (M, T, V, 3), pixels as image units, NaN where the score or every coordinate is 0.

    Raises ClipError when the annotation does not hold that.
    """
    try:
        one = _loaded(ref.path, ref.stamp)["annotations"][ref.index]
        if "frame_inds" in one or "keypoint" not in one:
            raise ClipError(f"{ref.id}: keypoints in a compressed form, expected (persons, frames, points, channels)")
        x = float32(one["keypoint"], ref.id)
    except SourceError as error:
        raise ClipError(str(error)) from None
    if x.ndim != 4 or x.shape[3] not in (2, 3):
        raise ClipError(f"{ref.id}: keypoints of shape {x.shape}, expected (persons, frames, points, 2 or 3)")
    name = layout_by_points(options.layout, x.shape[2], ref.id)
    values, (height, width) = np.zeros((*x.shape[:3], 3), np.float32), (0, 0)
    values[..., : x.shape[3]] = x
    if x.shape[3] == 2:
        height, width = _size(ref, one)
        with np.errstate(invalid="ignore"):  # damaged numbers, which are not seen
            values[..., :2] /= np.array([width, height], np.float32)
    return landmarks(values, _scores(ref, one, x), name, ref.id, fps=options.fps, width=width, height=height)


def _scores(ref: ClipRef, one: dict, x: np.ndarray) -> np.ndarray:
    if one.get("keypoint_score") is None:
        return np.ones(x.shape[:3], np.float32)
    scores = float32(one["keypoint_score"], ref.id)
    if scores.shape != x.shape[:3]:
        raise ClipError(f"{ref.id}: scores of shape {scores.shape} for keypoints of {x.shape}")
    return np.nan_to_num(scores)


def _size(ref: ClipRef, one: dict) -> tuple[int, int]:
    """(height, width) of the picture."""
    try:
        shape = one["original_shape"] if one.get("img_shape") is None else one["img_shape"]
        height, width = (int(side) for side in shape)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ClipError(f"{ref.id}: keypoints in pixels but no img_shape, expected (height, width)") from None
    if height < 1 or width < 1:
        raise ClipError(f"{ref.id}: img_shape is {height} x {width}, expected pixels")
    return height, width


def _division(options: Options, split: dict) -> dict[str, str | None] | None:
    """Clip -> train, val, test or None; None when the file divides nothing."""
    if not split:
        return None
    divisions = {}
    for key, names in split.items():
        if match := _KEY.fullmatch(str(key)):
            divisions.setdefault("_".join(filter(None, match.group(1, 3))), {})[match[2]] = names
    only = next(iter(divisions)) if len(divisions) == 1 else None
    wanted = only if options.benchmark is None else options.benchmark
    if wanted not in divisions:
        near = nearest(wanted, divisions) if wanted else ""
        named = ", ".join(repr(name) for name in sorted(divisions))
        raise SourceError(f"{options.path}: found divisions {named}; set source.benchmark to one of them{near}")
    chosen = divisions[wanted]
    return {str(name): None if end == UNSPLIT else end for end in _ENDS for name in chosen.get(end, ())}


@lru_cache(maxsize=2)
def _loaded(path: str, stamp: str) -> dict[str, Any]:  # noqa: ARG001 - the stamp tells a changed file
    tree = load(Path(path))
    if not isinstance(tree, dict) or not isinstance(tree.get("annotations"), list):
        raise SourceError(f"{path}: expected a pickle of split and annotations")
    split = {} if tree.get("split") is None else tree["split"]
    if not isinstance(split, dict) or not all(isinstance(names, list | tuple) for names in split.values()):
        raise SourceError(f"{path}: `split` is no mapping of names to lists of clips")
    if not all(isinstance(one, dict) for one in tree["annotations"]):
        raise SourceError(f"{path}: an annotation is no mapping of frame_dir, label and keypoint")
    return {"split": split, "annotations": tree["annotations"]}
