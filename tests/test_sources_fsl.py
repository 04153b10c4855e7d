"""Folders of npz files and their tables of labels, as of FSL-105."""

import shutil

import numpy as np
import pytest
from made_sources import write_fsl, write_npz

from raysign.errors import ClipError, SourceError
from raysign.sources import detect, fsl_npz

ROWS = {"train": [("a", "0", "0", "0"), ("b", "2", "1", "1")], "val": [("c", "1", "0", "0")]}
REFERENCE = "gloss_id,label,cat_id,category\n0,HELLO,0,GREETING\n1,GOOD DAY,0,GREETING\n2,ONE,1,NUMBER\n"


def fsl(path, **changes):
    return fsl_npz.Options.model_validate({"path": path, **changes})


def read(root, name, **changes):
    refs = {ref.id: ref for ref in fsl_npz.clips(fsl(root, **changes))}
    return fsl_npz.read(refs[name], fsl(root, **changes))


def test_every_split_is_read_with_the_names_of_its_numbers(tmp_path):
    made = write_fsl(tmp_path, ROWS)
    (tmp_path / "labels_reference.csv").write_text(REFERENCE)
    assert detect(tmp_path) == "fsl_npz"
    refs = fsl_npz.clips(fsl(tmp_path))
    assert [(ref.id, ref.gloss, ref.category, ref.split) for ref in refs] == [
        ("keypoints_train/a", ("HELLO",), "GREETING", "train"), ("keypoints_train/b", ("ONE",), "NUMBER", "train"),
        ("keypoints_val/c", ("GOOD DAY",), "GREETING", "val"),
    ]  # fmt: skip
    for ref in refs:
        found, (x, mask) = fsl_npz.read(ref, fsl(tmp_path)), made[ref.id[-1]]
        assert (found.layout, round(found.fps, 3)) == ("fsl_78", 30)
        np.testing.assert_array_equal(np.isfinite(found.values[0, ..., 0]), mask)
        np.testing.assert_array_equal(found.values[0][mask][:, :2], x.reshape(-1, 78, 2)[mask])
        assert (found.visibility[0][mask] == 1).all()


def test_numbers_stay_numbers_and_names_names_without_a_reference(tmp_path):
    write_fsl(tmp_path, {"train": [("a.npz", "HELLO", "GREETING", "False"), ("b", "7", "0", "")]})
    (tmp_path / "keypoints_train" / "a.npz.npz").rename(tmp_path / "keypoints_train" / "a.npz")
    refs = fsl_npz.clips(fsl(tmp_path))
    assert [(ref.gloss, ref.category) for ref in refs] == [(("HELLO",), "GREETING"), (("7",), "0")]


def test_a_clip_that_is_told_to_be_occluded_says_so_and_is_read_again_when_that_changes(tmp_path):
    write_fsl(tmp_path, ROWS)
    assert read(tmp_path, "keypoints_train/a").note == ""
    assert "occluded" in read(tmp_path, "keypoints_train/b").note
    before = fsl_npz.clips(fsl(tmp_path))[1].stamp
    table = tmp_path / "train_labels.csv"
    table.write_text(table.read_text().replace("b,2,1,1", "b,2,1,0"))
    assert fsl_npz.clips(fsl(tmp_path))[1].stamp != before
    assert read(tmp_path, "keypoints_train/b").note == ""


def test_a_row_without_a_file_and_a_file_without_a_row_cost_nothing_else(tmp_path):
    write_fsl(tmp_path, ROWS)
    (tmp_path / "keypoints_train" / "a.npz").rename(tmp_path / "keypoints_train" / "new.npz")
    refs = fsl_npz.clips(fsl(tmp_path))
    assert [(ref.id, ref.gloss) for ref in refs] == [
        ("keypoints_train/a", ("0",)), ("keypoints_train/b", ("2",)), ("keypoints_train/new", ()),
        ("keypoints_val/c", ("1",)),
    ]  # fmt: skip
    with pytest.raises(ClipError, match=r"a.npz: the file is missing, and the labels name it"):
        read(tmp_path, "keypoints_train/a")
    assert "no row of the labels names its file" in read(tmp_path, "keypoints_train/new").note


def test_one_folder_with_a_table_elsewhere_is_read_too(tmp_path):
    write_fsl(tmp_path, ROWS)
    folder, table = tmp_path / "keypoints_train", tmp_path / "train_labels.csv"
    refs = fsl_npz.clips(fsl(folder, labels=table))
    assert [(ref.id, ref.gloss, ref.split) for ref in refs] == [("a", ("0",), "train"), ("b", ("2",), "train")]
    shutil.copy(table, folder)
    assert [ref.id for ref in fsl_npz.clips(fsl(folder))] == ["a", "b"]


