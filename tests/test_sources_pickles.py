"""Arrays of st-gcn, pickles of pyskl and OpenHands; and that a pickle is read as data and never run."""

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from made_sources import write_openhands, write_pyskl, write_stgcn

from raysign.errors import ClipError, SourceError
from raysign.sources import _plain_pickle, detect, openhands_pickle, pyskl_pickle, stgcn_npy

# ---------------------------------------------------------------- st-gcn arrays


def stgcn(path, **changes):
    return stgcn_npy.Options.model_validate({"path": path, **changes})


@pytest.mark.parametrize(("points", "layout"), [(25, "ntu_25"), (18, "openpose_18"), (24, "ntu_edge_24")])
@pytest.mark.parametrize("protocol", [2, 5])
def test_the_arrays_of_stgcn_are_read_joint_by_joint(tmp_path, points, layout, protocol):
    x = write_stgcn(tmp_path / "data", points, protocol=protocol)
    assert detect(tmp_path / "data") == "stgcn_npy"
    options = stgcn(tmp_path / "data")
    refs = stgcn_npy.clips(options)
    assert [(ref.id, ref.gloss, ref.split) for ref in refs] == [(f"clip{i}", (str(i),), "train") for i in range(3)]
    found = [stgcn_npy.read(ref, options) for ref in refs]
    assert [one.layout for one in found] == [layout] * 3
    assert [one.values.shape[:2] for one in found] == [(2, 5), (1, 8), (2, 8)]
    assert np.isnan(found[0].values[:, :, 3]).all()
    expected = x[2].transpose(3, 1, 2, 0)
    if layout == "openpose_18":
        assert np.allclose(found[2].values[..., :2], expected[..., :2] + 0.5)
        assert np.allclose(found[2].visibility, expected[..., 2])
        assert (found[2].values[..., 2] == 0).all()
    else:
        assert np.array_equal(found[2].values, expected)


def test_label_numbers_take_the_names_of_a_list(tmp_path):
    write_stgcn(tmp_path / "data")
    (tmp_path / "names.txt").write_text("drink\neat\nbrush teeth\n")
    refs = stgcn_npy.clips(stgcn(tmp_path / "data", label_names=tmp_path / "names.txt"))
    assert [ref.gloss for ref in refs] == [("drink",), ("eat",), ("brush teeth",)]


def test_clips_of_one_name_in_two_folders_are_two(tmp_path):
    np.save(tmp_path / "val_data.npy", np.ones((2, 3, 8, 25, 1), np.float32))
    (tmp_path / "val_label.pkl").write_bytes(pickle.dumps((["hello/1.mp4", "bye/1.mp4"], [0, 1])))
    assert [ref.id for ref in stgcn_npy.clips(stgcn(tmp_path))] == ["hello/1", "bye/1"]


def test_clips_that_are_numbered_anew_in_each_file_are_told_apart_by_it(tmp_path):
    for split in ("train", "val"):
        write_stgcn(tmp_path, split=split)
    np.save(tmp_path / "test_data.npy", np.ones((1, 3, 8, 25, 1), np.float32))
    (tmp_path / "test_label.pkl").write_bytes(pickle.dumps((["another"], [0])))
    named = [(ref.id, ref.split) for ref in stgcn_npy.clips(stgcn(tmp_path))]
    assert named == [("another", "test"), *((f"{s}_data/clip{i}", s) for s in ("train", "val") for i in range(3))]
    (tmp_path / "val_label.pkl").write_bytes(pickle.dumps((["clip0"] * 3, [0, 1, 2])))
    with pytest.raises(SourceError, match="found more than once: val_data/clip0"):
        stgcn_npy.clips(stgcn(tmp_path))


