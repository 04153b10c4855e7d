"""Skeletons of action recognition: NTU text, st-gcn arrays, and pickles that must not run."""

import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from raysign import config
from raysign.clips.recipes import joint_centered
from raysign.config import kind_module
from raysign.errors import ClipError, RaysignError, SourceError
from raysign.skeleton import layout
from raysign.sources import _plain_pickle, detect, kinetics_json, npz, ntu_skeleton, pyskl_pickle, stgcn_npy

# ---------------------------------------------------------------- NTU


def body(rng, identity, state=2):
    """One body's lines, and its joints (25, 3)."""
    joints = rng.normal(size=(25, 3)).round(4)
    lines = [f"{identity} 0 1 1 1 1 0 0.01 -0.2 2", "25"]
    lines += [f"{x} {y} {z} 277.4 191.8 1036.2 519.0 -0.2 0.03 0.98 0.01 {state}" for x, y, z in joints]
    return lines, joints


def write_ntu(file, frames):
    """frames: for each the ids of its bodies. Returns the joints by (frame, id)."""
    rng, lines, truth = np.random.default_rng(0), [str(len(frames))], {}
    for t, ids in enumerate(frames):
        lines.append(str(len(ids)))
        for identity in ids:
            told, truth[t, identity] = body(rng, identity)
            lines += told
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return truth


def ntu(path, **changes):
    return ntu_skeleton.Options.model_validate({"path": path, **changes})


def test_a_person_of_ntu_is_its_id_whatever_its_place_in_a_frame(tmp_path):
    truth = write_ntu(tmp_path / "S001C002P003R002A013.skeleton", [[7, 8], [8, 7], [8], []])
    (ref,) = ntu_skeleton.clips(ntu(tmp_path))
    assert (ref.id, ref.gloss, ref.signer, ref.split) == ("S001C002P003R002A013", ("A013",), "P003", None)
    found = ntu_skeleton.read(ref, ntu(tmp_path))
    assert found.values.shape == (2, 4, 25, 3)
    for t, identity, person in ((0, 8, 0), (1, 8, 0), (2, 8, 0), (0, 7, 1), (1, 7, 1)):
        assert np.allclose(found.values[person, t], truth[t, identity], atol=1e-6)
        assert (found.visibility[person, t] == 1).all()
    assert np.isnan(found.values[:, 3]).all()
    assert np.isnan(found.values[1, 2]).all()


@pytest.mark.parametrize(
    ("benchmark", "name", "split"),
    [
        ("xsub", "S001C001P001R001A001", "train"), ("xsub", "S001C001P003R001A001", "test"),
        ("xsub", "S020C001P103R001A120", "train"), ("xview", "S001C001P001R001A001", "test"),
        ("xview", "S001C003P001R001A001", "train"), ("xset", "S018C001P001R001A061", "train"),
        ("xset", "S019C001P001R001A061", "test"),
    ],
)  # fmt: skip
def test_the_benchmarks_of_ntu_split_by_what_the_name_says(tmp_path, benchmark, name, split):
    write_ntu(tmp_path / f"{name}.skeleton", [[1]])
    assert [ref.split for ref in ntu_skeleton.clips(ntu(tmp_path, benchmark=benchmark))] == [split]


def test_the_larger_ntu_trains_on_its_53_performers():
    assert len(ntu_skeleton.TRAIN_SUBJECTS) == 53
    assert sum(subject <= 40 for subject in ntu_skeleton.TRAIN_SUBJECTS) == 20


def test_clips_listed_as_missing_are_left_out(tmp_path):
    for name in ("S001C001P001R001A001", "S001C001P001R001A002"):
        write_ntu(tmp_path / f"{name}.skeleton", [[1]])
    (tmp_path / "missing.txt").write_text("S001C001P001R001A002\n")
    refs = ntu_skeleton.clips(ntu(tmp_path, missing=tmp_path / "missing.txt"))
    assert [ref.id for ref in refs] == ["S001C001P001R001A001"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[: len(text) // 2], "ends in the middle|expected numbers"),
        (lambda text: text.replace("25\n", "20\n", 1), "found 20 joints"),
        (lambda text: "x" + text, "found invalid literal"),
        (lambda text: "-3" + text[1:], "found a count of -3"),
        (lambda _: "0\n", "no body in any of 0 frames"),
        (lambda _: "", "ends in the middle"),
    ],
)
def test_a_torn_skeleton_file_is_a_clip_error(tmp_path, change, said):
    file = tmp_path / "S001C001P001R001A001.skeleton"
    write_ntu(file, [[1], [1]])
    file.write_text(change(file.read_text()))
    (ref,) = ntu_skeleton.clips(ntu(tmp_path))
    with pytest.raises(ClipError, match=said):
        ntu_skeleton.read(ref, ntu(tmp_path))


