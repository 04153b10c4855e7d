"""Skeletons: laws every layout keeps."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from raysign import bones, skeleton
from raysign.errors import ConfigError
from raysign.sources._declared import Declaration

every = pytest.mark.parametrize("which", skeleton.LAYOUTS.values(), ids=skeleton.LAYOUTS)


@every
def test_parts_cover_the_points_and_bones_join_points(which):
    assert sum(count for _, count in which.parts) == which.points
    assert all(0 <= a < which.points and 0 <= b < which.points and a != b for a, b in which.bones)
    assert len({frozenset(bone) for bone in which.bones}) == len(which.bones)


@every
def test_a_mirror_image_twice_is_nothing(which):
    if which.mirror:
        assert [which.mirror[twin] for twin in which.mirror] == list(range(which.points))


@every
def test_a_mirror_image_of_the_left_is_the_right(which):
    names = dict(which.names)
    assert all(0 <= point < which.points for point in names.values())
    for name, point in names.items():
        twin = names[name.replace("left", "right")]
        assert not which.mirror or which.mirror[point] == twin or name.startswith("right")


@every
def test_a_mirror_image_keeps_the_bones(which):
    if which.mirror:
        bones = {frozenset(bone) for bone in which.bones}
        assert {frozenset(which.mirror[point] for point in bone) for bone in bones} == bones


@every
def test_every_point_hangs_on_the_root_of_its_piece_by_bones(which):
    parents = which.parents()
    bones = {frozenset(bone) for bone in which.bones}
    assert {frozenset((parent, point)) for point, parent in enumerate(parents) if parent != point} <= bones
    assert parents[which.centre] == which.centre
    for point in range(which.points):
        for _ in range(which.points):
            point = parents[point]
        assert parents[point] == point, "a ring"


def test_a_hand_hangs_on_its_wrist_finger_by_finger():
    parents = skeleton.layout("hand_21").parents()
    assert parents == [0, 0, 1, 2, 3, 0, 5, 6, 7, 5, 9, 10, 11, 17, 13, 14, 15, 0, 17, 18, 19]


def test_bones_are_those_of_mediapipe():
    vision = pytest.importorskip("mediapipe.tasks.python.vision")
    for ours, theirs, moved in (
        (bones.POSE_BONES, vision.PoseLandmarksConnections.POSE_LANDMARKS, set()),
        (bones.FACE_BONES, vision.FaceLandmarksConnections.FACE_LANDMARKS_CONTOURS, set()),
        # the hand graph published models were trained on ties the index finger to the wrist, today's to the thumb
        (bones.HAND_BONES, vision.HandLandmarksConnections.HAND_CONNECTIONS, {frozenset((0, 5)), frozenset((1, 5))}),
    ):
        assert {frozenset(b) for b in ours} ^ {frozenset((c.start, c.end)) for c in theirs} == moved


def test_an_unknown_layout_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'holistic_543'"):
        skeleton.layout("holistic543")


def test_border_visibility_falls_from_a_tenth_inside_to_the_border():
    seen = skeleton.border_visibility(np.array([[0.5, 0.5], [0.05, 0.5], [0.0, 0.5], [1.2, 0.5], [np.nan, 0.5]]))
    assert np.allclose(seen, [1, 0.5, 0, 0, np.nan], equal_nan=True)
    far = np.finfo(np.float32).max
    assert not skeleton.border_visibility(np.array([[far, 0.5], [0.5, -far]], np.float32)).any()  # and no overflow


@every
def test_a_written_out_skeleton_is_read_back(which):
    text = skeleton.text_of(replace(which, name="mine"))
    assert skeleton.layout(text) == replace(which, name="mine")
    assert skeleton.text_of(which) == which.name


def test_a_declared_skeleton_has_its_bones_twins_and_centre():
    declared = Declaration.model_validate({
        "name": "stick", "points": ["head", "left", "right"], "bones": [["head", "left"], ["head", "right"]],
        "mirror": [["left", "right"]], "centre": "head",
    })  # fmt: skip
    made = declared.skeleton()
    assert (made.points, made.bones, made.mirror, made.centre) == (3, ((0, 1), (0, 2)), (0, 2, 1), 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bones": [["head", "hnad"]]}, "'hnad' is none of the points; did you mean 'head'"),
        ({"points": ["hand", "hand", "head"]}, "a name occurs twice"),
    ],
)
def test_a_wrong_declaration_is_answered_with_what_is_wrong(change, said):
    with pytest.raises(ValidationError, match=said):
        Declaration.model_validate({"name": "stick", "points": ["head", "hand"], **change})


@pytest.mark.parametrize(
    "text",
    [
        "{", '{"a":' * 100_000, '{"name": "a"}',
        '{"name":"a","parts":[["b",2]],"bones":[[0,5]],"mirror":[],"centre":0}',
        '{"name":"a","parts":[["b",1e999]],"bones":[],"mirror":[],"centre":0}',
        '{"name":"a","parts":[["b",5],["c",-2]],"bones":[],"mirror":[],"centre":0}',
    ],
    ids=range(6),
)  # fmt: skip
def test_a_torn_layout_is_a_config_error(text):
    with pytest.raises(ConfigError, match="expected a skeleton as JSON"):
        skeleton.layout(text)
