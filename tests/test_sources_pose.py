"""Pose files of pose-format: every version, the skeletons that headers mean, and files that are torn."""

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from made_people import BODY, HAND, HOLISTIC, POSE, SIZE, pose_body, pose_header, pose_values, write_pose

from raysign import skeleton
from raysign.clips.recipes import centered, shoulder_centered
from raysign.errors import ClipError, SourceError
from raysign.sources import detect, pose_format


def options(path, **changes):
    return pose_format.Options.model_validate({"path": path, **changes})


def only(path, **changes):
    (ref,) = pose_format.clips(options(path, **changes))
    return pose_format.read(ref, options(path, **changes))


@pytest.mark.parametrize("version", [0.0, 0.1, 0.2])
def test_what_a_file_of_any_version_says_is_what_is_read(tmp_path, version):
    values, confidence = pose_values(HOLISTIC)
    confidence[1, 0, 33 + 478 : 33 + 478 + 21] = 0
    write_pose(tmp_path / "hello" / "a.pose", HOLISTIC, values, confidence, version)
    assert detect(tmp_path) == "pose_format"
    (ref,) = pose_format.clips(options(tmp_path))
    assert (ref.id, ref.gloss) == ("hello/a.pose", ("hello",))
    found = pose_format.read(ref, options(tmp_path))
    assert (found.layout, found.values.shape, found.fps) == ("holistic_543", (1, 4, 543, 3), 25)
    assert (found.width, found.height) == SIZE
    kept = [*range(33 + 468), *range(33 + 478, 33 + 478 + 42)]  # without irises and without metres
    told, sure = values[:, 0, kept] / np.array([*SIZE, 1], np.float32), confidence[:, 0, kept]
    seen = sure > 0
    assert np.allclose(found.values[0][seen], told[seen], atol=1e-6)
    assert np.isnan(found.values[0][~seen]).all()
    assert np.isnan(found.values[0, 1, 501:522]).all()
    assert np.allclose(found.visibility[0, :, :33], sure[:, :33])
    assert (found.visibility[0][seen] <= sure[seen] + 1e-6).all()
    recipe = shoulder_centered.Options.model_validate({"parts": ["pose", "left_hand"]})
    assert shoulder_centered.apply(found, recipe).shape[1] == 4


@pytest.mark.parametrize(
    ("components", "layout"),
    [
        (["POSE_LANDMARKS"], "pose_33"),
        (["LEFT_HAND_LANDMARKS", "RIGHT_HAND_LANDMARKS"], "hands_42"),
        (["RIGHT_HAND_LANDMARKS", "POSE_LANDMARKS"], "holistic_75"),
        (["FACE_LANDMARKS"], "holistic_543"),
    ],
)
def test_the_layout_is_the_smallest_that_holds_all_of_a_file(tmp_path, components, layout):
    chosen = {name: HOLISTIC[name] for name in components}
    write_pose(tmp_path / "a.pose", chosen, *pose_values(chosen))
    found, start = only(tmp_path), 0
    assert found.layout == layout
    slices = skeleton.layout(layout).slices
    values, _ = pose_values(chosen)
    for name in components:
        where = slices[pose_format.MEDIAPIPE[name]]
        size = where.stop - where.start
        assert np.allclose(found.values[0, :, where, 0], values[:, 0, start : start + size, 0] / SIZE[0], atol=1e-6)
        start += len(chosen[name])


def test_some_points_of_holistic_go_where_they_belong(tmp_path):
    chosen = {"POSE_LANDMARKS": ["RIGHT_WRIST", "LEFT_SHOULDER"], "FACE_LANDMARKS": ["467", "470", "0"]}
    values, confidence = pose_values(chosen)
    write_pose(tmp_path / "a.pose", chosen, values, confidence)
    found = only(tmp_path)
    seen = np.flatnonzero(np.isfinite(found.values[0, 0, :, 0]))
    assert seen.tolist() == [11, 16, 33, 33 + 467]
    assert np.allclose(found.values[0, :, [16, 11, 33 + 467, 33], 1].T, values[:, 0, [0, 1, 2, 4], 1] / SIZE[1])


