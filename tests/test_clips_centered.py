"""The general recipe, on every layout there is."""

import numpy as np
import pytest

from raysign.clips import points
from raysign.clips.recipes import centered
from raysign.errors import ClipError, ConfigError
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS

every = pytest.mark.parametrize("layout", LAYOUTS)


def person(layout, persons=1, frames=6):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(persons, frames, LAYOUTS[layout].points, 3)).astype(np.float32)
    return values, rng.uniform(0.5, 1, values.shape[:3]).astype(np.float32)


def apply(layout, values, visibility, /, **changes):
    visibility = np.where(np.isnan(values[..., 0]), np.float32(np.nan), visibility)
    options = centered.Options.model_validate(changes)
    return centered.apply(Landmarks(values, visibility, layout), options)


@every
@pytest.mark.parametrize("origin", ["clip", "frame"])
def test_where_someone_stands_does_not_matter(layout, origin):
    values, visibility = person(layout, 2)
    found = apply(layout, values, visibility, origin=origin)
    assert np.allclose(
        apply(layout, values + np.array([1, -2, 3], np.float32), visibility, origin=origin), found, atol=1e-5
    )
    centre = found[0, :, LAYOUTS[layout].centre, :3]
    assert not centre[0].any()
    assert centre.any() == (origin == "clip")
    assert np.array_equal(found[..., 3], visibility)


@every
def test_how_large_someone_is_does_not_matter_when_scaled(layout):
    values, visibility = person(layout)
    assert np.allclose(
        apply(layout, 7 * values, visibility, scale="size"), apply(layout, values, visibility, scale="size"), atol=1e-4
    )


def test_a_hidden_centre_is_where_it_was_last():
    values, visibility = person("ntu_25")
    values[:, [0, 3], 20] = np.nan
    found = apply("ntu_25", values, visibility, origin="frame")
    expected = values[0, :, 5] - values[0, [1, 1, 2, 2, 4, 5], 20]
    assert np.allclose(found[0, :, 5, :3], expected, atol=1e-6)
    assert not found[0, [0, 3], 20].any()


def test_two_people_keep_their_distance():
    values, visibility = person("ntu_25", 2)
    found = apply("ntu_25", values, visibility)
    assert np.allclose(found[1, ..., :3] - found[0, ..., :3], values[1] - values[0], atol=1e-5)


def test_what_cannot_be_centred_is_refused():
    values, visibility = person("ntu_25")
    with pytest.raises(ConfigError, match=r"prepare\.centre: found 30, expected 0 to 24 for ntu_25"):
        apply("ntu_25", values, visibility, centre=30)
    values[:, :, 20] = np.nan
    with pytest.raises(ClipError, match="point 20, the centre, is seen in none of 6 frames"):
        apply("ntu_25", values, visibility)
    with pytest.raises(ClipError, match="expected at least 9"):
        apply("ntu_25", values, visibility, min_frames=9)


# ---------------------------------------------------------------- its other settings


def test_a_centre_may_be_named_and_the_shoulders_have_a_middle():
    values, visibility = person("holistic_75")
    by_name, by_number = (apply("holistic_75", values, visibility, centre=which) for which in ("right_wrist", 16))
    assert np.array_equal(by_name, by_number)
    x = apply("holistic_75", values, visibility, centre="shoulders", origin="frame", scale="shoulders")
    assert np.allclose(x[0, :, 11, :3], -x[0, :, 12, :3], atol=1e-5)
    width = np.linalg.norm(x[0, :, 11, :3] - x[0, :, 12, :3], axis=-1)
    assert np.median(width) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ConfigError, match="needs left_shoulder and right_shoulder, hand_21 names wrist"):
        apply("hand_21", *person("hand_21"), scale="shoulders")


@pytest.mark.parametrize("origin", ["clip", "frame"])
def test_the_largest_distance_is_one_in_the_clip_or_in_each_frame(origin):
    x = apply("hand_21", *person("hand_21"), origin=origin, scale="max_norm")
    largest = np.linalg.norm(x[0, ..., :3], axis=-1).max(axis=1)
    assert np.allclose(largest if origin == "frame" else largest.max(), 1, atol=1e-5)


@pytest.mark.parametrize("wanted", ["holistic_75", "top_body_59", "minimal_27", "hands_42", "pose_33", "fsl_78"])
def test_a_smaller_layout_is_the_clip_of_the_picked_landmarks(wanted):
    values, visibility = person("holistic_543")
    at = points.subset("holistic_543", wanted)
    found = apply("holistic_543", values, visibility, layout=wanted)
    assert np.array_equal(found, apply(wanted, values[:, :, at], visibility[:, :, at]))


def test_hands_are_given_back_only_when_asked_and_only_where_a_pose_tells():
    values, visibility = person("holistic_75")
    values[:, :, 15, 0], values[:, :, 16, 0] = 5, -5
    values[:, :, 33:54, 0] += 5
    values[:, :, 54:, 0] -= 5
    wrong = values.copy()
    wrong[:, 2, 33:54], wrong[:, 2, 54:] = values[:, 2, 54:], values[:, 2, 33:54]
    ones = np.ones_like(visibility)
    assert np.array_equal(
        apply("holistic_75", wrong, ones, repair_hands=True), apply("holistic_75", values, ones, repair_hands=True)
    )
    assert not np.array_equal(apply("holistic_75", wrong, ones), apply("holistic_75", values, ones))
    with pytest.raises(ConfigError, match="needs both hands and the wrists of the pose, found minimal_27"):
        apply("minimal_27", *person("minimal_27"), repair_hands=True)


def test_gaps_are_filled_then_points_held():
    values, visibility = person("coco_17", frames=9)
    values[0, 2:4, 9] = values[0, 5:8, 9] = np.nan
    seen = [
        apply("coco_17", values, visibility, **changes)[0, :, 9, 3] > 0
        for changes in ({}, {"gaps": 2}, {"gaps": 2, "hold": True})
    ]
    assert [mark.sum() for mark in seen] == [4, 6, 9]


def test_a_frame_rate_is_resampled_and_one_that_cannot_be_refused():
    values, visibility = person("coco_17", frames=9)
    options = centered.Options.model_validate({"fps": 15})
    assert centered.apply(Landmarks(values, visibility, "coco_17", fps=30), options).shape[1] == 5
    with pytest.raises(ClipError, match="found no frame rate"):
        centered.apply(Landmarks(values, visibility, "coco_17"), options)
    with pytest.raises(ClipError, match="found 1e-09 frames a second, expected at least 1/100"):
        centered.apply(Landmarks(values, visibility, "coco_17", fps=1e-9), options)


@pytest.mark.parametrize("fit", ["uniform", "resize", "loop"])
@pytest.mark.parametrize("frames", [4, 20])
def test_every_clip_has_the_length_that_is_asked_for(fit, frames):
    assert apply("coco_17", *person("coco_17"), frames=fit, max_frames=frames).shape[1] == frames


def test_bones_do_not_depend_on_the_centre():
    values, visibility = person("ntu_25")
    at_neck, at_hip = (apply("ntu_25", values, visibility, centre=c, stream="bone") for c in (20, 0))
    assert np.allclose(at_neck, at_hip, atol=1e-5)


def test_a_step_is_as_long_as_from_one_kept_frame_to_the_next():
    values, visibility = person("ntu_25", frames=9)
    x = apply("ntu_25", values, visibility, frames="uniform", max_frames=3)
    moving = apply("ntu_25", values, visibility, frames="uniform", max_frames=3, stream="joint_motion")
    assert np.allclose(moving[0, :2, :, :3], np.diff(x[0, ..., :3], axis=0), atol=1e-5)
