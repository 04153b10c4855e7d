"""Landmarks written out to each format and read back by its source: equal but for what the format says it loses."""

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_conversions import (
    ANY,
    CLIPS,
    KEPT,
    KINDS,
    LOST,
    MEANT,
    NEAR,
    OWN,
    SPLITS,
    convert,
    filled,
    listed,
    read_back,
    writer,
)

from raysign import schema, store
from raysign.errors import ConfigError, StoreError
from raysign.kinds import kinds
from raysign.schema import ClipRef, Landmarks
from raysign.sources.stgcn_npy import SCORED
from raysign.writers._clips import file_names, zeros_on_disk


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in KINDS for name in writer(kind).LAYOUTS or ANY],
    ids=lambda word: "own" if word == OWN else word,
)
@pytest.mark.parametrize("splits", SPLITS)
def test_what_is_written_is_read_back_by_its_source_but_for_what_is_said_to_be_lost(tmp_path, kind, name, splits):
    assert writer(kind).READ_BY in kinds("source")
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
        assert landmarks.features_kind == (before.features_kind if "features" in KEPT[kind] else "")
        if landmarks.features is not None:
            np.testing.assert_array_equal(landmarks.features, before.features)


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