@pytest.mark.parametrize(("face", "layout"), [(True, "openpose_137"), (False, "openpose_67")])
def test_openpose_keeps_its_points(tmp_path, face, layout):
    chosen = {"pose_keypoints_2d": BODY, **({"face_keypoints_2d": [str(i) for i in range(70)]} if face else {}),
              "hand_left_keypoints_2d": HAND, "hand_right_keypoints_2d": HAND}  # fmt: skip
    values, confidence = pose_values(chosen, dimensions=2)
    write_pose(tmp_path / "a.pose", chosen, values, confidence, 0.0)
    found = only(tmp_path)
    assert found.layout == layout
    assert np.allclose(found.values[0, ..., :2], values[:, 0] / np.array(SIZE, np.float32), atol=1e-6)
    assert np.allclose(found.visibility[0], confidence[:, 0])
    assert (found.values[..., 2] == 0).all()


def test_a_header_of_its_own_is_a_skeleton_of_its_own(tmp_path):
    chosen = {"body": ["hip", "chest", "head"], "tail": ["root", "tip"]}
    values, confidence = pose_values(chosen)
    write_pose(tmp_path / "a.pose", chosen, values, confidence, limbs=((0, 1), (1, 0), (1, 1)))
    found = only(tmp_path)
    known = skeleton.layout(found.layout)
    assert known.parts == (("body", 3), ("tail", 2))
    assert known.bones == ((0, 1), (3, 4))
    assert np.allclose(found.values[0, ..., 1], values[:, 0, :, 1] / SIZE[1])
    assert np.array_equal(found.visibility[0], confidence[:, 0])
    assert centered.apply(found, centered.Options.model_validate({})).shape == (1, 4, 5, 4)


@pytest.mark.parametrize("version", [0.1, 0.2])
def test_the_surest_people_are_kept(tmp_path, version):
    values, confidence = pose_values({"b": BODY}, people=3)
    confidence[:, 0] *= 0.1
    confidence[:, 1] *= 0.5
    write_pose(tmp_path / "a.pose", {"b": BODY}, values, confidence, version)
    found = only(tmp_path, persons=2)
    assert np.allclose(found.values[..., 0], values[..., 0].swapaxes(0, 1)[[2, 1]] / SIZE[0])
    assert only(tmp_path).values.shape[0] == 3


def test_people_who_come_and_go_are_read_frame_by_frame(tmp_path):
    person = struct.pack("<h", 3) + np.arange(1, 9, dtype="<f4").tobytes()
    counts = b"".join(struct.pack("<H", n) + person * n for n in (0, 2, 1))
    data = pose_header({"b": ["p", "q"]}, 0.0) + struct.pack("<2H", 24, 3) + counts
    (tmp_path / "a.pose").write_bytes(data)
    found = only(tmp_path)
    seen = np.isfinite(found.values[..., 0]).all(-1)
    assert seen.tolist() == [[False, True, True], [False, True, False]]


def test_depths_are_image_widths_whether_or_not_the_file_has_them_in_pixels(tmp_path):
    values, confidence = pose_values({"POSE_LANDMARKS": POSE})
    write_pose(tmp_path / "widths" / "a.pose", {"POSE_LANDMARKS": POSE}, values, confidence)
    values[..., 2] *= SIZE[0]
    write_pose(tmp_path / "pixels" / "a.pose", {"POSE_LANDMARKS": POSE}, values, confidence)
    assert np.allclose(only(tmp_path / "widths").values, only(tmp_path / "pixels").values)
    values[0, 0, 0, 2] = np.nan
    write_pose(tmp_path / "damaged" / "a.pose", {"POSE_LANDMARKS": POSE}, values, confidence)
    others = np.s_[:, 1:]
    assert np.allclose(only(tmp_path / "damaged").values[others], only(tmp_path / "pixels").values[others])


def test_a_version_that_counts_frames_in_16_bits_is_read_beyond_them(tmp_path):
    values, confidence = np.ones((65536 + 2, 1, 2, 2)), np.ones((65536 + 2, 1, 2))
    data = pose_header({"b": ["p", "q"]}, 0.1, form="XYC") + struct.pack("<3H", 25, 2, 1)
    (tmp_path / "a.pose").write_bytes(data + values.astype("<f4").tobytes() + confidence.astype("<f4").tobytes())
    assert only(tmp_path).values.shape[1] == 65538


