"""One pass over the shards of a stage: of each clip some numbers and a short track stay in memory, never its arrays.

A clip leaves about 4 KB, so a stage of a million clips is looked at in 4 GB, one shard of arrays at a time.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from raysign import schema, skeleton, store
from raysign.checks import contract, twins
from raysign.checks.findings import Finding
from raysign.checks.measure import FAULTS, NAMES, body_size, measure, quality
from raysign.errors import StoreError
from raysign.pace import counted
from raysign.skeleton import Skeleton

ABOUT = ("id", "gloss", "signer", "split", "fps", "width", "height", "persons", "frames")


@dataclass(frozen=True)
class Evidence:
    """What the checks of a stage look at. Columns are of its N usable clips, in the order of the shards.

    stage: landmarks or clips. card: empty for a stage without one. about: the small columns ABOUT (null where the
    stage has none), splits by the names of schema.SPLITS. ids: of all rows, also of those in quarantine and those whose
    clip has left the source, which are not usable. quarantined: rows in quarantine. numbers: the
    measures of measure.NAMES, (N,). quality: quality and its parts, (N,). parts: name -> points looked at, unseen,
    and at exactly zero. tracks: see twins.track. contents: equal for clips whose numbers are equal. notes: what the
    pass itself found.
    """

    directory: Path
    stage: str
    card: dict
    about: dict[str, list]
    ids: list[str]
    quarantined: int
    numbers: dict[str, np.ndarray]
    quality: dict[str, np.ndarray]
    parts: dict[str, Counter]
    tracks: np.ndarray
    contents: list[bytes]
    notes: list[Finding]

    @cached_property
    def twins(self) -> twins.Twins:
        """The clips that are the same or nearly so."""
        return twins.find(self.tracks, self.frames, self.contents)

    @cached_property
    def frames(self) -> np.ndarray:
        """(N,) frames of each clip."""
        return np.array(self.about["frames"], int)

    def named(self, which: np.ndarray) -> list[str]:
        """The ids of the clips that `which` (N,) bool tells."""
        return [self.about["id"][i] for i in np.flatnonzero(which)]


def gather(directory: Path) -> Evidence:
    """Look at every shard once. What cannot be read or breaks the contract is a finding, and the pass goes on.

    StoreError when the directory holds no whole shard.
    """
    paths = store.shards(directory)
    if not paths:
        raise StoreError(f"{directory}: found no whole shard, expected a stage of landmarks or clips; run the verb "
                         "that fills it (`raysign extract`, `import` or `prepare`)")  # fmt: skip
    notes: list[Finding] = []
    card = _card(directory, notes)
    body, plane = _declared(card, notes), _plane(card)
    about, ids, measured, tracks, contents = {name: [] for name in ABOUT}, [], [], [], []
    parts: dict[str, Counter] = {}
    stage, quarantined, gone = "", 0, set(card.get("gone", ()))
    for path in counted(paths, f"validate {directory.name}", len(paths), "shard"):
        table = _readable(path, stage, notes)
        if table is None:
            continue
        stage = contract.stage_of(table)
        ids += table["id"].to_pylist()
        quarantined += len(table) - table["error"].null_count if stage == "landmarks" else 0
        usable = _usable(path, table, gone, notes)
        for name in ABOUT:
            about[name] += usable[name].to_pylist() if name in usable.column_names else [None] * len(usable)
        for clip in _prepared(usable, body, plane) if stage == "clips" else _found(usable):
            measured.append(_measured(clip, parts))
            tracks.append(_track(clip))
            contents.append(clip.content)
    about["split"] = [schema.canonical_split(name) or name for name in about["split"]]  # landmarks keep the source's
    numbers = {name: np.array([row[name] for row in measured], np.float32) for name in NAMES}
    frames = np.array(about["frames"], int)
    all_tracks = np.array(tracks, np.float16).reshape(-1, twins.STEPS, twins.POINTS, 2)
    return Evidence(
        directory, stage or "landmarks", card, about, ids, quarantined, numbers, quality(numbers, frames), parts,
        all_tracks, contents, notes,
    )  # fmt: skip


def _card(directory: Path, notes: list[Finding]) -> dict:
    try:
        card = store.read_card(directory)
    except StoreError as error:
        notes.append(Finding("error", "card", str(error)))
        return {}
    if card is None:
        line = f"{directory}: found no card.json, expected one; the stage was stopped before its end: run it again"
        notes.append(Finding("error", "card", line))
        return {}
    found = card.get("schema") if isinstance(card, dict) else card
    if found != schema.VERSION:
        line = f"{directory}/card.json: found schema {found!r}, expected {schema.VERSION}; run the stage again"
        notes.append(Finding("error", "card", line))
        return {}
    return card


def _declared(card: dict, notes: list[Finding]) -> Skeleton | None:
    """The skeleton that a card of clips tells."""
    try:
        return skeleton.of_dict(card["skeleton"]) if "skeleton" in card else None
    except (ValueError, TypeError, KeyError) as error:
        notes.append(Finding("error", "card", f"card.json: skeleton: {error}; run `raysign prepare` again"))
        return None


def _plane(card: dict) -> list[int]:
    """Which channels of clips are x and y: the first two where no card tells; none in clips that have no places."""
    channels = card.get("channels", ["x", "y"])
    told = isinstance(channels, list) and "x" in channels and "y" in channels
    return [channels.index("x"), channels.index("y")] if told else []


def _readable(path: Path, stage: str, notes: list[Finding]) -> pa.Table | None:
    """The shard, or None and a finding when it is torn, or not of the stage that the others are of."""
    try:
        table = store.read_table(path)
    except StoreError as error:
        notes.append(Finding("error", "readable", str(error)))
        return None
    broken = list(contract.columns(path, table))
    if stage and contract.stage_of(table) != stage:
        line = f"{path}: found {contract.stage_of(table)}, expected {stage} as in the shards before; move it away"
        broken.append(Finding("error", "readable", line))
    notes.extend(broken)
    return None if any(finding.severity == "error" for finding in broken) else table


def _usable(path: Path, table: pa.Table, gone: set[str], notes: list[Finding]) -> pa.Table:
    """The rows whose clip the source still has and whose arrays can be read."""
    if gone:
        table = table.filter(pa.array([name not in gone for name in table["id"].to_pylist()], pa.bool_()))
    (shaped, first), (known, second) = contract.shapes(path, table), contract.layouts(path, table)
    notes.extend([*first, *second])
    keep = shaped & known
    return table if keep.all() else table.filter(pa.array(keep))


# ---------------------------------------------------------------- clips of both stages, seen the same way


@dataclass(frozen=True)
class _Clip:
    """places: (M, T, V, 2), or (M, T, V, 0) in a clip of features. seen: (M, T, V) bool. faults: see measure.FAULTS.
    in_image: places are in image units.
    """

    places: np.ndarray
    seen: np.ndarray
    skeleton: Skeleton
    faults: dict[str, float]
    content: bytes
    in_image: bool = False

    @property
    def placed(self) -> bool:
        """Whether there is a place of anything."""
        return self.places.size > 0


def _found(table: pa.Table) -> Iterator[_Clip]:
    """Clips of LANDMARKS."""
    for found in schema.landmarks_of(table):
        array, visibility, layout = found.values, found.visibility, skeleton.layout(found.layout)
        missing = np.isnan(array)
        seen = ~missing[..., 0]
        wrong = (visibility < 0) | (visibility > 1) | (np.isnan(visibility) & seen)
        faults = {
            "infinite": np.isinf(array).sum() + np.isinf(visibility).sum(),
            "half_seen": (missing.any(-1) & ~missing.all(-1)).sum(), "visibility_off": wrong.sum(),
            "features_off": _features_off(found),
        }  # fmt: skip
        image = len(layout.parts) > 1 or "body" not in layout.slices  # a camera of depth tells metres
        content = _hash(array if array.size or found.features is None else found.features)
        yield _Clip(array[..., :2], seen & np.isfinite(array).all(-1), layout, faults, content, image)


def _features_off(found: schema.Landmarks) -> int:
    """How many frames' features are finite in part; all frames when no frame has any, or not as many as their kind."""
    if found.features is None:
        return 0
    size = found.features.shape[1]
    finite, gone = np.isfinite(found.features).all(1), np.isnan(found.features).all(1)
    fits = schema.FEATURE_SIZES.get(found.features_kind, size) == size and finite.any()
    return int((~finite & ~gone).sum()) if fits else len(found.features)


