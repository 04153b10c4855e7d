"""A clip on its way: the landmarks as they were seen, the clip that the recipe makes of them, and that augmented."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from raysign import store
from raysign.clips.augment import Augment
from raysign.clips.batch import Batch
from raysign.clips.recipes._features import SKELETON as FEATURES
from raysign.config import Config
from raysign.errors import ClipError, StoreError, nearest
from raysign.kinds import Section, kind_module
from raysign.report.drawing import View
from raysign.schema import Landmarks, landmarks_of
from raysign.skeleton import LAYOUTS, Skeleton, layout, text_of

UPWARDS = ("ntu_25", "ntu_25_pyskl", "ntu_edge_24")  # in metres of a depth camera, whose y grows upwards
HEADS, BELOW = ("head", "nose"), ("hips", "spine", "neck")  # points of a body, the furthest apart first


def chosen(directory: Path, ids: Sequence[str], count: int) -> Iterator[tuple[str, Landmarks]]:
    """(title, landmarks) of the clips of these ids, or without any of one clip each of `count` glosses.

    StoreError for an id that the landmarks do not hold, or that is in quarantine, and when no clip is good.
    """
    rows = [
        {**row, "path": path, "place": place}
        for path, table in store.tables(directory, ["id", "gloss", "signer", "error"])
        for place, row in enumerate(table.to_pylist())
    ]
    wanted = _named(rows, ids, directory) if ids else _one_a_gloss(rows, count)
    if not wanted:
        raise StoreError(f"{directory}: found {len(rows)} clips, all in quarantine, expected a good one")
    for row in wanted:
        about = ", ".join(part for part in (" ".join(row["gloss"] or ()), row["signer"]) if part)
        title = f"{row['id']} ({about})" if about else row["id"]
        yield title, next(landmarks_of(store.read_table(row["path"]).slice(row["place"], 1)))


def _named(rows: list[dict], ids: Sequence[str], directory: Path) -> list[dict]:
    by_id = {row["id"]: row for row in rows}
    for name in ids:
        if name not in by_id:
            raise StoreError(f"{directory}: found no clip {name!r}, expected one of {len(by_id)}{nearest(name, by_id)}")
        if by_id[name]["error"]:
            raise StoreError(f"{name}: in quarantine: {by_id[name]['error']}")
    return [by_id[name] for name in ids]


def _one_a_gloss(rows: list[dict], count: int) -> list[dict]:
    first: dict[str, dict] = {}  # of each gloss
    for row in rows:
        if not row["error"]:
            first.setdefault(" ".join(row["gloss"] or ()), row)
    return list(first.values())[:count]


def views(landmarks: Landmarks, config: Config, upwards: bool = False, row: int = 0) -> list[View]:
    """The clip raw, prepared by the config's recipe, and augmented as in the first epoch, were it in this row.

    Raw are its points, or its features when it has no points.
    upwards: y grows upwards, see `grows_upwards` for where that is known without being told.
    """
    known = layout(landmarks.layout)
    tall = landmarks.height / landmarks.width if landmarks.width and landmarks.height else 1.0
    tall = -tall if upwards or grows_upwards(landmarks.values, known) else tall
    raw = View("landmarks", landmarks.values, known, ("x", "y", "z"), tall)
    if landmarks.features is not None and not known.points:
        names = tuple(map(str, range(landmarks.features.shape[1])))
        raw = View(landmarks.features_kind, landmarks.features[None, :, None], FEATURES, names)
    recipe = kind_module("prepare", config.prepare.kind)
    try:
        x = recipe.apply(landmarks, config.prepare)
    except ClipError as error:
        return [raw, View(config.prepare.kind, np.empty((0, 0, 0, 0)), known, (), note=str(error))]
    skeleton, channels = (made(config.prepare, landmarks.layout) for made in (recipe.skeleton, recipe.channels))
    changed = _augmented(x, Augment(config.augment, skeleton, channels, config.seed), row)
    stages = ((config.prepare.kind, x), ("augmented", changed))
    return [raw, *(of_clip(name, clip, config.prepare, skeleton, channels, tall) for name, clip in stages)]


def of_clip(
    name: str, x: np.ndarray, options: Section, skeleton: Skeleton, channels: tuple[str, ...], tall: float | None = None
) -> View:
    """The picture of a clip (M, T, V, C) that a recipe with these options made.

    tall: that of its landmarks, see drawing.View; None when they are not known.
    """
    recipe = kind_module("prepare", options.kind)  # pyright: ignore[reportAttributeAccessIssue]
    axes = recipe.axes(options, text_of(skeleton)) if hasattr(recipe, "axes") else ("x", "y")
    if tall is None:
        tall = -1.0 if grows_upwards(_unseen_as_nan(x), skeleton) else 1.0
    if axes != ("x", "y"):  # the body is turned upright
        tall = -1.0
    elif getattr(options, "aspect", False):  # y is in units of x already
        tall = math.copysign(1.0, tall)
    return View(name, _unseen_as_nan(x), skeleton, channels[:-1], tall, axes=axes)


def grows_upwards(x: np.ndarray, skeleton: Skeleton) -> bool:
    """Whether y of a clip (M, T, V, x y ...), NaN where not seen, grows upwards: known of NTU's skeletons; one that a
    config declares is told by its head being above what is below it, where it names such points.
    """
    if skeleton.name in UPWARDS or skeleton.name in LAYOUTS:
        return skeleton.name in UPWARDS
    names = dict(skeleton.names)
    ends = [next((names[name] for name in some if name in names), None) for some in (HEADS, BELOW)]
    if None in ends:
        return False
    higher = np.subtract(*(x[:, :, end, 1] for end in ends))
    return (higher > 0).sum() > (higher < 0).sum()


def _augmented(x: np.ndarray, augment: Augment, row: int) -> np.ndarray:
    """One clip (M, T, V, C) changed."""
    persons, frames = x.shape[:2]
    batch = Batch(torch.tensor(x)[None], torch.tensor([frames]), torch.tensor([persons]), torch.tensor([row]), 1)
    augment.start(0, row + 1)
    return augment(batch).x[0].numpy()


def _unseen_as_nan(x: np.ndarray) -> np.ndarray:
    """Clips (M, T, V, C) without their visibility, NaN where a point is not seen."""
    return np.where((x == 0).all(-1, keepdims=True), np.nan, x[..., :-1])
