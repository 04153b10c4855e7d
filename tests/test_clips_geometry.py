"""Laws of the steps that move, size and turn points."""

import numpy as np
import pytest

from raysign.clips import geometry, points
from raysign.clips.recipes import prenormalized, spoter_boxes
from raysign.errors import ConfigError
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS

NAN = np.float32(np.nan)


def cloud(persons=1, frames=5, count=6, seed=0):
    return np.random.default_rng(seed).normal(size=(persons, frames, count, 4)).astype(np.float32)


def turn_in_image(x, angle):
    x = x.copy()
    x[..., 0], x[..., 1] = (np.cos(angle) * x[..., 0] - np.sin(angle) * x[..., 1],
                            np.sin(angle) * x[..., 0] + np.cos(angle) * x[..., 1])  # fmt: skip
    return x


def upright(x):
    return geometry.upright(x[..., :3], x[:, :, 0, :3], x[:, :, 1, :3], x[:, :, 2, :3])


def test_upright_does_not_see_place_size_or_tilt():
    x = cloud(2)
    moved = turn_in_image(geometry.scaled(x, 1 / 3), 0.7)
    moved = geometry.shifted(moved, np.array([5, -2, 1], np.float32))
    np.testing.assert_allclose(upright(moved), upright(x), atol=1e-4)


