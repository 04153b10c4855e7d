"""Ways to damage a clip: laws that every one keeps, those that are added later too."""

from dataclasses import replace

import numpy as np
import pytest

from raysign.infer.damage import STRESSORS, STRETCH
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS

EVERY = [(one, level) for one in STRESSORS.values() for level in one.levels]
NAMES = [f"{one.name}-{level:g}" for one, level in EVERY]


def clip(gaps: bool = True) -> Landmarks:
    """A made-up signer of two hands, of whom now and then a hand and now and then nothing is seen."""
    rng = np.random.default_rng(0)
    values = (rng.random((1, 1, 75, 3)) + rng.normal(0, 0.02, (1, 57, 75, 3))).astype(np.float32)
    visibility = np.ones((1, 57, 75), np.float32)
    if gaps:
        for array in (values, visibility):
            array[:, 5:9], array[:, 12:20, 33:54], array[:, :, 40] = np.nan, np.nan, np.nan
    return Landmarks(values, visibility, "holistic_75", 30.0, 1280, 720)


def seen(found: Landmarks) -> np.ndarray:
    return np.asarray(np.isfinite(found.values).all(-1)) & np.isfinite(found.visibility)


def equal(a: Landmarks, b: Landmarks) -> bool:
    return np.array_equal(a.values, b.values, equal_nan=True) and np.array_equal(a.visibility, b.visibility, True)


@pytest.mark.parametrize("one", STRESSORS.values(), ids=STRESSORS)
def test_the_level_of_nothing_changes_nothing_to_the_bit(one):
    assert equal(one(clip(), one.nothing, 0, "a"), clip())
    assert one.nothing not in one.levels


@pytest.mark.parametrize(("one", "level"), EVERY, ids=NAMES)
def test_the_same_seed_and_clip_give_the_same_damage(one, level):
    assert equal(one(clip(), level, 3, "a"), one(clip(), level, 3, "a"))


@pytest.mark.parametrize(("one", "level"), EVERY, ids=NAMES)
def test_a_level_that_is_not_nothing_changes_the_clip_and_not_what_it_is_given(one, level):
    given = clip()
    assert not equal(one(given, level, 0, "a"), clip())
    assert equal(given, clip())


@pytest.mark.parametrize(("one", "level"), EVERY, ids=NAMES)
def test_what_is_not_seen_never_appears(one, level):
    before, after = seen(clip()), seen(one(clip(), level, 0, "a"))
    if before.shape == after.shape:
        assert (after.sum(axis=2) <= before.sum(axis=2)).all()
    never, ever = np.asarray(~before.any(axis=1)), np.asarray(after.any(axis=1))
    assert not ever[never].any() or one.name in SWAPS
    assert np.array_equal(np.isnan(one(clip(), level, 0, "a").visibility), ~after)


SWAPS = ("swapped_hands", "other_handed")  # a point that is never seen changes places with its twin


@pytest.mark.parametrize(("one", "level"), EVERY, ids=NAMES)
def test_damage_keeps_the_kind_of_the_arrays_and_the_layout(one, level):
    after = one(clip(), level, 0, "a")
    assert (after.values.dtype, after.visibility.dtype, after.layout) == (np.float32, np.float32, clip().layout)


@pytest.mark.parametrize(("one", "level"), EVERY, ids=NAMES)
def test_a_clip_in_which_nothing_is_seen_stays_so(one, level):
    empty = replace(
        clip(), values=np.full_like(clip().values, np.nan), visibility=np.full_like(clip().visibility, np.nan)
    )
    assert equal(one(empty, level, 0, "a"), empty)


@pytest.mark.parametrize("part", ["values", "visibility"])
@pytest.mark.parametrize("one", STRESSORS.values(), ids=STRESSORS)
def test_a_clip_in_which_no_point_is_seen_wholly_stays_so(one, part):
    array = getattr(clip(), part)
    array[(..., 2) if part == "values" else ...] = np.nan
    half = replace(clip(), **{part: array})
    assert equal(one(half, one.levels[-1], 0, "a"), half)