# ---------------------------------------------------------------- what is no such file


def crowd():
    """One person of 3000 points, and 60000 frames of nobody."""
    person = struct.pack("<Hh", 1, 0) + bytes(3000 * 16)
    return pose_header({"b": [""] * 3000}, 0.0) + struct.pack("<2H", 25, 60001) + person + bytes(120000)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "more bytes are promised"),
        (struct.pack("<f4H", 0.3, 1, 1, 1, 1), "version 0.3"),
        (struct.pack("<f4H", 0.2, 1, 1, 1, 0), "0 components without any point"),
        (pose_header({"b": []}, limbs=()), "1 components without any point"),
        (pose_header({"b": BODY}, form="YXC"), "expected XYC"),
        (pose_header({"b": BODY}, limbs=((0, 25),)), "ends in point 25 of 25"),
        (pose_header({"b": BODY})[:-9], "more bytes are promised"),
        (pose_header({"b": BODY}) + struct.pack("<fIH", 25, 1 << 31, 1 << 15), "more bytes are promised"),
        (pose_header({"b": BODY}, 0.1) + struct.pack("<3H", 25, 7, 1), "expected 7 frames"),
        (pose_header({"b": BODY}, 0.1) + struct.pack("<3H", 25, 0, 1), "no point is seen"),
        (pose_header({"b": BODY}, 0.0) + struct.pack("<2HH", 25, 60000, 1), "more bytes are promised"),
        (crowd(), "which is too much"),
        (pose_header({"b": BODY}, size=(0, 0)) + pose_body(*pose_values({"b": BODY}), 0.2), "an image of 0 x 0"),
        (pose_header({"b": BODY}) + pose_body(np.ones((4, 1, 25, 3)), np.zeros((4, 1, 25)), 0.2), "no point is seen"),
    ],
)  # fmt: skip
def test_a_file_that_promises_more_than_it_has_is_refused_before_memory_is_taken(tmp_path, data, said):
    (tmp_path / "a.pose").write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(ClipError, match=said):
            only(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 40 * len(data) + 2_000_000
    finally:
        tracemalloc.stop()


def test_two_components_of_one_name_are_refused(tmp_path):
    one = pose_header({"b": BODY})[12:]
    (tmp_path / "a.pose").write_bytes(struct.pack("<f4H", 0.2, *SIZE, 0, 2) + one + one)
    with pytest.raises(ClipError, match="the same name"):
        only(tmp_path)


def test_a_folder_without_pose_files_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no pose files"):
        pose_format.clips(options(tmp_path))


# ---------------------------------------------------------------- real files


def real(folder: Path) -> dict:
    return {
        ref.id[:9]: pose_format.read(ref, options(folder / "pose_format"))
        for ref in pose_format.clips(options(folder / "pose_format"))
    }


@pytest.mark.real_data
def test_real_files_of_every_version_are_read_in_image_units(real_data):
    found = real(real_data)
    assert {name: (one.layout, one.values.shape[:2], one.fps) for name, one in found.items()} == {
        "6fb01565d": ("holistic_543", (1, 5), 25), "mediapipe": ("holistic_543", (1, 170), 24),
        "openpose.": ("openpose_137", (1, 93), 24),
    }  # fmt: skip
    for one in found.values():
        assert (np.abs(np.nanmean(one.values[..., :2], axis=(0, 1, 2)) - 0.5) < 0.5).all()


@pytest.mark.real_data
def test_in_real_files_hands_begin_at_wrists_and_faces_at_noses(real_data):
    for one in real(real_data).values():
        slices = skeleton.layout(one.layout).slices
        mediapipe = "pose" in slices
        left, right, nose = (15, 16, 0) if mediapipe else (7, 4, 0)
        tip = slices["face"].start + (1 if mediapipe else 30)
        size = np.nanstd(one.values[..., :2])
        for body_point, other in (
            (left, slices["left_hand"].start), (right, slices["right_hand"].start), (nose, tip)
        ):  # fmt: skip
            gap = np.linalg.norm(one.values[0, :, body_point, :2] - one.values[0, :, other, :2], axis=-1)
            if np.isfinite(gap).any():
                assert np.nanmedian(gap) < 0.3 * size