def test_streams_of_the_same_clips_are_not_taken_together(tmp_path):
    write_stgcn(tmp_path)
    for name in ("joint", "bone"):
        np.save(tmp_path / f"train_data_{name}.npy", np.load(tmp_path / "train_data.npy"))
    (tmp_path / "train_data.npy").unlink()
    with pytest.raises(SourceError, match=r"data_bone\.npy and train_data_joint\.npy have the same labels"):
        stgcn_npy.clips(stgcn(tmp_path))
    assert len(stgcn_npy.clips(stgcn(tmp_path / "train_data_joint.npy"))) == 3


@pytest.mark.parametrize(
    ("array", "labels", "said"),
    [
        (np.zeros((3, 3, 8, 25), np.float32), (["a"] * 3, [0] * 3), "expected floats"),
        (np.zeros((2, 3, 8, 25, 1), np.float32), (["a"], [0]), "1 names and 1 labels for the 2 clips"),
        (np.zeros((1, 3, 8, 25, 1), np.float32), ["a"], r"expected \(names, labels\)"),
        (np.zeros((1, 3, 8, 25, 1), np.float32), (["a"], ["b"]), "a label is no number"),
        (np.zeros((1, 3, 8, 25, 1), np.float32), (["a"], [-1]), "a label is no number"),
        (np.zeros((1, 3, 8, 25, 1), np.float32), ([["a"]], [0]), "a name is no text"),
    ],
)
def test_arrays_and_labels_that_do_not_fit_are_refused(tmp_path, array, labels, said):
    np.save(tmp_path / "val_data.npy", array)
    (tmp_path / "val_label.pkl").write_bytes(pickle.dumps(labels))
    with pytest.raises(SourceError, match=said):
        stgcn_npy.clips(stgcn(tmp_path))


# ---------------------------------------------------------------- pyskl


def pyskl(path, **changes):
    return pyskl_pickle.Options.model_validate({"path": path, **changes})


def test_a_pickle_of_pyskl_is_read_in_image_units_with_its_split(tmp_path):
    keypoint, score = write_pyskl(tmp_path / "a.pkl")
    options = pyskl(tmp_path / "a.pkl", benchmark="xsub")
    refs = pyskl_pickle.clips(options)
    assert [(r.id, r.gloss, r.split) for r in refs] == [
        ("clip0", ("0",), "train"), ("clip1", ("1",), "val"), ("clip2", ("0",), "train"),
    ]  # fmt: skip
    found = pyskl_pickle.read(refs[0], options)
    assert (found.layout, found.width, found.height) == ("coco_17", 640, 480)
    assert np.isnan(found.values[1, 2]).all()
    seen = np.isfinite(found.values[..., 0])
    assert np.allclose(found.values[..., 0][seen], keypoint[0][..., 0][seen] / 640)
    assert np.allclose(found.values[..., 1][seen], keypoint[0][..., 1][seen] / 480)
    assert np.allclose(found.visibility[seen], score[0][seen])


@pytest.mark.parametrize("before", ["", "hmdb_"])
def test_divisions_may_be_numbered_at_their_end(tmp_path, before):
    names = ["clip0", "clip1"]
    split = {f"{before}{end}{i}": [names[i ^ j]] for i in range(2) for j, end in enumerate(("train", "test"))}
    write_pyskl(tmp_path / "a.pkl", split=split)
    for number in (0, 1):
        refs = pyskl_pickle.clips(pyskl(tmp_path / "a.pkl", benchmark=f"{before}{number}" if before else number))
        assert [ref.split for ref in refs] == [["train", "test"], ["test", "train"]][number]


def test_the_size_of_the_picture_may_be_an_array(tmp_path):
    keypoint, _ = write_pyskl(tmp_path / "a.pkl", split={})
    tree = pickle.loads((tmp_path / "a.pkl").read_bytes())
    for one in tree["annotations"]:
        one["img_shape"] = np.array(one["img_shape"])
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(tree))
    options = pyskl(tmp_path / "a.pkl")
    found = pyskl_pickle.read(pyskl_pickle.clips(options)[1], options)
    np.testing.assert_allclose(found.values[..., 1], keypoint[1][..., 1] / 480)


