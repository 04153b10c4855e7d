"""Clips that are the same as others, or nearly."""

import numpy as np
import pytest
from made_stages import RECIPE, made

from raysign.checks import evidence, limits, twins
from raysign.clips.recipes import shoulder_centered
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS

HOLISTIC = LAYOUTS["holistic_75"]


def tracks(values: list[np.ndarray], layout=HOLISTIC) -> np.ndarray:
    drawn = []
    for value in values:
        places, seen = value[0, ..., :2], np.isfinite(value[0, ..., 0])
        drawn.append(twins.track(places, seen, layout, evidence.body_size(places, seen, layout)))
    return np.stack(drawn)


def near(values: list[np.ndarray], layout=HOLISTIC) -> set[tuple[int, int]]:
    frames = np.array([value.shape[1] for value in values])
    pairs = twins.find(tracks(values, layout), frames, [str(i).encode() for i in range(len(values))]).near
    return {(a, b) for a, b in pairs.tolist()}


def prepared(clip: Landmarks) -> np.ndarray:
    """The clip by the default recipe, NaN where not seen."""
    x = shoulder_centered.apply(clip, RECIPE)
    return np.where(x.any(-1, keepdims=True), x, np.nan)


def hands_alone(clip: Landmarks) -> Landmarks:
    return Landmarks(clip.values[:, :, 33:], clip.visibility[:, :, 33:], "hands_42")


@pytest.mark.parametrize(("form", "layout"), [
    (lambda clip: clip.values, HOLISTIC),
    (lambda clip: hands_alone(clip).values, LAYOUTS["hands_42"]),
    (prepared, shoulder_centered.skeleton(RECIPE, "holistic_75")),
    (lambda clip: prepared(hands_alone(clip)), shoulder_centered.skeleton(RECIPE, "hands_42")),
], ids=["bodies", "hands", "prepared bodies", "prepared hands"])  # fmt: skip
def test_different_takes_are_no_twins(form, layout):
    assert near([form(clip) for _, clip in made()], layout) == set()


@pytest.mark.parametrize(("change", "least"), [
    (lambda v: v + np.random.default_rng(1).normal(0, 0.001, v.shape), 1.0),
    (lambda v: v[:, 1:], 0.7),  # hands seen in the first frame alone, and points that tremble, hide some
    (lambda v: v[:, : -(v.shape[1] // 20)], 0.6),
    (lambda v: 0.5 * v + 0.2, 1.0),
], ids=["noised", "begun a frame later", "ended a twentieth earlier", "smaller and aside"])  # fmt: skip
def test_changed_copies_are_found(change, least):
    values = [clip.values for _, clip in made()]
    copies = near([*values, *map(change, values)])
    assert copies <= {(i, i + len(values)) for i in range(len(values))}
    assert len(copies) >= least * len(values)


def test_a_pair_is_found_whatever_the_order():
    values = [clip.values for _, clip in made()]
    values += [values[4][:, 1:]]
    assert near(values) == {(4, 27)}
    assert near(values[::-1]) == {(0, 23)}


def test_equal_clips_are_one_group_and_no_near_twins():
    values = [clip.values for _, clip in made()][:4]
    result = twins.find(tracks([*values, values[2]]), np.full(5, 40), [b"0", b"1", b"2", b"3", b"2"])
    assert result.equal == [[2, 4]]
    assert len(result.near) == 0


def test_clips_that_are_alike_are_each_compared_with_a_few():
    alike = np.random.default_rng(0).normal(0, 1e-3, (1000, twins.STEPS, twins.POINTS, 2)).astype(np.float16)
    pairs = np.concatenate(list(twins._candidates(alike, np.arange(len(alike)))))
    assert len(alike) <= len(pairs) <= len(alike) * limits.NEIGHBOURS


# ---------------------------------------------------------------- real recordings


@pytest.mark.real_data
def test_neighbouring_frames_of_a_real_recording_are_twins_of_one_letter(real_data):
    letters = np.load(real_data / "asl_az_static" / "asl_az_hand63_first100.npz", allow_pickle=False)
    layout = evidence.skeleton.layout("hand_21")
    places = letters["x"].reshape(len(letters["x"]), 21, 3)[:400, :, :2]
    seen = np.ones((1, 21), bool)
    drawn = [twins.track(one[None], seen, layout, evidence.body_size(one[None], seen, layout)) for one in places]
    pairs = twins.find(np.stack(drawn), np.ones(400, int), [one.tobytes() for one in places]).near
    label = letters["label"]
    assert len(pairs) > 100
    assert all(label[a] == label[b] for a, b in pairs)


@pytest.mark.real_data
def test_a_word_that_real_people_sign_again_is_no_twin(real_data):
    words = np.load(real_data / "traduttore_words" / "words_shared.npz", allow_pickle=False)["x"]
    pose = words[:, :, :132].reshape(*words.shape[:2], 33, 4)[..., :3]
    points = np.concatenate([pose, words[:, :, 132:].reshape(*words.shape[:2], 42, 3)], axis=2)
    values = [np.where(clip == 0, np.nan, clip)[None] for clip in points]
    assert near(values) == set()
    copies = near([*values, *(clip[:, :-2] for clip in values)])
    assert copies <= {(i, i + len(values)) for i in range(len(values))}
    assert len(copies) > 0.9 * len(values)