def _prepared(table: pa.Table, body: Skeleton | None, plane: list[int]) -> Iterator[_Clip]:
    """Clips of CLIPS, of which the channels `plane` are x and y. A point is seen when any of its channels is not 0."""
    for x in schema.arrays(table, "x", "persons", "frames", "points", "channels"):
        visibility, places = x[..., -1], x[..., :-1]
        finite = np.isfinite(x).all(-1)
        still = ~places.any(-1)
        faults = {
            "infinite": np.isinf(x).sum(), "nan": np.isnan(x).sum(),
            "visibility_off": ((visibility < 0) | (visibility > 1)).sum(),
            "unseen_kept": _filler(places[(visibility == 0) & ~still & finite]),
        }  # fmt: skip
        fits = body is not None and body.points == x.shape[2]
        layout = body if fits and body else Skeleton("", (("points", x.shape[2]),), ())
        there = plane if max(plane, default=0) < x.shape[-1] - 1 else []
        yield _Clip(x[..., there], finite & np.asarray(x.any(-1)), layout, faults, _hash(x))


def _filler(places: np.ndarray) -> int:
    """How many points (K, C) share the commonest place, when more than a tenth do: something that stands for unseen."""
    if not len(places):
        return 0
    most = int(np.unique(places, axis=0, return_counts=True)[1].max())
    return most if most > max(1, len(places) / 10) else 0


def _hash(array: np.ndarray) -> bytes:
    return hashlib.blake2b(repr(array.shape).encode() + array.tobytes(), digest_size=16).digest()


def _track(clip: _Clip) -> np.ndarray:
    """twins.track of the person who is seen most; NaN when there are no places."""
    if not clip.placed:
        return np.full((twins.STEPS, twins.POINTS, 2), np.nan, np.float16)
    person = int(clip.seen.sum((1, 2)).argmax())
    places, seen = clip.places[person], clip.seen[person]
    return twins.track(places, seen, clip.skeleton, body_size(places, seen, clip.skeleton))


def _measured(clip: _Clip, parts: dict[str, Counter]) -> dict[str, float]:
    """The clip's measures; adds to the sums of each part of its layout."""
    shown = clip.seen.any((1, 2))  # a second person is not unseen in clips of one
    zero = (clip.places == 0).all(-1) & clip.seen & clip.placed
    for part, points in clip.skeleton.slices.items():
        seen = clip.seen[shown][..., points]
        parts.setdefault(part, Counter()).update(
            points=seen.size, unseen=seen.size - int(seen.sum()), zero=int(zero[shown][..., points].sum())
        )
    found = dict.fromkeys(NAMES, np.nan)
    if clip.placed:
        found |= measure(clip.places, clip.seen, clip.skeleton)
    if not clip.in_image:
        found["outside"] = np.nan
    return found | {name: float(clip.faults.get(name, 0)) for name in FAULTS}
