"""npz files of one meaning, recognised by their keys: the arrays of CTR-GCN and the features of hands."""

import numpy as np
import pytest
from made_sources import write_ctrgcn, write_hands, write_npz

from raysign.errors import ClipError, SourceError
from raysign.sources import ctrgcn_npz, detect, hand_features_npz
from raysign.sources._arrays import mapped


def ctrgcn(path, **changes):
    return ctrgcn_npz.Options.model_validate({"path": path, **changes})


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_arrays_of_ctrgcn_are_read_person_by_person(tmp_path, save):
    x = write_ctrgcn(tmp_path / "NTU60_CS.npz", save=save)
    assert detect(tmp_path / "NTU60_CS.npz") == "ctrgcn_npz"
    options = ctrgcn(tmp_path / "NTU60_CS.npz")
    refs = ctrgcn_npz.clips(options)
    assert [(ref.id, ref.gloss, ref.split) for ref in refs] == [
        ("train/000000", ("0",), "train"), ("train/000001", ("1",), "train"), ("train/000002", ("2",), "train"),
        ("test/000000", ("0",), "test"),
    ]  # fmt: skip
    found = [ctrgcn_npz.read(ref, options) for ref in refs]
    assert [one.values.shape for one in found] == [(people, 5, 25, 3) for people in (1, 2, 1, 1)]
    np.testing.assert_array_equal(found[0].values, found[3].values)
    for one, clip in zip(found, x, strict=False):
        expected = clip[:5].swapaxes(0, 1)[: len(one.values)]
        seen = np.isfinite(one.values)
        np.testing.assert_array_equal(seen.all(-1), expected.any(-1))
        np.testing.assert_array_equal(one.values[seen], expected[seen])
        assert np.isnan(one.values[:, 2, 4]).all()


def test_a_person_who_is_absent_leaves_no_gap_before_one_who_is_there(tmp_path):
    x = np.zeros((1, 4, 2, 25, 3), np.float32)
    x[:, :, 1] = np.random.default_rng(0).normal(size=(1, 4, 25, 3))
    flat = x.reshape(1, 4, 150)
    write_npz(tmp_path / "a.npz", x_train=flat, y_train=np.eye(1), x_test=flat, y_test=np.eye(1))
    found = ctrgcn_npz.read(ctrgcn_npz.clips(ctrgcn(tmp_path / "a.npz"))[0], ctrgcn(tmp_path / "a.npz"))
    np.testing.assert_array_equal(found.values[0], x[0, :, 1])
    assert len(found.values) == 1


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_uncompressed_array_is_mapped_and_a_compressed_one_gives_the_same(tmp_path, order):
    x = np.array(np.random.default_rng(0).normal(size=(5, 6)), order=order)
    np.savez(tmp_path / "a.npz", first=np.arange(3), x=x)
    np.savez_compressed(tmp_path / "b.npz", x=x)
    plain, packed = (mapped(str(tmp_path / name), "1", "x") for name in ("a.npz", "b.npz"))
    assert isinstance(plain, np.memmap)
    np.testing.assert_array_equal(plain, x)
    np.testing.assert_array_equal(packed, x)


def test_classes_of_ctrgcn_take_the_names_of_a_list(tmp_path):
    write_ctrgcn(tmp_path / "a.npz")
    (tmp_path / "names.txt").write_text("drink\neat\nbrush\n")
    (tmp_path / "short.txt").write_text("drink\neat\n")
    refs = ctrgcn_npz.clips(ctrgcn(tmp_path / "a.npz", label_names=tmp_path / "names.txt"))
    assert [ref.gloss[0] for ref in refs] == ["drink", "eat", "brush", "drink"]
    with pytest.raises(SourceError, match=r"3 classes, but .*short.txt names 2"):
        ctrgcn_npz.clips(ctrgcn(tmp_path / "a.npz", label_names=tmp_path / "short.txt"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x_train": np.zeros((3, 6, 149))}, r"shape \(3, 6, 149\), expected \(clips, frames, persons x 75\)"),
        ({"x_train": np.zeros((3, 900))}, "expected .clips, frames"), ({"y_train": np.eye(2)}, "labels of 3 clips"),
        ({"y_train": np.arange(3)}, "expected one-hot"), ({"y_train": np.zeros((3, 3))}, "expected one-hot"),
        ({"y_test": np.array([["a"]])}, "`y_test` .* expected one-hot"),
    ],
)  # fmt: skip
def test_arrays_of_ctrgcn_that_do_not_fit_are_refused(tmp_path, change, said):
    write_ctrgcn(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as archive:
        write_npz(tmp_path / "b.npz", **{**archive, **change})
    with pytest.raises(SourceError, match=said):
        ctrgcn_npz.clips(ctrgcn(tmp_path / "b.npz"))


def hands(path):
    return hand_features_npz.Options.model_validate({"path": path})


def test_the_features_of_a_hand_are_its_points_from_the_wrist(tmp_path):
    features = write_hands(tmp_path / "asl.npz")
    assert detect(tmp_path / "asl.npz") == "hand_features_npz"
    refs = hand_features_npz.clips(hands(tmp_path / "asl.npz"))
    assert [(ref.id, ref.gloss) for ref in refs] == [(f"asl/{i:06d}", (name,)) for i, name in enumerate("ABC")]
    for ref, row in zip(refs, features, strict=True):
        found = hand_features_npz.read(ref, hands(tmp_path / "asl.npz"))
        assert found.layout == "hand_21"
        np.testing.assert_array_equal(found.values[0, 0], row[:63].reshape(21, 3))
        assert (found.visibility == 1).all()  # the wrist, which is at 0, among them


def test_a_row_without_a_hand_goes_to_quarantine(tmp_path):
    features = np.ones((2, 84), np.float32)
    features[0, :63], features[1, 5] = 0, np.nan
    write_npz(tmp_path / "a.npz", features=features, labels=[0, 0], label_names=["A"])
    for ref in hand_features_npz.clips(hands(tmp_path / "a.npz")):
        with pytest.raises(ClipError, match="no hand"):
            hand_features_npz.read(ref, hands(tmp_path / "a.npz"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features": np.ones((2, 63))}, r"shape \(2, 63\), expected \(2 labels, 84\)"),
        ({"labels": [0]}, r"expected \(1 labels, 84\)"), ({"labels": [0, 2]}, "no number from 0 to 1"),
        ({"labels": [0, -1]}, "no number from 0 to 1"), ({"labels": ["A", "B"]}, "no number from 0 to 1"),
    ],
)  # fmt: skip
def test_features_that_do_not_fit_their_labels_are_refused(tmp_path, change, said):
    good = {"features": np.ones((2, 84)), "labels": [0, 1], "label_names": ["A", "B"]}
    write_npz(tmp_path / "a.npz", **{**good, **change})
    with pytest.raises(SourceError, match=said):
        hand_features_npz.clips(hands(tmp_path / "a.npz"))