def test_a_skeleton_file_of_another_name_is_refused(tmp_path):
    write_ntu(tmp_path / "waving.skeleton", [[1]])
    with pytest.raises(SourceError, match="expected a name such as S001C002P003R002A013"):
        ntu_skeleton.clips(ntu(tmp_path))


# ---------------------------------------------------------------- st-gcn arrays


def write_stgcn(folder, points=25, clips=3, frames=8, protocol=2):
    rng = np.random.default_rng(points)
    x = rng.uniform(-0.4, 0.4, (clips, 3, frames, points, 2)).astype(np.float32)
    x[:, 2] = rng.uniform(0.2, 1, x[:, 2].shape)
    x[0, :, 5:] = x[0, :, :, 3] = x[1, ..., 1] = 0
    folder.mkdir(exist_ok=True)
    np.save(folder / "train_data.npy", x)
    names = [f"clip{i}.skeleton" for i in range(clips)]
    with (folder / "train_label.pkl").open("wb") as file:
        pickle.dump((names, list(range(clips))), file, protocol)
    return x


def stgcn(path, **changes):
    return stgcn_npy.Options.model_validate({"path": path, **changes})


@pytest.mark.parametrize(("points", "layout"), [(25, "ntu_25"), (18, "openpose_18"), (24, "ntu_edge_24")])
@pytest.mark.parametrize("protocol", [2, 5])
def test_the_arrays_of_stgcn_are_read_joint_by_joint(tmp_path, points, layout, protocol):
    x = write_stgcn(tmp_path / "data", points, protocol=protocol)
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


@pytest.mark.parametrize(
    ("array", "labels", "said"),
    [
        (np.zeros((3, 3, 8, 25), np.float32), (["a"] * 3, [0] * 3), "expected floats"),
        (np.zeros((2, 3, 8, 25, 1), np.float32), (["a"], [0]), "1 labels for the 2 clips"),
        (np.zeros((1, 3, 8, 25, 1), np.float32), ["a"], r"expected \(names, labels\)"),
        (np.zeros((1, 3, 8, 25, 1), np.float32), (["a"], ["b"]), "a label is no number"),
    ],
)
def test_arrays_and_labels_that_do_not_fit_are_refused(tmp_path, array, labels, said):
    np.save(tmp_path / "val_data.npy", array)
    (tmp_path / "val_label.pkl").write_bytes(pickle.dumps(labels))
    with pytest.raises(SourceError, match=said):
        stgcn_npy.clips(stgcn(tmp_path))


def test_a_folder_is_recognised_by_what_is_in_it(tmp_path):
    write_stgcn(tmp_path / "a")
    write_ntu(tmp_path / "b" / "S001C001P001R001A001.skeleton", [[1]])
    assert detect(tmp_path / "a") == "stgcn_npy"
    assert detect(tmp_path / "b") == "ntu_skeleton"


# ---------------------------------------------------------------- Kinetics


def write_kinetics(file, frames=(1, 2, 4)):
    rng = np.random.default_rng(3)
    poses = {number: (rng.uniform(0.1, 0.9, (3, 18, 2)), rng.uniform(0.2, 1, (3, 18))) for number in frames}
    poses[frames[0]][1][:, 7] = 0
    data = [
        {"frame_index": number,
         "skeleton": [{"pose": p.ravel().tolist(), "score": s.tolist()} for p, s in zip(*people, strict=True)]}
        for number, people in poses.items()
    ]  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"data": data, "label": "dodgeball", "label_index": 3}))
    return poses


def kinetics(path, **changes):
    return kinetics_json.Options.model_validate({"path": path, **changes})


