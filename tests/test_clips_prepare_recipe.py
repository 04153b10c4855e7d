"""Laws of the shoulder-centred recipe."""

import numpy as np
import pytest

from raysign.bones import FACE_POINTS, FACE_ROOT
from raysign.clips.recipes import shoulder_centered
from raysign.errors import ClipError, ConfigError
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS

LEFT, RIGHT = slice(17, 38), slice(38, 59)


def options(**changes):
    return shoulder_centered.Options.model_validate(changes)


def signer(frames=6, layout="holistic_75", seed=0):
    """Someone whose hands are at their own wrists, far apart; values (1, T, V, 3) and visibility (1, T, V)."""
    rng = np.random.default_rng(seed)
    parts = LAYOUTS[layout].slices
    values = rng.uniform(0.3, 0.7, (1, frames, LAYOUTS[layout].points, 3)).astype(np.float32)
    if "pose" in parts:
        values[:, :, [11, 12, 15, 16]] = [[0.65, 0.4, 0], [0.35, 0.4, 0], [0.9, 0.8, 0.1], [0.1, 0.8, 0.1]]
        values[:, :, [11, 12, 15, 16]] += rng.normal(0, 0.01, (1, frames, 4, 3))
    for part, x in (("left_hand", 0.9), ("right_hand", 0.1)):
        if part in parts:
            values[:, :, parts[part]] = rng.normal(0, 0.02, (1, frames, 21, 3)) + np.array([x, 0.8, 0])
    return values.astype(np.float32), rng.uniform(0.5, 1, values.shape[:3]).astype(np.float32)


def apply(values, visibility, layout="holistic_75", **changes):
    return shoulder_centered.apply(Landmarks(values, visibility, layout), options(**changes))


def by_the_book(values, visibility):
    """The recipe, frame by frame and hand by hand, for a signer whose hands are named rightly."""
    out = np.zeros((*values.shape[:2], 59, 4), np.float32)
    for t in range(values.shape[1]):
        pose, left, right = values[0, t, :33], values[0, t, 33:54], values[0, t, 54:]
        moved = pose - (pose[11] + pose[12]) / 2
        hands = [left - left[0] + moved[15], right - right[0] + moved[16]]
        out[0, t, :, :3] = np.concatenate([moved[:17], *hands])
        out[0, t, :, 3] = visibility[0, t][[*range(17), *range(33, 75)]]
    return out


def swap(values, frames=slice(None)):
    """The same with the names of the hands exchanged in some frames."""
    swapped = values.copy()
    swapped[:, frames, 33:54], swapped[:, frames, 54:] = values[:, frames, 54:], values[:, frames, 33:54]
    return swapped


def test_a_clip_is_what_the_recipe_says_frame_by_frame():
    values, visibility = signer()
    x = apply(values, visibility)
    assert x.shape == (1, 6, 59, 4)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, by_the_book(values, visibility), atol=1e-6)


def test_shoulders_are_about_the_origin_and_hands_hang_on_the_wrists():
    x = apply(*signer())
    np.testing.assert_allclose(x[0, :, 11, :3], -x[0, :, 12, :3], atol=1e-6)
    np.testing.assert_allclose(x[0, :, LEFT.start, :3], x[0, :, 15, :3], atol=1e-6)
    np.testing.assert_allclose(x[0, :, RIGHT.start, :3], x[0, :, 16, :3], atol=1e-6)


def test_moving_the_whole_signer_changes_nothing():
    values, visibility = signer()
    moved = apply(values + np.array([0.1, -0.05, 0.3], np.float32), visibility)
    np.testing.assert_allclose(moved, apply(values, visibility), atol=1e-6)


@pytest.mark.parametrize("frames", [slice(None), slice(2, 4), [0, 5]])
def test_hands_named_wrongly_are_given_back_to_their_wrists(frames):
    values, visibility = signer()
    visibility[:, :, 33:54], visibility[:, :, 54:] = 0.6, 0.8
    wrong_visibility = swap(visibility[..., None], frames)[..., 0]
    np.testing.assert_array_equal(apply(swap(values, frames), wrong_visibility), apply(values, visibility))


@pytest.mark.parametrize(("hand", "named"), [(33, 33), (33, 54), (54, 33), (54, 54)])
def test_one_hand_goes_to_the_wrist_it_is_nearest_to_whatever_its_name(hand, named):
    values, visibility = signer()
    alone = values.copy()
    alone[:, :, 33:] = np.nan
    alone[:, :, named : named + 21] = values[:, :, hand : hand + 21]
    x = apply(alone, visibility)
    mine, other = (LEFT, RIGHT) if hand == 33 else (RIGHT, LEFT)
    np.testing.assert_array_equal(x[:, :, mine, :3], apply(values, visibility)[:, :, mine, :3])
    assert not x[:, :, other].any()


