"""Files of skeletons, one a clip: NTU text and the JSON of Kinetics."""

import json

import numpy as np
import pytest
from made_sources import write_kinetics, write_ntu

from raysign.errors import ClipError, SourceError
from raysign.sources import detect, kinetics_json, ntu_skeleton

# ---------------------------------------------------------------- NTU


def ntu(path, **changes):
    return ntu_skeleton.Options.model_validate({"path": path, **changes})


def test_a_person_of_ntu_is_its_id_whatever_its_place_in_a_frame(tmp_path):
    truth = write_ntu(tmp_path / "S001C002P003R002A013.skeleton", [[7, 8], [8, 7], [8], []])
    assert detect(tmp_path) == "ntu_skeleton"
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


# ---------------------------------------------------------------- Kinetics


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


@pytest.mark.parametrize("empty", [0, 1, 2, 5])
def test_frames_of_kinetics_in_which_nobody_is_are_frames(tmp_path, empty):
    write_kinetics(tmp_path / "a.json", frames=(3, 4))
    tree = json.loads((tmp_path / "a.json").read_text())
    tree["data"].append({"frame_index": empty, "skeleton": []})
    (tmp_path / "a.json").write_text(json.dumps(tree))
    (ref,) = kinetics_json.clips(kinetics(tmp_path))
    seen = np.isfinite(kinetics_json.read(ref, kinetics(tmp_path)).values[0, :, 0, 0])
    assert seen.tolist() == [number in (3, 4) for number in range(min(empty, 1), max(empty, 4) + 1)]


def test_the_lists_of_kinetics_label_its_clips_and_a_clip_that_none_names_labels_itself(tmp_path):
    for name in ("kinetics_train/a", "kinetics_train/b", "kinetics_val/c"):
        write_kinetics(tmp_path / f"{name}.json")
    told = {"has_skeleton": True, "label_index": 7}
    (tmp_path / "kinetics_train_label.json").write_text(json.dumps({"a": {**told, "label": "juggling"}}))
    (tmp_path / "kinetics_val_label.json").write_text(json.dumps({"c": {**told, "label": "yoga"}}))
    assert [(ref.id, ref.gloss) for ref in kinetics_json.clips(kinetics(tmp_path))] == [
        ("kinetics_train/a", ("juggling",)), ("kinetics_train/b", ("dodgeball",)), ("kinetics_val/c", ("yoga",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not readable as JSON"),
        ("[1]", "AttributeError"),
        ('{"a": {}}', "KeyError 'label'"),
        ('{"a": 3}', "TypeError"),
    ],
)
def test_a_wrong_list_of_kinetics_is_refused_in_one_line(tmp_path, text, said):
    write_kinetics(tmp_path / "kinetics_val" / "a.json")
    (tmp_path / "kinetics_val_label.json").write_text(text)
    with pytest.raises(SourceError, match=f"kinetics_val_label.json: {said}.*mend it or take it away"):
        kinetics_json.clips(kinetics(tmp_path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not readable as JSON"), ("[]", "expected an object"), ('{"data": 3}', "expected a clip"),
        ('{"data": [{"frame_index": 1}]}', "KeyError 'skeleton'"), ('{"data": []}', "nobody in any of 0 frames"),
        ('{"data": [{"frame_index": 1, "skeleton": [{"pose": [1], "score": [1]}]}]}', "ValueError"),
        ('{"data": [{"frame_index": null, "skeleton": [{}]}]}', "TypeError"),
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
