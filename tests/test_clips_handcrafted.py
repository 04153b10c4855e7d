"""The feature vectors against slow and obvious references, frame by frame, and their laws."""

import math

import numpy as np
import pytest

from raysign.bones import HAND_BONES
from raysign.clips import handcrafted
from raysign.clips.points import mediapipe
from raysign.clips.recipes import fsl_156, hand_84, phonological_36
from raysign.errors import ClipError
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS
from raysign.sources import landmark_parquet

NAN = np.float32(np.nan)


def seen(values, layout, visibility=1.0):
    return Landmarks(values, np.where(np.isnan(values[..., 0]), NAN, np.float32(visibility)), layout)


def made(layout, persons=1, frames=8, seed=0):
    shape = (persons, frames, LAYOUTS[layout].points, 3)
    return np.random.default_rng(seed).uniform(0.1, 0.9, shape).astype(np.float32)


def prepared(recipe, landmarks, **changes):
    return recipe.apply(landmarks, recipe.Options.model_validate(changes))


# ---------------------------------------------------------------- 84 features of a hand


def hand_by_the_book(hand, order):
    """One frame: (21, 3) -> 84 numbers."""
    places = [point - hand[0] for point in hand.astype(np.float64)]
    largest = max(math.sqrt(sum(c * c for c in point)) for point in places)
    places = [point / largest for point in places] if largest else places
    numbers = [float(c) for point in places for c in point]
    return numbers + [math.dist(places[a], places[b]) for a, b in handcrafted.HAND_CONNECTIONS[order]]


@pytest.mark.parametrize("order", ["legacy", "sorted"])
def test_the_84_features_are_those_of_the_book(order):
    values = made("hand_21", 2)
    x = prepared(hand_84, seen(values, "hand_21"), order=order)
    expected = [[hand_by_the_book(hand, order) for hand in person] for person in values]
    np.testing.assert_allclose(x[:, :, 0, :84], expected, atol=1e-5)
    assert (x[..., 84] == 1).all()


def test_both_orders_hold_the_same_connections_and_their_names_say_which():
    assert handcrafted.HAND_CONNECTIONS["sorted"] == HAND_BONES
    assert sorted(handcrafted.HAND_CONNECTIONS["legacy"]) == list(HAND_BONES)
    legacy, ordered = (handcrafted.hand_names(order) for order in ("legacy", "sorted"))
    assert legacy[:63] == ordered[:63]
    assert (legacy[3:6], legacy[63], ordered[63]) == (("x_1", "y_1", "z_1"), "d_3_4", "d_0_1")
    x = {order: prepared(hand_84, seen(made("hand_21"), "hand_21"), order=order) for order in ("legacy", "sorted")}
    at = [ordered.index(name) for name in legacy]
    np.testing.assert_array_equal(x["legacy"][..., :84], x["sorted"][..., at])


def test_where_a_hand_is_and_how_large_does_not_matter_and_a_point_is_no_hand():
    values = made("hand_21")
    x = prepared(hand_84, seen(values, "hand_21"))
    np.testing.assert_allclose(prepared(hand_84, seen(3 * values + 2, "hand_21")), x, atol=1e-4)
    dot = prepared(hand_84, seen(np.repeat(values[:, :, :1], 21, axis=2), "hand_21"))
    assert not dot[..., :84].any()


def test_the_hand_seen_most_is_taken_of_each_person_alone():
    values = made("hands_42", 2)
    values[0, 1:, 21:] = NAN  # the first person's right hand, but for one frame
    values[1, :, 0] = NAN  # the second person's left wrist
    x = prepared(hand_84, seen(values, "hands_42"))
    np.testing.assert_array_equal(x[0], prepared(hand_84, seen(values[:1], "hands_42"), hand="left")[0])
    np.testing.assert_array_equal(x[1], prepared(hand_84, seen(values[1:, :, 21:], "hand_21"))[0])
    with pytest.raises(ClipError, match="none of 8 frames shows a whole hand"):
        prepared(hand_84, seen(values[1:], "hands_42"), hand="left")


