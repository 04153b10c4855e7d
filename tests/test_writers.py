"""Landmarks written out to each format and read back by its source: equal but for what the format says it loses."""

import csv
import json
import os
import pickle
import platform
import shlex
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from raysign import config, pipeline, schema, store
from raysign.errors import ConfigError, StoreError
from raysign.kinds import kind_module, kinds
from raysign.schema import ClipRef, Landmarks
from raysign.skeleton import LAYOUTS, border_visibility, layout, text_of
from raysign.sources import landmark_parquet
from raysign.sources._declared import Declaration
from raysign.sources.stgcn_npy import SCORED
from raysign.writers._clips import file_names, zeros_on_disk

KINDS = kinds("to")
OWN = text_of(Declaration.model_validate({"name": "own", "points": ["a", "b", "c"], "bones": [["a", "b"]]}).skeleton())
ANY = ("ntu_25", "openpose_18", "holistic_75", OWN)  # for formats that hold any layout


def writer(kind):
    return kind_module("to", kind)


def made_up(rng, name, frames, persons=1, size=(640, 480), fps=25.0) -> Landmarks:
    """Points within the picture, with holes: single ones, a part for some frames, the first frame as a whole."""
    shape = (persons, frames, layout(name).points)
    values = rng.uniform(0.05, 0.95, (*shape, 3)).astype(np.float32)
    visibility = rng.uniform(0.1, 1, shape).astype(np.float32)
    unseen = rng.random(shape) < 0.1
    unseen[:, : frames // 2, list(layout(name).slices.values())[-1]] = frames > 1 and len(layout(name).slices) > 1
    unseen[:, 0] |= frames > 1
    unseen[:, -1, 0] = False
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
    """A finished store of the clips, one of them of two persons if the layout has no hands; and what is in it."""
    rng, rows, content = np.random.default_rng(0), [], {}
    for i, (identity, gloss, signer, split, frames) in enumerate(clips):
        persons = 2 if i == 3 and "hand" not in str(layout(name).parts) else 1
        found = made_up(rng, name, frames, persons, *([] if i else [(0, 0), 0.0]))
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
    words = shlex.split(pipeline.converted(card, out).splitlines()[-1].split("raysign import ")[1])
    options, source = config.load(words).source, kind_module("source", card["source"]["kind"])
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
    "fsl_npz": ("split", "category", "fps"),
    "gesture_parquet": ("split", "signer"),
    "gislr_parquet": ("split", "signer"),
    "npz": ("split", "signer"),
    "pose_format": ("split", "signer", "fps", "size"),  # split and signer are names of folders above the gloss's
    "pyskl_pickle": ("split",),  # the size where there are pixels
    "stgcn_npy": ("split",),
}
NEAR = {"stgcn_npy": 6e-8, "pyskl_pickle": 5e-4, "pose_format": 1e-6}  # largest difference of two numbers; others: none


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in KINDS for name in writer(kind).LAYOUTS or ANY],
    ids=lambda word: "own" if word == OWN else word,
)
@pytest.mark.parametrize("splits", SPLITS)
def test_what_is_written_is_read_back_by_its_source_but_for_what_is_said_to_be_lost(tmp_path, kind, name, splits):
    if writer(kind).READ_BY not in kinds("source"):
        pytest.skip(f"no source {writer(kind).READ_BY} yet")
    directory, content = filled(tmp_path / "landmarks", name, clips=SPLITS[splits])
    card = convert(directory, tmp_path / "out", kind)
    found = read_back(tmp_path / "out", card)
    assert set(found) | {row["id"] for row in listed(tmp_path / "out") if row["left_out"]} == {*content, "bad", "gone"}
    assert {"hello/anna.1", "hello_anna_1", "HELLO/anna 1", "one frame"} <= set(found)
    for identity, (ref, landmarks) in found.items():
        told, before = content[identity]
        assert ref.gloss == told.gloss
        kept = () if kind == "pose_format" and not told.gloss else KEPT[kind]
        meant = replace(told, split=MEANT.get(str(told.split), told.split))
        for what in ("signer", "split", "category"):
            assert getattr(ref, what) == (getattr(meant, what) if what in kept else None), what
        if before.fps and before.values.shape[1] > 1:
            assert landmarks.fps == pytest.approx(before.fps if "fps" in KEPT[kind] else 0)
        if before.width:
            sized = "size" in KEPT[kind] or (kind, name in SCORED) == ("pyskl_pickle", True)
            assert (landmarks.width, landmarks.height) == ((before.width, before.height) if sized else (0, 0))
        expected = LOST.get(kind, lambda landmarks: landmarks)(before)
        assert landmarks.layout == expected.layout
        for array in ("values", "visibility"):
            np.testing.assert_allclose(getattr(landmarks, array), getattr(expected, array), 0, NEAR.get(kind, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_no_split_of_a_source_leads_out_of_the_folder(tmp_path, kind):
    name = (writer(kind).LAYOUTS or ANY)[0]
    directory, _ = filled(tmp_path / "landmarks", name, clips=SPLITS["mixed"])
    convert(directory, tmp_path / "a" / "b" / "out", kind)
    inside = {tmp_path / "a", tmp_path / "a" / "b"}
    ours = {path for path in tmp_path.rglob("*") if not {directory, tmp_path / "a/b/out"} & {path, *path.parents}}
    assert ours == inside
    assert not [path for path in (tmp_path / "a/b/out").rglob("*") if "EVIL" in path.name]


@pytest.mark.parametrize("kind", KINDS)
def test_the_output_does_not_follow_from_how_the_clips_lie_in_shards(tmp_path, kind):
    name = (writer(kind).LAYOUTS or ANY)[0]
    for shards in (1, 3):
        directory, _ = filled(tmp_path / f"in{shards}", name, shards=shards)
        convert(directory, tmp_path / str(shards), kind)
    files = [sorted(file for file in (tmp_path / one).rglob("*") if file.is_file()) for one in ("1", "3")]
    assert [file.relative_to(tmp_path / "1") for file in files[0]] == [f.relative_to(tmp_path / "3") for f in files[1]]
    for one, three in zip(*files, strict=True):
        if one.suffix == ".npz":  # its members carry the time of writing
            with np.load(one) as a, np.load(three) as b:
                for key in a:
                    np.testing.assert_array_equal(a[key], b[key])
        elif one.name != "card.json":
            assert one.read_bytes() == three.read_bytes(), one


@pytest.mark.parametrize("kind", KINDS)
def test_a_layout_that_a_format_cannot_hold_is_refused_before_anything_is_written(tmp_path, kind):
    directory, _ = filled(tmp_path / "landmarks", "hand_21", clips=CLIPS[:2])
    if writer(kind).LAYOUTS:
        words = f"{kind} holds {', '.join(writer(kind).LAYOUTS)}; found hand_21 .2 clips."
    else:
        more, _ = filled(tmp_path / "more", "pose_33", clips=CLIPS[2:3])
        store.write_table(directory / "shard-2.parquet", store.read_table(more / "shard-0.parquet").slice(0, 1))
        words = "one layout at a time; found hand_21 .2 clips., pose_33 .1 clips."
    with pytest.raises(ConfigError, match=words):
        convert(directory, tmp_path / "out", kind)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_clips_of_features_alone_are_written_in_no_format(tmp_path, kind):
    values = np.empty((1, 3, 0, 3), np.float32)
    found = Landmarks(values, values[..., 0], "no_points", features=np.ones((3, 36), np.float32))
    row = schema.landmarks_row(ClipRef("a", "x", "1", ("hello",)), "e", found)
    store.write_table(tmp_path / "landmarks" / "shard-0.parquet", schema.to_table([row], schema.LANDMARKS))
    store.write_card(tmp_path / "landmarks", "landmarks", "e", config={}, counts={}, dropped={}, seconds=0)
    with pytest.raises(ConfigError, match=rf"{kind} holds points; found no_points .1 clips., features alone"):
        convert(tmp_path / "landmarks", tmp_path / "out", kind)


def test_a_folder_with_anything_else_in_it_is_refused_and_the_same_again_does_nothing(tmp_path):
    directory, _ = filled(tmp_path / "landmarks")
    out = tmp_path / "out"
    out.mkdir()  # an empty folder may be there
    card = convert(directory, out, "gesture_parquet")
    stamps = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    assert convert(directory, out, "gesture_parquet") == card
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == stamps
    with pytest.raises(ConfigError, match="other landmarks or another format"):
        convert(directory, out, "gislr_parquet")
    with pytest.raises(ConfigError, match="files of another kind"):
        convert(directory, directory, "gislr_parquet")


def test_a_conversion_that_fails_leaves_nothing(tmp_path):
    directory, _ = filled(tmp_path / "landmarks")
    columns = pq.ParquetFile(directory / "shard-1.parquet").metadata.row_group(0)
    (start,) = (
        column.data_page_offset
        for column in map(columns.column, range(columns.num_columns))
        if column.path_in_schema == "values"
    )
    data = bytearray((directory / "shard-1.parquet").read_bytes())
    data[start : start + 64] = bytes(64)  # the small columns are still whole
    (directory / "shard-1.parquet").write_bytes(data)
    for kind in KINDS:
        if "holistic_75" in (writer(kind).LAYOUTS or ANY):
            with pytest.raises(StoreError):
                convert(directory, tmp_path / "out", kind)
    assert [path.name for path in tmp_path.iterdir()] == ["landmarks"]


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    directory, _ = filled(tmp_path / "landmarks")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match="cannot be written"):
        convert(directory, tmp_path / "file" / "out", "npz")


def test_landmarks_that_are_not_finished_are_refused(tmp_path):
    directory, _ = filled(tmp_path / "landmarks")
    (directory / "card.json").unlink()
    with pytest.raises(StoreError, match="no finished landmarks"):
        convert(directory, tmp_path / "out", "gesture_parquet")


def test_clips_left_out_are_listed_with_the_reason_and_counted_in_the_card(tmp_path):
    directory, _ = filled(tmp_path / "landmarks", "ntu_25")
    card = convert(directory, tmp_path / "out", "stgcn_npy", "to.frames=5", "to.persons=1")
    reasons = {row["id"]: row["left_out"] for row in listed(tmp_path / "out") if row["left_out"]}
    assert reasons == {
        "bad": "quarantined", "gone": "no longer in the source", "sentence": "several glosses",
        "no label": "no gloss, and the format wants a label number", "ÿ/Straße": "more than 5 frames",
    }  # fmt: skip
    assert card["dropped"] == dict.fromkeys(reasons.values(), 1)
    assert card["counts"]["clips"] == len(CLIPS) - 3


def test_names_of_files_are_safe_and_differ_whatever_the_file_system():
    ids = ["a/b", "a_b", "A/B", "../up", "", "ü", "u\u0308", ".hidden", "a\0\n"]
    ids += [letter * count for letter in "x你" for count in (300, 301)]
    names = file_names(ids)
    assert len({name.casefold() for name in names}) == len(ids)
    assert all(name and not set(name) & set("/\\\0\n.") and len(name.encode()) < 200 for name in names)
    taken = file_names(["a/b", "a_b"])[1]
    assert len(set(file_names(["a/b", "a_b", taken]))) == 3  # also of an id that looks like what was made of another


@pytest.mark.parametrize("kind", ["stgcn_npy", "pyskl_pickle"])
def test_a_gloss_with_a_line_break_is_left_out_and_shifts_no_label(tmp_path, kind):
    glosses = ["alpha\n", "beta", "gam\u2028ma", "delta"]
    clips = [(gloss, (gloss,), "anna", "train", 3) for gloss in glosses]
    directory, _ = filled(tmp_path / "landmarks", clips=clips)
    found = read_back(tmp_path / "out", convert(directory, tmp_path / "out", kind))
    assert {identity: ref.gloss for identity, (ref, _) in found.items()} == {"beta": ("beta",), "delta": ("delta",)}
    left_out = {row["id"] for row in listed(tmp_path / "out") if row["left_out"] == "a gloss with a line break"}
    assert left_out == {"alpha\n", "gam\u2028ma"}


def test_an_array_on_disk_takes_its_room_before_it_is_filled(tmp_path):
    array = zeros_on_disk(tmp_path / "x.npy", (100, 1000))
    assert not array.any()
    if hasattr(os, "posix_fallocate"):
        assert (tmp_path / "x.npy").stat().st_blocks * 512 >= array.nbytes


def test_conversions_to_one_folder_at_once_do_not_disturb_each_other(tmp_path):
    directory, _ = filled(tmp_path / "landmarks")
    alone = convert(directory, tmp_path / "alone", "gesture_parquet")
    with ThreadPoolExecutor(4) as pool:
        cards = [pool.submit(convert, directory, tmp_path / "out", "gesture_parquet") for _ in range(4)]
        assert {card.result()["key"] for card in cards} == {alone["key"]}
    assert [row["name"] for row in listed(tmp_path / "out")] == [row["name"] for row in listed(tmp_path / "alone")]
    assert {path.name for path in tmp_path.iterdir()} == {"landmarks", "alone", "out"}


def test_what_a_killed_conversion_has_left_goes_with_the_next_and_that_of_a_living_one_stays(tmp_path):
    directory, _ = filled(tmp_path / "landmarks")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, alive = (tmp_path / f".out.{platform.node()}.{pid}.0.unfinished" for pid in (ended.pid, os.getpid()))
    for folder in (dead, alive):
        (folder / "train").mkdir(parents=True)
    convert(directory, tmp_path / "out", "npz")
    assert {path.name for path in tmp_path.iterdir()} == {"landmarks", "out", alive.name}


# ---------------------------------------------------------------- each format by itself


def test_asl_signs_have_543_rows_a_frame_in_the_order_and_types_of_the_original(tmp_path):
    directory, _ = filled(tmp_path / "landmarks")
    convert(directory, tmp_path / "out", "gislr_parquet")
    rows = (tmp_path / "out/train.csv").read_text().splitlines()
    assert rows[0] == "path,participant_id,sequence_id,sign,split"
    table = pq.read_table(tmp_path / "out" / rows[1].split(",")[0])
    assert [str(field.type) for field in table.schema] == ["int16", "string", "string", "int16", *["double"] * 3]
    assert table["row_id"][:2].to_pylist() == ["0-face-0", "0-face-1"]
    starts = {part: table["type"].to_pylist().index(part) for part in ("face", "left_hand", "pose", "right_hand")}
    assert starts == {"face": 0, "left_hand": 468, "pose": 489, "right_hand": 522}
    signs = json.loads((tmp_path / "out/sign_to_prediction_index_map.json").read_text())
    assert signs == {"Straße": 0, "hello": 1, "thank you": 2, "你好": 3}


def test_arrays_of_pictures_have_a_half_subtracted_and_zeros_where_nothing_is_seen(tmp_path):
    directory, content = filled(tmp_path / "landmarks", "openpose_18")
    convert(directory, tmp_path / "out", "stgcn_npy")
    x = np.load(tmp_path / "out/test_data.npy")
    assert x.shape == (1, 3, 6, 18, 2)  # of the longest clip and the most persons of all splits
    before = content["ÿ/Straße"][1]
    seen = np.isfinite(before.visibility.transpose(1, 2, 0))
    np.testing.assert_array_equal(x[0, 0][seen], before.values[..., 0].transpose(1, 2, 0)[seen] - np.float32(0.5))
    np.testing.assert_array_equal(x[0, 2][seen], before.visibility.transpose(1, 2, 0)[seen])
    assert not x[0][:, ~seen].any()
    names, labels = pickle.loads((tmp_path / "out/test_label.pkl").read_bytes())
    assert ([*names], [*labels]) == (["ÿ_Straße.npy"], [0])


def test_a_pickle_has_16_bits_unless_32_are_wanted_and_opens_with_the_older_numpy(tmp_path):
    directory, content = filled(tmp_path / "landmarks", "ntu_25")
    convert(directory, tmp_path / "half", "pyskl_pickle")
    whole = convert(directory, tmp_path / "whole", "pyskl_pickle", "to.float32=true")
    data = (tmp_path / "half/annotations.pkl").read_bytes()
    assert b"numpy.core.multiarray" in data and b"numpy._core" not in data
    for identity, (_, found) in read_back(tmp_path / "whole", whole).items():
        np.testing.assert_array_equal(found.values, content[identity][1].values)
        np.testing.assert_array_equal(found.visibility, content[identity][1].visibility)


def test_a_pickle_larger_than_the_memory_allowed_is_refused(tmp_path):
    directory, _ = filled(tmp_path / "landmarks")
    with pytest.raises(ConfigError, match=r"to.memory_gb: found 1e-06, expected .* in one pickle"):
        convert(directory, tmp_path / "out", "pyskl_pickle", "to.memory_gb=1e-6")
    assert not (tmp_path / "out").exists()


def test_keypoints_of_the_filipino_signs_are_those_of_the_layout_with_their_mask(tmp_path):
    directory, content = filled(tmp_path / "landmarks", "holistic_543")
    convert(directory, tmp_path / "out", "fsl_npz")
    (file,) = (tmp_path / "out/keypoints_test").iterdir()
    with np.load(file) as found:
        x, mask, times = found["X"].reshape(6, 78, 2), found["mask"], found["timestamps_ms"]
        assert json.loads(str(found["meta"]))["id"] == "ÿ/Straße"
    before = as_fsl(content["ÿ/Straße"][1])
    np.testing.assert_array_equal(mask, np.isfinite(before.visibility[0]))
    np.testing.assert_array_equal(x, np.nan_to_num(before.values[0, ..., :2]))
    np.testing.assert_array_equal(times, [0, 40, 80, 120, 160, 200])
    labels = (tmp_path / "out/test_labels.csv").read_text().splitlines()
    assert labels == ["file,gloss,cat,occluded", f"{file.stem},0,0,{labels[1][-1]}"]
    reference = (tmp_path / "out/labels_reference.csv").read_text(encoding="utf-8").splitlines()
    assert reference[:2] == ["gloss_id,label,cat_id,category", "0,Straße,0,greeting"]


def test_a_pose_file_names_its_points_and_holds_pixels(tmp_path):
    directory, content = filled(tmp_path / "landmarks")
    convert(directory, tmp_path / "out", "pose_format")
    data = (tmp_path / "out/test/zoë/Straße/ÿ_Straße.pose").read_bytes()
    assert struct.unpack_from("<f4H", data) == (pytest.approx(0.2), 640, 480, 0, 3)
    assert data.index(b"POSE_LANDMARKS") < data.index(b"LEFT_HAND_LANDMARKS") < data.index(b"RIGHT_HAND_LANDMARKS")
    assert data.count(b"\x11\x00MIDDLE_FINGER_TIP") == 2
    body = struct.calcsize("<fIH") + 6 * 75 * 4 * 4
    assert struct.unpack_from("<fIH", data, len(data) - body) == (25, 6, 1)
    numbers = np.frombuffer(data[-6 * 75 * 16 :], "<f4")
    values, confidence = numbers[: 6 * 75 * 3].reshape(6, 75, 3), numbers[6 * 75 * 3 :].reshape(6, 75)
    before = content["ÿ/Straße"][1]
    np.testing.assert_array_equal(confidence, np.nan_to_num(before.visibility[0]))
    np.testing.assert_allclose(values, np.nan_to_num(before.values[0] * [640, 480, 1]), 1e-6)


# ---------------------------------------------------------------- real recordings


def imported(directory: Path, path: Path) -> Path:
    """A finished store of a folder of landmark files."""
    options = landmark_parquet.Options(path=path)  # pyright: ignore[reportCallIssue]
    rows = [schema.landmarks_row(r, "read", landmark_parquet.read(r, options)) for r in landmark_parquet.clips(options)]
    store.write_table(directory / "shard-0.parquet", schema.to_table(rows, schema.LANDMARKS))
    store.write_card(directory, "landmarks", "read", config={}, counts={}, dropped={}, seconds=0, gone=[])
    return directory


@pytest.mark.real_data
def test_original_asl_signs_come_out_as_they_went_in(tmp_path, real_data):
    convert(imported(tmp_path / "in", real_data / "gislr_official_samples"), tmp_path / "out", "gislr_parquet")
    for row in listed(tmp_path / "out"):
        before = pq.read_table(real_data / "gislr_official_samples" / f"{row['id']}.parquet")
        after = pq.read_table(tmp_path / "out" / row["name"])
        assert after.schema.remove_metadata() == before.schema.remove_metadata()
        assert after.drop_columns(["frame", "row_id"]) == before.drop_columns(["frame", "row_id"])


@pytest.mark.real_data
@pytest.mark.parametrize("kind", ["gesture_parquet", "npz"])
def test_real_words_come_back_to_the_last_bit(tmp_path, real_data, kind):
    directory = imported(tmp_path / "in", real_data / "traduttore_words" / "gislr")
    found = read_back(tmp_path / "out", convert(directory, tmp_path / "out", kind))
    (table,) = (table for _, table in store.tables(directory))
    for about, before in zip(table.to_pylist(), schema.landmarks_of(table), strict=True):
        ref, after = found[about["id"]]
        assert (list(ref.gloss), ref.signer) == (about["gloss"], about["signer"])
        np.testing.assert_array_equal(after.values, before.values)
        np.testing.assert_array_equal(after.visibility, before.visibility)
