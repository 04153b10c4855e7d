"""What each format that landmarks are written in looks like, and real recordings there and back."""

import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_conversions import as_fsl, convert, filled, listed, read_back

from raysign import schema, store
from raysign.errors import ConfigError
from raysign.sources import landmark_parquet
from raysign.writers._clips import LEAST


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
    np.testing.assert_allclose(x[0, 0][seen], before.values[..., 0].transpose(1, 2, 0)[seen] - 0.5, 0, LEAST)
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
        np.testing.assert_allclose(found.values, content[identity][1].values, 0, LEAST)
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
    np.testing.assert_allclose(x, np.nan_to_num(before.values[0, ..., :2]), 0, LEAST)
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
    np.testing.assert_allclose(values, np.nan_to_num(before.values[0] * [640, 480, 1]), 1e-6, LEAST)


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