def test_three_channels_of_pyskl_are_metres(tmp_path):
    keypoint, _ = write_pyskl(tmp_path / "a.pkl", channels=3, points=25)
    options = pyskl(tmp_path / "a.pkl", benchmark="xsub")
    found = pyskl_pickle.read(pyskl_pickle.clips(options)[0], options)
    assert found.layout == "ntu_25"
    assert np.array_equal(found.values, keypoint[0])


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({}, {}, "found divisions 'xsub', 'xview'; set source.benchmark"),
        ({}, {"benchmark": "xsup"}, "did you mean 'xsub'"),
        ({"annotations": [{"label": 1}]}, {"benchmark": "xsub"}, "annotation 0: KeyError 'frame_dir'"),
        ({"annotations": [3]}, {"benchmark": "xsub"}, "an annotation is no mapping"),
        (
            {"annotations": [{"frame_dir": "a", "label": -1}]},
            {"benchmark": "xsub"},
            "annotation 0: IndexError label -1",
        ),
        ({"annotations": {}}, {"benchmark": "xsub"}, "expected a pickle of split and annotations"),
    ],
)
def test_a_pickle_that_is_none_of_pyskl_is_refused(tmp_path, change, options, said):
    write_pyskl(tmp_path / "a.pkl", **change)
    with pytest.raises(SourceError, match=said):
        pyskl_pickle.clips(pyskl(tmp_path / "a.pkl", **options))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"keypoint": np.ones((6, 17, 2))}, "expected \\(persons, frames, points, 2 or 3"),
        ({"keypoint": np.ones((1, 6, 19, 2))}, "19 points, which is not a known layout"),
        ({"img_shape": None}, "no img_shape"),
        ({"keypoint_score": np.ones(3)}, "scores of shape"),
        ({"frame_inds": [1]}, "compressed form"),
        ({"keypoint": [["a"]]}, "array of <U1, expected numbers"),
        ({"keypoint": [[1], [1, 2]]}, "no array of numbers"),
        ({"keypoint_score": np.zeros((1, 6, 17))}, "no point is seen"),
    ],
)
def test_a_wrong_annotation_costs_its_clip_only(tmp_path, wrong, said):
    good = {"frame_dir": "a", "label": 0, "img_shape": (480, 640), "keypoint": np.ones((1, 6, 17, 2))}
    annotations = [good, {**good, "frame_dir": "b", **wrong}]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"annotations": annotations}))
    options = pyskl(tmp_path / "a.pkl")
    first, second = pyskl_pickle.clips(options)
    assert pyskl_pickle.read(first, options).values.shape == (1, 6, 17, 3)
    with pytest.raises(ClipError, match=said):
        pyskl_pickle.read(second, options)


# ---------------------------------------------------------------- OpenHands


def openhands(path, **changes):
    return openhands_pickle.Options.model_validate({"path": path, **changes})


@pytest.mark.parametrize(
    ("points", "channels", "name"), [(75, 3, "holistic_75"), (75, 2, "holistic_75"), (27, 2, "minimal_27")]
)
def test_a_pickle_of_openhands_is_a_clip_of_its_folder(tmp_path, points, channels, name):
    x, scores = write_openhands(tmp_path / "hello" / "a.pkl", points, channels)
    (ref,) = openhands_pickle.clips(openhands(tmp_path))
    assert (ref.id, ref.gloss) == ("hello/a.pkl", ("hello",))
    found = openhands_pickle.read(ref, openhands(tmp_path))
    seen = x.any(-1)
    assert found.layout == name
    np.testing.assert_array_equal(np.isfinite(found.values[0, ..., 0]), seen)
    np.testing.assert_array_equal(found.values[0][seen][:, :channels], x[seen].astype(np.float32))
    np.testing.assert_array_equal(found.visibility[0][seen], scores[seen].astype(np.float32))


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ([], "TypeError"), ({"keypoints": np.ones((4, 75))}, r"keypoints of shape \(4, 75\)"),
        ({"keypoints": np.ones((4, 75, 4))}, r"shape \(4, 75, 4\)"), ({}, "KeyError 'keypoints'"),
        ({"keypoints": np.ones((4, 75, 2)), "confidences": np.ones((3, 75))}, r"confidences of \(3, 75\)"),
        ({"keypoints": np.zeros((4, 75, 2))}, "no point is seen"), ({"keypoints": np.ones((4, 9, 2))}, "9 points"),
    ],
)  # fmt: skip
def test_a_pickle_that_is_none_of_openhands_goes_to_quarantine(tmp_path, tree, said):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(tree))
    (ref,) = openhands_pickle.clips(openhands(tmp_path))
    with pytest.raises(ClipError, match=said):
        openhands_pickle.read(ref, openhands(tmp_path))


