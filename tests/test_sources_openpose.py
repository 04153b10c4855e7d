"""What OpenPose and mmskeleton write: JSON files with everyone in the picture."""

import json
import tracemalloc

import numpy as np
import pytest
from made_people import SIZE, someone, write_frames, write_mmskeleton

from raysign import skeleton
from raysign.clips.recipes import centered
from raysign.errors import ClipError, ConfigError, SourceError
from raysign.sources import detect, mmskeleton_json, openpose_json


def openpose(path, **changes):
    return openpose_json.Options.model_validate({"path": path, "size": SIZE, **changes})


def only(path, **changes):
    (ref,) = openpose_json.clips(openpose(path, **changes))
    return openpose_json.read(ref, openpose(path, **changes))


@pytest.mark.parametrize("body", [18, 25])
@pytest.mark.parametrize(("points", "more"), [("body", 0), ("hands", 42), ("face", 112)])
def test_each_part_of_openpose_lies_where_its_layout_says(tmp_path, body, points, more):
    rng = np.random.default_rng(body)
    person = someone(rng, body)
    write_frames(tmp_path / "hello" / "anna_1", [[person]] * 3)
    assert detect(tmp_path) == "openpose_json"
    (ref,) = openpose_json.clips(openpose(tmp_path))
    assert (ref.id, ref.gloss) == ("hello/anna_1", ("hello",))
    found = only(tmp_path, points=points, fps=25)
    assert (found.layout, found.fps) == (f"openpose_{body + more}", 25)
    assert (found.width, found.height) == SIZE
    for part, where in skeleton.layout(found.layout).slices.items():
        assert np.allclose(found.values[0, 1, where, :2] * SIZE, person[part][:, :2], atol=1e-3)
        assert np.allclose(found.visibility[0, 2, where], person[part][:, 2])
    assert (found.values[..., 2] == 0).all()
    assert centered.apply(found, centered.Options.model_validate({})).shape == (1, 3, body + more, 4)


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    people = [someone(np.random.default_rng(t)) for t in range(12)]
    write_frames(tmp_path / "a", [[person] for person in people], first=5)
    for file in (tmp_path / "a").iterdir():
        file.rename(file.with_name(f"a_{int(file.name.split('_')[1])}_keypoints.json"))  # 10 before 9 as text
    found = only(tmp_path)
    assert np.allclose(found.values[0, :, 0, 0] * SIZE[0], [person["body"][0, 0] for person in people], atol=1e-3)


def test_the_surest_people_of_a_frame_are_kept_and_nobody_is_a_frame_of_nobody(tmp_path):
    rng = np.random.default_rng(1)
    sure, unsure = someone(rng), someone(rng)
    unsure = {part: points * [1, 1, 0.2] for part, points in unsure.items()}
    write_frames(tmp_path / "g" / "a", [[unsure, sure], [], [sure]])
    found = only(tmp_path, persons=2)
    assert found.values.shape == (2, 3, 67, 3)
    assert np.isnan(found.values[:, 1]).all()
    assert np.isnan(found.values[1, 2]).all()
    for frame, place, person in ((0, 0, sure), (0, 1, unsure), (2, 0, sure)):
        assert np.allclose(found.values[place, frame, :25, :2] * SIZE, person["body"][:, :2], atol=1e-3)
    assert np.array_equal(only(tmp_path).values, found.values[:1], equal_nan=True)


def test_points_of_score_0_and_parts_that_were_not_asked_for_are_not_seen(tmp_path):
    person = someone(np.random.default_rng(2), parts=())
    person["body"][4] = 0
    person["left_hand"] = np.empty((0, 3))
    write_frames(tmp_path / "g" / "a", [[person]])
    found = only(tmp_path)
    assert np.flatnonzero(np.isnan(found.values[0, 0, :, 0])).tolist() == [4, *range(25, 67)]
    assert np.array_equal(np.isnan(found.visibility), np.isnan(found.values[..., 0]))


def test_places_between_0_and_1_need_no_size(tmp_path):
    person = someone(np.random.default_rng(3), scale=(1, 1))
    write_frames(tmp_path / "g" / "a", [[person]])
    for size in (None, SIZE):
        found = only(tmp_path, size=size)
        assert np.allclose(found.values[0, 0, :25, :2], person["body"][:, :2])
        assert (found.width, found.height) == (0, 0)
    write_frames(tmp_path / "g" / "a", [[someone(np.random.default_rng(3))]])
    with pytest.raises(ClipError, match=r"set source\.size"):
        only(tmp_path, size=None)


def test_the_keys_of_older_openpose_are_read_too(tmp_path):
    person = someone(np.random.default_rng(4))
    write_frames(tmp_path / "new" / "a", [[person]])
    write_frames(tmp_path / "old" / "a", [[person]], ending="_2d")
    assert np.array_equal(only(tmp_path / "new").values, only(tmp_path / "old").values)


def test_a_clip_of_openpose_changes_when_a_frame_does(tmp_path):
    write_frames(tmp_path / "g" / "a", [[someone(np.random.default_rng(5))]] * 2)
    (before,) = openpose_json.clips(openpose(tmp_path))
    (again,) = openpose_json.clips(openpose(tmp_path))
    (tmp_path / "g" / "a" / "a_000000000001_keypoints.json").unlink()
    (after,) = openpose_json.clips(openpose(tmp_path))
    assert before == again
    assert before.stamp != after.stamp