def test_half_a_hand_is_not_computed():
    values = made("hand_21")
    values[0, 3, 7] = NAN
    x = prepared(hand_84, seen(values, "hand_21"))
    assert not x[0, 3].any()
    assert x[0, [*range(3), *range(4, 8)], 0, -1].all()


@pytest.mark.real_data
def test_real_hands_have_the_features_of_the_book(real_data):
    with np.load(real_data / "asl_az_static" / "asl_az_hand63_first100.npz") as stored:
        hands = stored["x"][::97].reshape(-1, 21, 3)
    x = prepared(hand_84, seen(hands[None], "hand_21"), order="legacy")
    np.testing.assert_allclose(x[0, :, 0, :84], [hand_by_the_book(hand, "legacy") for hand in hands], atol=1e-5)


# ---------------------------------------------------------------- 36 phonological features


def angle(u, v):
    return math.acos(max(-1.0, min(1.0, float(np.dot(u, v) / (np.linalg.norm(u) * np.linalg.norm(v))))))


def phonological_by_the_book(values, layout):
    """One person (T, V, 3): the features frame by frame, None for a frame that does not count."""
    there, out, before = mediapipe(layout), [], None
    for frame in values.astype(np.float64):
        nose, left, right = (frame[there["pose", point]] for point in (0, 11, 12))
        size, yaw = np.linalg.norm(left - right), math.atan2(left[1] - right[1], left[0] - right[0])
        back = np.array([[math.cos(-yaw), -math.sin(-yaw), 0], [math.sin(-yaw), math.cos(-yaw), 0], [0, 0, 1]])
        point = {name: back @ ((frame[i] - nose) / size) for name, i in there.items()}
        shapes, places, normals = [], [], []
        for part in ("left_hand", "right_hand"):
            h = [point[part, i] for i in range(21)]
            shapes += [angle(h[4] - h[0], h[5] - h[0])]
            shapes += [angle(h[4 * k + 1] - h[0], h[4 * k + 4] - h[4 * k + 1]) for k in (1, 2, 3, 4)]
            places += list(np.mean([h[i] for i in (0, 5, 9, 13, 17)], axis=0))
            normal = np.cross(h[5] - h[0], h[17] - h[0])
            normals += list(normal / np.linalg.norm(normal))
        old_places, old_normals = before or (places, normals)
        steps = [new - old for new, old in zip(places, old_places, strict=True)]
        turns = [math.dist(normals[:3], old_normals[:3]), math.dist(normals[3:], old_normals[3:])]
        numbers = [*shapes, *places, *normals, *steps, *turns, 0.0]
        if ("face", 33) in there:
            eyes = (point["face", 362] + point["face", 263] - point["face", 33] - point["face", 133]) / 2
            numbers += [*(eyes / np.linalg.norm(eyes)), math.dist(point["face", 61], point["face", 291]), 0.0]
        else:
            numbers += [math.nan] * 4 + [0.0]
        counts = not np.isnan([nose, left, right]).any() and not (math.isnan(places[0]) and math.isnan(places[3]))
        out.append([0.0 if math.isnan(number) else number for number in numbers] if counts else None)
        before = places, normals
    return out


@pytest.mark.parametrize("layout", ["holistic_543", "fsl_78", "holistic_75", "top_body_59"])
@pytest.mark.parametrize("torn", [False, True])
def test_the_36_features_are_those_of_the_book(layout, torn):
    values = made(layout, 2)
    if torn:
        slices = LAYOUTS[layout].slices
        values[0, 2:4, slices["left_hand"]] = NAN  # one hand
        values[1, 5, slices["left_hand"]] = values[1, 5, slices["right_hand"]] = NAN  # both
        values[0, 6, 11] = NAN  # a shoulder
    x = prepared(phonological_36, seen(values, layout))
    assert x.shape == (2, 8, 1, 37)
    for person, found in zip(values, x[:, :, 0], strict=True):
        for expected, numbers in zip(phonological_by_the_book(person, layout), found, strict=True):
            np.testing.assert_allclose(numbers, [0] * 37 if expected is None else [*expected, 1], atol=2e-4)