# ---------------------------------------------------------------- pickles


class Harm:
    def __reduce__(self):
        return os.system, ("touch harmed",)


@pytest.mark.parametrize(
    "harmful", [Harm(), [1, {"a": Harm()}], np.array([Harm()], dtype=object), OrderedDict(a=Harm())], ids=repr
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(tmp_path, monkeypatch, harmful, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(harmful, protocol))
    with pytest.raises(SourceError, match="system, which is no plain data"):
        _plain_pickle.load(tmp_path / "a.pkl")
    assert not (tmp_path / "harmed").exists()


class Lying:
    """Reduces to what it is told to."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def test_a_pickle_cannot_make_numpy_take_numbers_for_addresses(tmp_path):
    make, arguments, _ = np.zeros(1).__reduce__()
    flags_of_a_number = (3, "|", None, None, None, -1, -1, 0)
    kind = Lying(np.dtype, ("O8", False, True), flags_of_a_number)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Lying(make, arguments, (1, (1,), kind, False, bytes(8)))))
    with pytest.raises(SourceError, match="not readable as a pickle"):
        _plain_pickle.load(tmp_path / "a.pkl")


@pytest.mark.parametrize("kind", ["O", "V8", "i8"])
@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_cannot_make_numpy_take_bytes_for_an_array(tmp_path, kind, protocol):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Lying(np.ndarray, ((1,), kind, bytes(16))), protocol))
    with pytest.raises(SourceError, match="not readable as a pickle"):
        _plain_pickle.load(tmp_path / "a.pkl")


@pytest.mark.parametrize("kind", ["i4,f8", "M8[D]", "V4"])
def test_arrays_of_neither_numbers_nor_text_are_refused(tmp_path, kind):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(np.zeros(2, kind)))
    with pytest.raises(SourceError, match="only lists, dicts and arrays of numbers and text"):
        _plain_pickle.load(tmp_path / "a.pkl")


@pytest.mark.parametrize("kind", [">f8", "<i2", "?", "c8", "<U3", "S3", "O"])
def test_arrays_come_back_as_they_were_in_either_order_of_bytes_and_axes(tmp_path, kind):
    array = np.array([[1, 0, 1], [0, 1, 0]]).astype(kind)
    for protocol in range(6):
        for one in (array, array.T, array[:, 1], array[0, 0]):
            (tmp_path / "a.pkl").write_bytes(pickle.dumps(one, protocol))
            np.testing.assert_array_equal(_plain_pickle.load(tmp_path / "a.pkl"), one)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_are_read(tmp_path, protocol):
    value = {
        "split": {"train": ["a", "b"]}, "annotations": [{"keypoint": np.arange(6, dtype=np.float16).reshape(2, 3),
        "label": np.int64(3), "img_shape": (1080, 1920), "name": "händ"}], "flags": np.array([True]), "none": None,
    }  # fmt: skip
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, protocol))
    found = _plain_pickle.load(tmp_path / "a.pkl")
    assert np.array_equal(found["annotations"][0]["keypoint"], value["annotations"][0]["keypoint"])
    assert found["annotations"][0]["label"] == 3
    assert found["annotations"][0]["name"] == "händ"
    assert found["split"] == value["split"]