def test_a_hand_is_not_given_to_a_wrist_that_nobody_sees():
    values, visibility = signer()
    values[:, :, 16] = values[:, :, 54:] = np.nan
    hand = apply(values, visibility)[0, :, 17:38]
    assert (hand[..., 3] > 0).all()


def test_hands_that_no_wrist_tells_apart_keep_their_names():
    values, visibility = signer()
    values[:, :, 16] = values[:, :, 15]
    unmoved = apply(values, visibility)
    np.testing.assert_allclose(unmoved, by_the_book(values, visibility), atol=1e-6)


def test_what_is_not_seen_is_zero_with_visibility_zero():
    values, visibility = signer()
    values[0, 1, 33:54] = np.nan  # a hand without its visibility being NaN
    values[0, 2, 5, 0] = np.nan  # one number of one point
    x = apply(values, visibility)
    assert np.isfinite(x).all()
    assert not x[0, 1, LEFT].any()
    assert not x[0, 2, 5].any()
    assert (x[0, 1, RIGHT, 3] > 0).all()


def test_without_a_pose_a_hand_keeps_its_shape_with_its_wrist_at_the_origin():
    values, visibility = signer()
    blind = values.copy()
    blind[0, 3, :33] = np.nan
    x = apply(blind, visibility)
    assert not x[0, 3, :17].any()
    np.testing.assert_allclose(x[0, 3, LEFT, :3], values[0, 3, 33:54] - values[0, 3, 33], atol=1e-6)
    np.testing.assert_array_equal(np.delete(x, 3, 1), np.delete(apply(values, visibility), 3, 1))


def test_the_first_frames_are_kept_and_too_short_a_clip_is_refused():
    values, visibility = signer()
    np.testing.assert_array_equal(apply(values, visibility, max_frames=4), apply(values, visibility)[:, :4])
    with pytest.raises(ClipError, match="found 6 frames, expected at least 7"):
        apply(values, visibility, min_frames=7)


def test_the_face_is_tied_to_the_nose_and_comes_after_the_pose():
    values, visibility = signer(layout="holistic_543")
    parts = ("left_hand", "face", "pose", "right_hand")
    x = apply(values, visibility, "holistic_543", parts=parts)
    skeleton = shoulder_centered.skeleton(options(parts=parts), "holistic_543")
    assert [part for part, _ in skeleton.parts] == ["pose", "face", "left_hand", "right_hand"]
    assert x.shape[2] == skeleton.points == 59 + len(FACE_POINTS)
    nose = skeleton.slices["face"].start + FACE_POINTS.index(FACE_ROOT)
    np.testing.assert_allclose(x[0, :, nose, :3], x[0, :, 0, :3], atol=1e-6)
    without = apply(values, visibility, "holistic_543")
    np.testing.assert_array_equal(np.delete(x, np.r_[skeleton.slices["face"]], axis=2), without)


def test_the_same_person_gives_the_same_clip_from_a_layout_with_and_without_face():
    values, visibility = signer(layout="holistic_543")
    few = np.r_[0:33, 501:543]
    np.testing.assert_array_equal(
        apply(values, visibility, "holistic_543"), apply(values[:, :, few], visibility[:, :, few])
    )


def test_scaled_by_the_shoulders_near_and_far_signers_are_alike():
    values, visibility = signer()
    near, far = (apply(values * np.float32(f), visibility, scale="shoulders") for f in (1, 0.5))
    np.testing.assert_allclose(near, far, atol=1e-5)
    width = np.linalg.norm(near[0, :, 11, :2] - near[0, :, 12, :2], axis=-1)
    assert np.median(width) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("scale", ["none", "shoulders"])
def test_layouts_without_pose_or_hands_are_filled_with_unseen_points(scale):
    values, visibility = signer(layout="hands_42")
    x = apply(values, visibility, "hands_42", scale=scale)
    assert not x[:, :, :17].any()
    np.testing.assert_allclose(x[0, :, LEFT, :3], values[0, :, :21] - values[0, :, :1], atol=1e-6)
    values, visibility = signer(layout="pose_33")
    x = apply(values, visibility, "pose_33", scale=scale)
    assert not x[:, :, 17:].any()
    assert x[:, :, :17].any()
    with pytest.raises(ConfigError, match=r"needs MediaPipe's left_hand, found pose_33 of pose \(33\)"):
        apply(values, visibility, "pose_33", parts=("left_hand",))


def test_two_persons_are_prepared_each_alone():
    one, two = signer(seed=1), signer(seed=2)
    values = np.concatenate([one[0], swap(two[0])])
    both = apply(values, np.concatenate([one[1], two[1]]), scale="shoulders")
    np.testing.assert_array_equal(both[:1], apply(*one, scale="shoulders"))
    np.testing.assert_array_equal(both[1:, ..., :3], apply(*two, scale="shoulders")[..., :3])


def test_the_input_is_left_as_it_was():
    values, visibility = signer()
    values.flags.writeable = visibility.flags.writeable = False
    apply(swap(values), visibility, scale="shoulders")