@pytest.mark.parametrize("far", [np.inf, 3e38])
@pytest.mark.parametrize(("one", "level"), EVERY, ids=NAMES)
def test_numbers_that_run_away_stop_nobody(one, level, far):
    torn = clip()
    torn.values[0, 0, :2, 0] = far, -far
    assert one(torn, level, 0, "a").layout == torn.layout


@pytest.mark.parametrize("one", STRESSORS.values(), ids=STRESSORS)
def test_every_stressor_takes_every_layout_or_says_why_not(one):
    rng = np.random.default_rng(0)
    for known in LAYOUTS.values():
        if one.lacking(known):
            assert known.name in one.lacking(known)
            continue
        values = rng.random((2, 4, known.points, 3)).astype(np.float32)
        found = Landmarks(values, np.ones(values.shape[:3], np.float32), known.name)
        assert np.isfinite(one(found, one.levels[0], 0, "a").values).any()


@pytest.mark.parametrize("name", ["hand_loss", "left_hand_loss", "frame_loss"])
def test_what_is_lost_at_one_level_is_lost_at_a_higher_one_and_no_more_than_its_share(name):
    one, whole, before = STRESSORS[name], clip(gaps=False), None
    for level in one.levels:
        lost = seen(whole) & ~seen(one(whole, level, 0, "a"))
        assert abs(lost[0, :, 33].mean() - level) < 0.01  # a frame of 57
        assert before is None or (lost | ~before).all()
        before = lost


def test_hands_vanish_in_stretches():
    lost = np.asarray(~seen(STRESSORS["frame_loss"](clip(gaps=False), 0.5, 0, "a")).any(axis=2))[0]
    assert np.diff(lost.astype(int)).astype(bool).sum() <= 2 * len(lost) / STRETCH


def test_the_other_hand_is_not_touched():
    found, hands = STRESSORS["left_hand_loss"](clip(), 1.0, 0, "a"), LAYOUTS["holistic_75"].slices
    assert not seen(found)[:, :, hands["left_hand"]].any()
    assert np.array_equal(found.values[:, :, hands["right_hand"]], clip().values[:, :, hands["right_hand"]], True)


@pytest.mark.parametrize("name", SWAPS)
def test_a_swap_or_a_mirror_twice_is_nothing(name):
    one = STRESSORS[name]
    twice = one(one(clip(), 1.0, 0, "a"), 1.0, 0, "a")
    np.testing.assert_allclose(twice.values, clip().values, atol=1e-6)
    assert np.array_equal(twice.visibility, clip().visibility, equal_nan=True)


@pytest.mark.parametrize("name", ["tilt", "turn", "shift"])
@pytest.mark.parametrize("pair", [(11, 13), (33, 50), (54, 60)], ids=["pose", "left hand", "right hand"])
def test_a_signer_who_is_moved_keeps_lengths_in_space(name, pair):
    whole, one = clip(gaps=False), STRESSORS[name]
    tall = np.array([1, whole.height / whole.width, 1])
    before, after = (
        np.linalg.norm((found.values[0, :, pair[0]] - found.values[0, :, pair[1]]) * tall, axis=-1)
        for found in (whole, one(whole, one.levels[-1], 0, "a"))
    )
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_noise_is_counted_in_shoulder_widths_whatever_the_size():
    whole, one = clip(gaps=False), STRESSORS["jitter"]
    small = replace(whole, values=whole.values / 4)
    noise = [one(found, 0.1, 0, "a").values - found.values for found in (whole, small)]
    np.testing.assert_allclose(noise[0], 4 * noise[1], atol=1e-5)
    apart = np.linalg.norm((whole.values[0, :, 11] - whole.values[0, :, 12])[:, :2] * [1, 720 / 1280], axis=-1)
    assert noise[0][..., 0].std() == pytest.approx(0.1 * np.median(apart), rel=0.05)


def test_half_the_frames_a_second_are_every_other_frame():
    whole = clip()
    after = STRESSORS["frame_rate"](whole, 0.5, 0, "a")
    assert np.array_equal(after.values, whole.values[:, ::2], equal_nan=True)
    assert after.fps == whole.fps / 2
    assert STRESSORS["signing_speed"](whole, 2.0, 0, "a").fps == whole.fps