def test_the_surest_people_of_each_frame_of_kinetics_are_kept(tmp_path):
    poses = write_kinetics(tmp_path / "kinetics_val" / "abc.json")
    (tmp_path / "kinetics_val_label.json").write_text("{}")
    assert detect(tmp_path) == "kinetics_json"
    (ref,) = kinetics_json.clips(kinetics(tmp_path))
    assert (ref.id, ref.gloss, ref.split) == ("kinetics_val/abc", ("dodgeball",), "val")
    found = kinetics_json.read(ref, kinetics(tmp_path))
    assert found.values.shape == (2, 4, 18, 3)
    assert np.isnan(found.values[:, 2]).all()  # a number that is missing is a frame in which nobody is seen
    assert np.isnan(found.values[:, 0, 7]).all()
    xy, score = poses[4]
    for place, person in enumerate(np.argsort(-score.sum(1))[:2]):
        assert np.allclose(found.values[place, 3, :, :2], xy[person], atol=1e-6)
        assert np.allclose(found.visibility[place, 3], score[person], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not readable as JSON"), ("[]", "expected an object"), ('{"data": 3}', "expected a clip"),
        ('{"data": [{"frame_index": 1}]}', "KeyError 'skeleton'"), ('{"data": []}', "nobody in any of 0 frames"),
        ('{"data": [{"frame_index": 1, "skeleton": [{"pose": [1], "score": [1]}]}]}', "ValueError"),
        ('{"data": [{"frame_index": null, "skeleton": []}]}', "TypeError"),
    ],
)  # fmt: skip
def test_a_wrong_clip_of_kinetics_goes_to_quarantine(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    (ref,) = kinetics_json.clips(kinetics(tmp_path))
    with pytest.raises(ClipError, match=said):
        kinetics_json.read(ref, kinetics(tmp_path))


def test_a_frame_numbered_beyond_reason_does_not_fill_the_memory(tmp_path):
    write_kinetics(tmp_path / "a.json", frames=(1, 10**9))
    (ref,) = kinetics_json.clips(kinetics(tmp_path))
    with pytest.raises(ClipError, match="frames numbered 1 to 1000000000"):
        kinetics_json.read(ref, kinetics(tmp_path))


# ---------------------------------------------------------------- pyskl


def write_pyskl(file, *, channels=2, points=17, **change):
    rng = np.random.default_rng(channels)
    keypoint = rng.uniform(10, 400, (3, 2, 6, points, channels)).astype(np.float16)
    score = rng.uniform(0.1, 1, keypoint.shape[:4]).astype(np.float16)
    score[0, 1, 2] = 0
    annotations = [
        {"frame_dir": f"clip{i}", "label": i % 2, "total_frames": 6, "img_shape": (480, 640), "keypoint": keypoint[i],
         **({"keypoint_score": score[i]} if channels == 2 else {})}
        for i in range(3)
    ]  # fmt: skip
    split = {"xsub_train": ["clip0", "clip2"], "xsub_val": ["clip1"], "xview_train": ["clip1"], "xview_val": []}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps({"split": split, "annotations": annotations, **change}))
    return keypoint.astype(np.float32), score.astype(np.float32)


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
        ({"keypoint": [["a"]]}, "keypoints are not readable"),
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


# ---------------------------------------------------------------- a skeleton of one's own


@pytest.mark.real_data
def test_a_skeleton_declared_in_a_config_is_read_prepared_and_known_to_the_clips(real_data, tmp_path):
    shipped = Path(__file__).parent.parent / "configs" / "msr_action3d.yaml"
    chosen = config.load([str(shipped), f"out={tmp_path}", "ray.cpus=1"])
    refs = npz.clips(chosen.source)
    assert len(refs) == 290
    assert {ref.signer for ref in refs} == {"1", "3", "5", "7", "9"}
    with np.load(real_data / "msr_action3d_odd_subjects" / "msr_action3d_odd.npz") as stored:
        x, lengths = stored["x"], stored["length"]
    for ref in refs[::40]:
        found = npz.read(ref, chosen.source)
        seen = np.isfinite(found.values[0])
        assert np.array_equal(found.values[0][seen], x[ref.index, : lengths[ref.index]][seen])
        skeleton = layout(found.layout)
        assert (skeleton.name, skeleton.points, skeleton.centre) == ("msr_20", 20, 6)
        # bones are where they belong: hardly longer in one frame than in another
        for child, parent in enumerate(skeleton.parents()):
            length = np.linalg.norm(found.values[0, :, child] - found.values[0, :, parent], axis=-1)
            assert child == parent or np.nanstd(length) < 0.2 * np.nanmean(length)
        assert joint_centered.apply(found, chosen.prepare).shape[2:] == (20, 4)


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


# ---------------------------------------------------------------- whatever is in a file


def read_all(kind, path):
    """Every clip of a source, or the clear error that it gives instead."""
    module = kind_module("source", kind)
    options = module.Options(path=path)
    try:
        refs = module.clips(options)
    except RaysignError:
        return
    for ref in refs:
        try:
            assert np.isfinite(module.read(ref, options).values).any()
        except RaysignError:
            continue


@budget(max_examples=90, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_answered_with_a_clear_error(tmp_path, data):
    kind = data.draw(st.sampled_from(["ntu_skeleton", "stgcn_npy", "pyskl_pickle", "kinetics_json"]))
    folder = tmp_path / kind
    if kind == "ntu_skeleton":
        write_ntu(folder / "S001C001P001R001A001.skeleton", [[1], [1, 2]])
    elif kind == "stgcn_npy":
        write_stgcn(folder)
    elif kind == "kinetics_json":
        write_kinetics(folder / "a.json")
    else:
        write_pyskl(folder / "a.pkl", split={})
    file = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    read_all(kind, file if kind == "pyskl_pickle" else folder)