def test_a_pattern_tells_who_signs_in_a_folder_of_frames(tmp_path):
    write_frames(tmp_path / "g" / "anna_1", [[someone(np.random.default_rng(6))]])
    (ref,) = openpose_json.clips(openpose(tmp_path, pattern="/(?P<signer>[a-z]+)_"))
    assert (ref.gloss, ref.signer) == (("g",), "anna")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not readable as JSON"), ("[]", "expected an object"), ("{}", "KeyError 'people'"),
        ('{"people": []}', "nobody in any of 1 frames"), ('{"people": [3]}', "AttributeError"),
        ('{"people": [{"pose_keypoints_2d": [1, 2]}]}', "ValueError"),
        ('{"people": [{"pose_keypoints_2d": [1, 2, 3]}]}', "bodies of 1 points"),
        ('{"people": [{"pose_keypoints_2d": "abc"}]}', "ValueError"),
        (json.dumps({"people": [{"pose_keypoints_2d": [0.0] * 75}]}), "no point is seen"),
        (json.dumps({"people": [{"pose_keypoints_2d": [1] * 75, "hand_left_keypoints_2d": [1] * 3}]}), "1 points of l"),
        (json.dumps({"people": [{"pose_keypoints_2d": [1] * 75}, {"pose_keypoints_2d": [1] * 54}]}), "bodies of 18, "),
        (json.dumps({"people": [{"pose_keypoints_2d": [1e300] * 75}]}), "no point is seen"),
        (json.dumps({"people": [{"pose_keypoints_2d": [10**400] * 75}]}), "OverflowError"),
    ],
)  # fmt: skip
def test_a_wrong_frame_of_openpose_sends_its_clip_to_quarantine(tmp_path, text, said):
    (tmp_path / "g" / "a").mkdir(parents=True)
    (tmp_path / "g" / "a" / "a_000000000000_keypoints.json").write_text(text)
    with pytest.raises(ClipError, match=said):
        only(tmp_path)


# ---------------------------------------------------------------- mmskeleton


def mmskeleton(path, **changes):
    return mmskeleton_json.Options.model_validate({"path": path, **changes})


def test_a_video_of_mmskeleton_is_read_in_image_units(tmp_path):
    people = write_mmskeleton(tmp_path / "a.mp4.json")
    write_mmskeleton(tmp_path / "b.mp4.json", category=-1)
    assert detect(tmp_path) == "mmskeleton_json"
    (tmp_path / "names.txt").write_text("no\nyes\n")
    options = mmskeleton(tmp_path, label_names=tmp_path / "names.txt", persons=2)
    refs = mmskeleton_json.clips(options)
    assert [(ref.id, ref.gloss) for ref in refs] == [("a.mp4.json", ("yes",)), ("b.mp4.json", ())]
    found = mmskeleton_json.read(refs[0], options)
    assert (found.layout, found.values.shape) == ("coco_17", (2, 4, 17, 3))
    seen = people[0, :, 2] > 0
    assert np.isnan(found.values[:, [1, 3]]).all()
    assert np.isnan(found.values[0, 0, ~seen]).all()
    assert np.allclose(found.values[0, 2, seen, :2] * SIZE, people[0, seen, :2], atol=1e-3)
    assert np.allclose(found.values[1, 0, :, :2] * SIZE, people[1, :, :2], atol=1e-3)
    assert np.allclose(found.visibility[1, 0], people[1, :, 2])


def test_a_label_without_a_name_is_refused(tmp_path):
    write_mmskeleton(tmp_path / "a.json", category=2)
    (tmp_path / "names.txt").write_text("no\nyes\n")
    with pytest.raises(SourceError, match="category_id 2, expected 0 to 1"):
        mmskeleton_json.clips(mmskeleton(tmp_path, label_names=tmp_path / "names.txt"))


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"resolution": None}, "TypeError"), ({"resolution": [0, 5]}, "0 x 5 pixels"),
        ({"num_frame": 10**9}, "1000000000 frames"), ({"num_frame": 1}, "IndexError"),
        ({"num_keypoints": 19}, "19 points, which is not"), ({"keypoint_channels": ["x", "y"]}, "ValueError"),
        ({"num_keypoints": 10**9}, "1000000000 points"),
    ],
)  # fmt: skip
def test_a_wrong_video_of_mmskeleton_goes_to_quarantine(tmp_path, info, said):
    write_mmskeleton(tmp_path / "a.json", **info)
    (ref,) = mmskeleton_json.clips(mmskeleton(tmp_path))
    with pytest.raises(ClipError, match=said):
        mmskeleton_json.read(ref, mmskeleton(tmp_path))


def test_points_that_no_layout_has_do_not_fill_the_memory(tmp_path):
    write_mmskeleton(tmp_path / "a.json", num_keypoints=10**6, keypoint_channels=[])
    tree = json.loads((tmp_path / "a.json").read_text())
    tree["annotations"] = [{"frame_index": 0, "keypoints": []}]
    (tmp_path / "a.json").write_text(json.dumps(tree))
    (ref,) = mmskeleton_json.clips(mmskeleton(tmp_path))
    tracemalloc.start()
    with pytest.raises(ClipError, match="1000000 points"):
        mmskeleton_json.read(ref, mmskeleton(tmp_path))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1e6


def test_a_size_is_two_numbers(tmp_path):
    with pytest.raises((ConfigError, ValueError), match="size"):
        openpose(tmp_path, size=[640])
