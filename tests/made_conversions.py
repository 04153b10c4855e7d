"""Stores of landmarks to be converted, what comes back of them, and what each format is known to lose."""

import csv
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np

from raysign import config, pipeline, schema, store
from raysign.kinds import kind_module, kinds
from raysign.report import words
from raysign.schema import ClipRef, Landmarks
from raysign.skeleton import LAYOUTS, border_visibility, layout, text_of
from raysign.sources._declared import Declaration
from raysign.sources.stgcn_npy import SCORED
from raysign.writers._clips import LEAST

KINDS = kinds("to")
OWN = text_of(Declaration.model_validate({"name": "own", "points": ["a", "b", "c"], "bones": [["a", "b"]]}).skeleton())
ANY = ("ntu_25", "openpose_18", "holistic_75", OWN)  # for formats that hold any layout


def writer(kind):
    return kind_module("to", kind)


def made_up(rng, name, frames, persons=1, size=(640, 480), fps=25.0) -> Landmarks:
    """Points within the picture, with holes: single ones, a part for some frames, the first frame as a whole.

    In the last frame the second point is at the origin, and the first, which is surely seen, beyond it.
    """
    shape = (persons, frames, layout(name).points)
    values = rng.uniform(0.05, 0.95, (*shape, 3)).astype(np.float32)
    visibility = rng.uniform(0.1, 1, shape).astype(np.float32)
    unseen = rng.random(shape) < 0.1
    unseen[:, : frames // 2, list(layout(name).slices.values())[-1]] = frames > 1 and len(layout(name).slices) > 1
    unseen[:, 0] |= frames > 1
    unseen[:, -1, :2] = False
    values[:, -1, 0], values[:, -1, 1], visibility[:, -1, :2] = [-0.25, -0.5, 0.1], 0, 0.75
    values[unseen], visibility[unseen] = np.nan, np.nan
    return Landmarks(values, visibility, name, fps, *size)


CLIPS = [  # id, glosses, signer, split, frames
    ("hello/anna.1", ("hello",), "anna", "train", 5),
    ("hello_anna_1", ("hello",), "ben", "train", 4),
    ("HELLO/anna 1", ("thank you",), "anna", "val", 3),
    ("ÿ/Straße", ("Straße",), "zoë", "test", 6),
    ("one frame", ("你好",), None, "train", 1),
    ("no label", (), "ben", "val", 2),
    ("sentence", ("hello", "thank you"), "ben", "val", 2),
]


MIXED = ("Training", None, "dev", "test", "../../EVIL", "val", "val")
SPLITS = {
    "split": CLIPS,
    "mixed": [(*clip[:3], split, clip[4]) for clip, split in zip(CLIPS, MIXED, strict=True)],
    "unsplit": [(*clip[:3], None, clip[4]) for clip in CLIPS],
}
MEANT = {"Training": "train", "dev": "val", "../../EVIL": None}  # others are what they are


def filled(directory: Path, name="holistic_75", *, shards=2, clips=CLIPS) -> tuple[Path, dict]:
    """A finished store of the clips, and what is in it.

    One clip has two persons if the layout has no hands, and one has features, which its last frame lacks.
    """
    rng, rows, content = np.random.default_rng(0), [], {}
    for i, (identity, gloss, signer, split, frames) in enumerate(clips):
        persons = 2 if i == 3 and "hand" not in str(layout(name).parts) else 1
        found = made_up(rng, name, frames, persons, *([] if i else [(0, 0), 0.0]))
        if identity == "hello_anna_1":
            features = rng.random((frames, 2048), np.float32)
            features[-1] = np.nan
            found = replace(found, features=features, features_kind="inception_v3")
        ref = ClipRef(identity, "x", "1", gloss, category="greeting", signer=signer, split=split)
        rows.append(schema.landmarks_row(ref, "made up", found))
        content[identity] = ref, found
    rows.append(schema.landmarks_row(ClipRef("bad", "x", "1", ("hello",)), "made up", "torn"))
    rows.append(schema.landmarks_row(ClipRef("gone", "x", "1", ("hello",)), "made up", found))
    for i in range(shards):
        store.write_table(directory / f"shard-{i}.parquet", schema.to_table(rows[i::shards], schema.LANDMARKS))
    store.write_card(directory, "landmarks", "made up", config={}, counts={}, dropped={}, seconds=0, gone=["gone"])
    return directory, content


def convert(landmarks: Path, out: Path, kind: str, *options: str) -> dict:
    return pipeline.convert(landmarks, out, config.section("to", [f"to={kind}", *options]))


def listed(out: Path) -> list[dict]:
    with (out / "clips.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_back(out: Path, card: dict) -> dict[str, tuple[ClipRef, Landmarks]]:
    """Each written clip's id -> what its source makes of it, told in the words that the conversion ends with."""
    told = shlex.split(words.converted(card, out).splitlines()[-1].split("raysign import ")[1])
    options, source = config.load(told).source, kind_module("source", card["source"]["kind"])
    refs, found = source.clips(options), {}
    for row in listed(out):
        if not row["left_out"]:
            name = row["name"].removesuffix(".parquet").removesuffix("_landmarks")
            (ref,) = (ref for ref in refs if ref.id == name or ref.id.endswith(f"/{name}"))
            found[row["id"]] = ref, source.read(ref, options)
    assert len(found) == len(refs)
    return found


# ---------------------------------------------------------------- what each format loses, as arithmetic


def no_visibility(found: Landmarks) -> Landmarks:
    seen = np.isfinite(found.visibility)
    return replace(found, visibility=np.where(seen, 1, np.nan).astype(np.float32))


def as_gislr(found: Landmarks) -> Landmarks:
    if found.layout == "holistic_75":
        values = np.full((1, found.values.shape[1], 543, 3), np.nan, np.float32)
        for part, place in LAYOUTS["holistic_75"].slices.items():
            values[:, :, LAYOUTS["holistic_543"].slices[part]] = found.values[:, :, place]
        found = Landmarks(values, values[..., 0], "holistic_543")
    visibility = border_visibility(found.values[..., :2])
    pose = visibility[:, :, :33]
    pose[np.isfinite(pose)] = 1
    return replace(found, visibility=visibility)


def flat(found: Landmarks) -> Landmarks:
    return replace(found, values=np.where([True, True, False], found.values, found.values * 0))


def as_fsl(found: Landmarks) -> Landmarks:
    place = LAYOUTS[found.layout].slices
    face = [1, 33, 263, 133, 362, 61, 291, 105, 334, 199, 4] if found.layout == "holistic_543" else range(11)
    wanted = {"pose": range(25), "left_hand": range(21), "right_hand": range(21), "face": face}
    at = [place[part].start + point for part, points in wanted.items() for point in points]
    values, visibility = found.values[:, :, at].copy(), found.visibility[:, :, at].copy()
    unseen = np.isnan(visibility)
    unseen[:, :, :25] |= visibility[:, :, :25] < 0.5
    values[unseen], visibility[unseen] = np.nan, np.nan
    values[:, :, :25] = values[:, :, :25].clip(0, 1)
    return flat(no_visibility(Landmarks(values, visibility, "fsl_78")))


def as_pose(found: Landmarks) -> Landmarks:
    visibility = found.visibility.copy()
    for part, place in LAYOUTS[found.layout].slices.items():
        if part != "pose":
            border = border_visibility(found.values[:, :, place, :2])
            visibility[:, :, place] = np.minimum(visibility[:, :, place], border)
    surest = np.argsort(-np.nansum(found.visibility, axis=(1, 2)), kind="stable")
    return replace(found, values=found.values[surest], visibility=visibility[surest])


LOST = {
    "pose_format": as_pose,
    "gislr_parquet": as_gislr,
    "fsl_npz": as_fsl,
    "stgcn_npy": lambda found: flat(found) if found.layout in SCORED else no_visibility(found),
    "pyskl_pickle": lambda found: flat(found) if found.layout in SCORED else found,
}
KEPT = {  # what comes back besides the gloss and what is seen where
    "fsl_npz": ("split", "category", "fps", "features"),
    "gesture_parquet": ("split", "signer"),
    "gislr_parquet": ("split", "signer"),
    "npz": ("split", "signer"),
    "pose_format": ("split", "signer", "fps", "size"),  # split and signer are names of folders above the gloss's
    "pyskl_pickle": ("split",),  # the size where there are pixels
    "stgcn_npy": ("split",),
}
# largest difference of two numbers; others: none
NEAR = {"fsl_npz": LEAST, "stgcn_npy": LEAST, "pyskl_pickle": 5e-4, "pose_format": 1e-6}