def test_the_36_features_do_not_see_where_a_signer_stands_how_near_or_how_tilted():
    values = made("holistic_75")
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]], np.float32)
    moved = 0.5 * values @ turn.T + np.array([1, 2, 3], np.float32)
    found = prepared(phonological_36, seen(moved, "holistic_75"))
    np.testing.assert_allclose(found, prepared(phonological_36, seen(values, "holistic_75")), atol=1e-3)


def test_a_hand_that_holds_still_has_no_movement():
    values = np.repeat(made("holistic_75", frames=1), 5, axis=1)
    x = prepared(phonological_36, seen(values, "holistic_75"))
    moving = [i for i, name in enumerate(handcrafted.PHONOLOGICAL) if "_step_" in name or "_turn" in name]
    assert len(moving) == 8
    assert np.abs(x[..., moving]).max() < 1e-5
    assert np.abs(x[..., :22]).min() > 0


@pytest.mark.real_data
def test_a_real_signer_has_the_phonological_features_of_the_book(real_data):
    source = landmark_parquet.Options.model_validate({"path": real_data / "traduttore_words" / "gislr"})
    for ref in landmark_parquet.clips(source)[::12]:
        landmarks = landmark_parquet.read(ref, source)
        x = prepared(phonological_36, landmarks)[0, :, 0]
        for expected, numbers in zip(phonological_by_the_book(landmarks.values[0], landmarks.layout), x, strict=True):
            np.testing.assert_allclose(numbers, [0] * 37 if expected is None else [*expected, 1], atol=2e-3)


# ---------------------------------------------------------------- the 78 points of FSL-105


def test_points_outside_the_image_or_of_a_faint_pose_are_not_seen():
    values = made("fsl_78")
    visibility = np.ones(values.shape[:3], np.float32)
    visibility[0, :, 3], visibility[0, :, 4], visibility[0, :, 30] = 0.49, 0.5, 0.1
    values[0, :, 4, 0] = 1.3  # of the pose: held at the border
    values[0, :, 40, 1] = -0.1  # of a hand: outside
    x = prepared(fsl_156, Landmarks(values, visibility, "fsl_78"))[0, 0]
    assert x[[3, 4, 30, 40], 2].tolist() == [0, 1, 1, 0]
    assert x[4, 0] == 1
    np.testing.assert_array_equal(x[30, :2], values[0, 0, 30, :2])


def test_points_are_picked_from_the_whole_and_short_gaps_filled():
    values = made("holistic_543", frames=20)
    values[0, 3:8, 501:522] = values[0, 10:16, 522:] = NAN
    x = prepared(fsl_156, seen(values, "holistic_543"))
    assert x[0, 3:8, 25:46, 2].all()
    assert not x[0, 10:16, 46:67].any()
    face = values[0, :, 33:501][:, [1, 33, 263, 133, 362, 61, 291, 105, 334, 199, 4], :2]
    np.testing.assert_array_equal(x[0, :, 67:, :2], face)
    assert not prepared(fsl_156, seen(values, "holistic_543"), gaps=0)[0, 3:8, 25:46].any()


@pytest.mark.parametrize(("hidden", "told"), [
    (range(14), False), (range(15), True), ([*range(14), *range(15, 29)], False), (range(0, 80, 2), True),
])  # fmt: skip
def test_a_clip_is_occluded_by_a_long_run_or_by_a_large_share(hidden, told):
    shown = np.ones((2, 80, 78), bool)
    shown[0, list(hidden), 46:] = False  # 46 of 78 are less than 0.6
    assert handcrafted.occluded(shown).tolist() == [told, False]
    assert not handcrafted.occluded(np.arange(78) < np.full((1, 80, 1), 47)).any()


def test_occluded_clips_are_dropped_only_when_asked():
    values = made("fsl_78")
    values[:, :, 25:67] = NAN
    assert prepared(fsl_156, seen(values, "fsl_78")).shape == (1, 8, 78, 3)
    with pytest.raises(ClipError, match="occluded"):
        prepared(fsl_156, seen(values, "fsl_78"), drop_occluded=True)