def test_upright_has_the_nose_at_the_origin_and_level_shoulders_one_unit_apart():
    x = upright(cloud(2))
    np.testing.assert_allclose(x[:, :, 0], 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(x[:, :, 1] - x[:, :, 2], axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(x[:, :, 1, 1], x[:, :, 2, 1], atol=1e-5)
    assert (x[:, :, 1, 0] >= x[:, :, 2, 0]).all()


def test_upright_is_unknown_in_frames_without_shoulders_and_only_there():
    x = cloud()
    x[0, 2, 1] = NAN
    found = upright(x)
    assert np.isnan(found[0, 2]).all()
    np.testing.assert_array_equal(np.delete(found, 2, 1), upright(np.delete(x, 2, 1)))


@pytest.mark.parametrize("seed", range(5))
def test_the_shortest_rotation_turns_a_into_b_and_keeps_lengths(seed):
    a, b = np.random.default_rng(seed).normal(size=(2, 3))
    turn = geometry.rotation(a, b)
    np.testing.assert_allclose(turn @ a / np.linalg.norm(a), b / np.linalg.norm(b), atol=1e-9)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(turn) == pytest.approx(1)
    np.testing.assert_allclose(turn @ np.cross(a, b), np.cross(a, b), atol=1e-9)  # about the line across both


@pytest.mark.parametrize("axis", range(3))
def test_half_a_turn_is_a_rotation_too_and_nothing_turns_nothing(axis):
    a = np.eye(3)[axis]
    turn = geometry.rotation(a, -a)
    np.testing.assert_allclose(turn @ a, -a, atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    np.testing.assert_array_equal(geometry.rotation(a, 2 * a), np.eye(3))
    np.testing.assert_array_equal(geometry.rotation(np.zeros(3), a), np.eye(3))


def test_a_centre_that_is_hidden_is_where_it_was_last_and_before_that_where_it_will_be():
    at = np.full((2, 5, 3), NAN)
    at[1, 1], at[0, 3], at[1, 3] = 1, 3, 9
    np.testing.assert_array_equal(geometry.origin(at, "frame")[0, :, 0, 0], [1, 1, 1, 3, 3])
    np.testing.assert_array_equal(geometry.origin(at, "clip"), np.full((1, 1, 1, 3), 1))


def test_scaling_by_nothing_changes_nothing():
    x = cloud()
    np.testing.assert_array_equal(geometry.scaled(x, 0), x)
    np.testing.assert_array_equal(geometry.scaled(x, np.nan), x)
    sizes = np.array([[1, 0, 2, NAN, 4]], np.float32)
    np.testing.assert_allclose(geometry.scaled(x, sizes)[0, :, 0, 0], x[0, :, 0, 0] / [1, 1, 2, 1, 4], rtol=1e-6)


def test_steps_leave_visibility_input_and_the_unseen_alone():
    x = cloud(2)
    x[1, 3, 2] = NAN
    x.flags.writeable = False
    steps = (
        lambda x: geometry.in_width(x, 4, 3), lambda x: geometry.shifted(x, np.array([1, 2, 3], np.float32)),
        lambda x: geometry.scaled(x, 3), geometry.square_box, lambda x: geometry.turned(x, (0, 1), (2, 3), 0),
        lambda x: geometry.body_box(x, x[:, :, 0, :3], x[:, :, 1, :3], x[:, :, 4, :3]),
    )  # fmt: skip
    for step in steps:
        found = step(x)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(found), np.isnan(x))
        np.testing.assert_array_equal(found[..., 3], x[..., 3])


# ---------------------------------------------------------------- hands


def test_hands_go_back_to_their_wrists_in_the_frames_in_which_they_were_swapped():
    x = cloud(1, 4, 8) * np.float32(0.01)
    x[..., 0, 0], x[..., 1, 0] = 1, -1  # the pose's wrists
    x[..., 2:5, 0] += 1
    x[..., 5:8, 0] -= 1
    wrong = x.copy()
    wrong[:, 1:3, 2:5], wrong[:, 1:3, 5:8] = x[:, 1:3, 5:8], x[:, 1:3, 2:5]
    for given in (x, wrong):
        np.testing.assert_array_equal(geometry.with_own_hands(given, slice(2, 5), slice(5, 8), [0, 1]), x)


def test_a_hand_fills_its_box_but_for_the_margin_wherever_and_however_large_it_is():
    x = cloud(2, count=21)
    found = geometry.square_box(x)
    reach = found[..., :2].max(2) - found[..., :2].min(2)
    np.testing.assert_allclose(reach.max(-1), 1 / 1.2, rtol=1e-5)
    np.testing.assert_allclose(found[..., :2].max(2), -found[..., :2].min(2), atol=1e-5)
    moved = geometry.shifted(geometry.scaled(x, 4), np.array([9, -9, 0], np.float32))
    np.testing.assert_allclose(geometry.square_box(moved)[..., :2], found[..., :2], atol=1e-4)
    point = np.repeat(x[:, :, :1], 21, axis=2)
    np.testing.assert_allclose(geometry.square_box(point)[..., :2], 0, atol=1e-6)


# ---------------------------------------------------------------- SPOTER's body


def body(frames=4):
    x = cloud(1, frames, 59) * np.float32(0.1)
    x[:, :, 11, :2], x[:, :, 12, :2], x[:, :, 2, :2] = (0.6, 0.5), (0.4, 0.5), (0.52, 0.3)
    return x


def boxed(x):
    return spoter_boxes.apply(
        Landmarks(x[..., :3], np.abs(x[..., 3]), "top_body_59"), spoter_boxes.Options.model_validate({})
    )


def test_the_body_box_is_six_shoulder_widths_from_half_a_width_above_the_left_eye():
    x = body()
    x[:, :, 3, :2], x[:, :, 4, :2] = (0.5 - 0.6, 0.3 - 0.1), (0.5 + 0.6, 0.3 - 0.1 + 1.2)  # its corners
    found = boxed(x)
    np.testing.assert_allclose(found[:, :, 3, :2], -0.5, atol=1e-5)
    np.testing.assert_allclose(found[:, :, 4, :2], 0.5, atol=1e-5)
    np.testing.assert_allclose(boxed(x * np.float32(2) + np.float32(1))[..., :2], found[..., :2], atol=1e-4)


def test_a_frame_without_shoulders_takes_the_box_of_the_last_that_had_them():
    x = body()
    x[:, [0, 2], 11] = NAN
    found = boxed(x)
    assert not found[:, 0, :17].any()
    assert found[:, 0, 17:].any()
    same = x.copy()
    same[:, 2, 11] = x[:, 1, 11]
    np.testing.assert_array_equal(np.delete(found[:, 2], 11, 1), np.delete(boxed(same)[:, 2], 11, 1))


@pytest.mark.parametrize("missing", [2, 11, 12], ids=["left eye", "left shoulder", "right shoulder"])
def test_before_the_first_box_nothing_of_the_body_is_known(missing):
    x = body()
    x[:, 0, missing] = NAN
    left, right, eye = (x[:, :, point, :3] for point in (11, 12, 2))
    found = geometry.body_box(x, left, right, eye)
    assert np.isnan(found[:, 0, :, :2]).all()
    assert np.isfinite(found[:, 1:, :, :2]).all()


# ---------------------------------------------------------------- pyskl's


def prenormal(values, layout="ntu_25", **changes):
    visibility = np.where(np.isnan(values[..., 0]), NAN, np.float32(1))
    options = prenormalized.Options.model_validate(changes)
    return prenormalized.apply(Landmarks(values, visibility, layout), options)


def stood(persons=1, frames=6, seed=0):
    return np.random.default_rng(seed).normal(size=(persons, frames, 25, 3)).astype(np.float32)


def test_in_three_dimensions_the_first_frame_stands_upright_at_the_origin():
    x = prenormal(stood(2))[0, 0, :, :3]
    np.testing.assert_allclose(x[1], 0, atol=1e-6)
    across = x[8] - x[4]
    np.testing.assert_allclose(across / np.linalg.norm(across), [1, 0, 0], atol=1e-5)


def test_the_spine_of_someone_with_square_shoulders_points_up():
    values = stood()
    values[0, 0, [0, 1, 4, 8]] = [[0, 0, 0], [0, 1, 0], [0.5, 1.5, 0], [-0.5, 1.5, 0]]
    x = prenormal(values)[0, 0, :, :3]
    np.testing.assert_allclose(x[0], [0, 0, -1], atol=1e-5)
    np.testing.assert_allclose(x[8] - x[4], [1, 0, 0], atol=1e-5)


def test_lengths_stay_and_where_the_camera_stands_does_not_matter():
    values = stood(2)
    x = prenormal(values)[..., :3]
    np.testing.assert_allclose(np.linalg.norm(x[..., 5, :] - x[..., 9, :], axis=-1),
                               np.linalg.norm(values[..., 5, :] - values[..., 9, :], axis=-1), rtol=1e-4)  # fmt: skip
    np.testing.assert_allclose(prenormal(values + np.array([3, 2, 1], np.float32))[..., :3], x, atol=1e-4)


def test_the_person_seen_most_comes_first_and_frames_without_them_are_left_out():
    values = stood(2)
    values[0, 3:] = NAN
    values[1, 0] = NAN
    x = prenormal(values)
    assert x.shape[:2] == (2, 5)
    assert x[0, :, :, 3].all()
    assert (x[1, :, 0, 3] == [1, 1, 0, 0, 0]).all()


def test_posture_is_taken_from_the_first_frame_that_shows_it():
    values = stood()
    values[0, 0, 4] = NAN
    x = prenormal(values)
    assert np.allclose(x[0, 1, 1, :3], 0, atol=1e-6)
    assert x[0, 0, 1, 3] == 1


def test_in_two_dimensions_the_image_is_from_minus_one_to_one_and_faint_points_are_not_seen():
    values = np.zeros((1, 2, 17, 3), np.float32)
    values[0, 1, :, :2], values[0, 0, :, :2] = (1.0, 0.5), (0.0, 0.25)
    visibility = np.ones((1, 2, 17), np.float32)
    visibility[0, 0, 3] = 0.01
    x = prenormalized.apply(Landmarks(values, visibility, "coco_17"), prenormalized.Options.model_validate({}))
    assert x.shape == (1, 2, 17, 3)
    assert (x[0, 1] == [1, 0, 1]).all()
    assert (x[0, 0, 0] == [-1, -0.5, 1]).all()
    assert not x[0, 0, 3].any()


# ---------------------------------------------------------------- points


@pytest.mark.parametrize("wanted", ["holistic_75", "hands_42", "pose_33", "top_body_59", "fsl_78", "minimal_27"])
def test_a_smaller_layout_has_the_bones_of_the_larger_or_leads_along_them(wanted):
    at = points.subset("holistic_543", wanted)
    assert len(at) == LAYOUTS[wanted].points == len(set(at))
    assert points.subset(wanted, wanted) == list(range(len(at)))
    names = dict(LAYOUTS["holistic_543"].names)
    for name, point in LAYOUTS[wanted].names:
        hand = {"left_wrist": 501, "right_wrist": 522}.get(name)
        assert at[point] in (names[name], hand)


def test_a_layout_that_lacks_points_is_refused_by_name():
    with pytest.raises(ConfigError, match="needs the points of fsl_78; holistic_75 lacks face 1"):
        points.subset("holistic_75", "fsl_78")
    with pytest.raises(ConfigError, match="needs the points of holistic_75; ntu_25 lacks them"):
        points.subset("ntu_25", "holistic_75")
    with pytest.raises(ConfigError, match="did you mean 'left_wrist'"):
        points.named(LAYOUTS["coco_17"], "left_wirst", "prepare.centre")