def test_without_a_mask_zeros_are_not_seen_and_without_times_the_rate_is_unknown(tmp_path):
    write_fsl(tmp_path, ROWS)
    x = np.full((3, 156), 0.5, np.float32)
    x[1, :2] = 0
    write_npz(tmp_path / "keypoints_train" / "a.npz", X=x)
    found = read(tmp_path, "keypoints_train/a")
    assert np.argwhere(np.isnan(found.visibility)).tolist() == [[0, 1, 0]]
    assert found.fps == 0


def test_features_of_the_frames_are_read_where_a_file_has_them(tmp_path):
    write_fsl(tmp_path, ROWS)
    x2048 = np.random.default_rng(0).normal(size=(3, 2048)).astype(np.float32)
    write_npz(tmp_path / "keypoints_train" / "a.npz", X=np.full((3, 156), 0.5), X2048=x2048)
    found, without = (read(tmp_path, f"keypoints_train/{name}") for name in "ab")
    assert found.features is not None
    np.testing.assert_array_equal(found.features, x2048)
    assert (found.features_kind, without.features) == ("inception_v3", None)


@pytest.mark.parametrize("key", ["X2048", "X"])
def test_files_of_features_alone_are_clips_without_points(tmp_path, key):
    write_fsl(tmp_path, ROWS)
    x2048 = np.random.default_rng(0).normal(size=(3, 2048)).astype(np.float32)
    write_npz(tmp_path / "features_train" / "b.npz", **{key: x2048, "timestamps_ms": np.arange(3) * 40})
    found = read(tmp_path, "features_train/b", folder="features")
    np.testing.assert_array_equal(found.features, x2048)
    assert (found.layout, found.values.shape, found.fps) == ("no_points", (1, 3, 0, 3), 25)
    assert "occluded" in found.note


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"X": np.ones((3, 156)), "X2048": np.ones((2, 2048))}, "X2048 of 2 frames, expected the 3 of X"),
        ({"X": np.ones((3, 156)), "X2048": np.ones((3, 2047))}, r"shape \(3, 2047\), expected \(frames, 2048\)"),
        ({"mask": np.ones((3, 78), bool)}, "no key 'X', found mask"),
        ({"X2048": np.ones((3, 2047))}, r"shape \(3, 2047\), expected \(frames, 2048\)"),
        ({"X": np.ones((3, 178))}, r"X has shape \(3, 178\) and mask \(3, 78\) of bool, expected \(frames, 156\)"),
        ({"X": np.ones((3, 156)), "mask": np.ones((2, 78), bool)}, r"mask \(2, 78\)"),
        ({"X": np.ones((3, 156)), "mask": np.zeros((3, 78), bool)}, "no point is seen in any of 3 frames"),
        ({"X": np.zeros((3, 156))}, "no point is seen"), ({"X": np.array(["a"])}, "expected numbers"),
        ({"X": np.ones(())}, "expected .frames, 156"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_goes_to_quarantine(tmp_path, arrays, said):
    write_fsl(tmp_path, ROWS)
    write_npz(tmp_path / "keypoints_train" / "a.npz", **arrays)
    with pytest.raises(ClipError, match=said):
        read(tmp_path, "keypoints_train/a")
    assert read(tmp_path, "keypoints_train/b").values.shape == (1, 5, 78, 3)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("name,gloss,cat\na,0,0\n", "no column 'file'"), ("file,gloss,cat\na,0,0\na,1,0\n", "listed twice"),
        ("file,gloss,cat\na,0,0\na.npz,1,0\n", "a.npz is named twice"),
        ("file,gloss,cat\na,9,0\n", "the reference does not name 9"),
    ],
)  # fmt: skip
def test_a_table_that_contradicts_itself_is_refused(tmp_path, table, said):
    write_fsl(tmp_path, ROWS)
    (tmp_path / "labels_reference.csv").write_text(REFERENCE)
    (tmp_path / "train_labels.csv").write_text(table)
    with pytest.raises(SourceError, match=said):
        fsl_npz.clips(fsl(tmp_path))


def test_a_folder_without_labels_is_refused(tmp_path):
    write_npz(tmp_path / "a.npz", X=np.ones((3, 156)))
    assert not fsl_npz.recognises(tmp_path)
    with pytest.raises(SourceError, match=r"found no \*labels.csv"):
        fsl_npz.clips(fsl(tmp_path))


@pytest.mark.real_data
def test_the_published_names_of_fsl_105_are_read(real_data, tmp_path):
    shutil.copy(real_data / "labels/fsl105/labels_reference.csv", tmp_path)
    glosses, categories = fsl_npz._names(fsl(tmp_path))
    assert (len(glosses), len(set(glosses.values())), len(set(categories.values()))) == (105, 105, 10)
