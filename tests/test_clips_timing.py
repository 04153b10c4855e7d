"""Laws of the steps in time, and of which frames a clip of fixed length is made of."""

import numpy as np
import pytest

from raysign.clips import timing

NAN = np.float32(np.nan)


def line(frames, persons=2, count=3):
    """A clip whose numbers rise by one a frame, from a start of their own."""
    start = np.random.default_rng(0).normal(size=(persons, 1, count, 4))
    return (start + np.arange(frames)[:, None, None]).astype(np.float32)


@pytest.mark.parametrize(("first", "last", "most", "filled"), [(2, 4, 3, True), (2, 5, 3, False), (0, 1, 9, False),
                                                               (7, 9, 9, False), (1, 8, 8, True)])  # fmt: skip
def test_a_gap_is_filled_on_a_straight_line_when_it_is_short_and_has_both_ends(first, last, most, filled):
    whole = line(10)
    torn = whole.copy()
    torn[1, first : last + 1, 2] = NAN
    found = timing.fill_gaps(torn, most)
    np.testing.assert_allclose(found, whole if filled else torn, atol=1e-5)
    np.testing.assert_array_equal(timing.fill_gaps(found, most), found)


def test_filling_touches_nothing_that_is_seen_and_no_switch_no_filling():
    torn = line(10)
    torn[np.random.default_rng(1).random(torn.shape[:3]) < 0.4] = NAN
    seen = ~np.isnan(torn)
    np.testing.assert_array_equal(timing.fill_gaps(torn, 2)[seen], torn[seen])
    np.testing.assert_array_equal(timing.fill_gaps(torn, 0), torn)


def test_gaps_are_filled_alike_forwards_and_backwards():
    torn = line(12)
    torn[np.random.default_rng(2).random(torn.shape[:3]) < 0.5] = NAN
    np.testing.assert_allclose(timing.fill_gaps(torn[:, ::-1], 3)[:, ::-1], timing.fill_gaps(torn, 3), atol=1e-5)


def test_a_held_point_stays_where_it_was_last_and_is_not_made_up_before():
    torn = line(6)
    torn[0, [0, 2, 3], 1] = NAN
    held = timing.hold_last(torn)
    assert np.isnan(held[0, 0, 1]).all()
    np.testing.assert_array_equal(held[0, 2:4, 1], torn[0, [1, 1], 1])
    np.testing.assert_array_equal(np.delete(held, 1, 2), np.delete(torn, 1, 2))


@pytest.mark.parametrize("frames", [1, 3, 7, 10, 25])
def test_a_resized_line_is_a_line_and_its_own_length_changes_nothing(frames):
    whole = line(10)
    found = timing.to_length(whole, "resize", frames)
    assert found.shape[1] == frames
    steps = np.diff(found, axis=1)[:, 1:-1]  # the ends stand still when more frames are made than there are
    np.testing.assert_allclose(steps, 10 / frames, atol=1e-4)
    np.testing.assert_array_equal(timing.to_length(whole, "resize", 10), whole)


def test_between_a_frame_that_shows_a_point_and_one_that_does_not_the_nearer_counts():
    torn = line(4)
    torn[:, 2, 0] = NAN
    found = timing.at_times(torn, np.array([1.0, 1.4, 1.6, 2.0, 2.4, 2.6, 3.0]))[:, :, 0]
    assert (np.isnan(found).all(-1) == [False, False, True, True, True, False, False]).all()
    np.testing.assert_array_equal(found[:, [0, 1, 5, 6]], torn[:, [1, 1, 3, 3], 0])


def test_another_frame_rate_keeps_the_time_a_clip_takes():
    whole = line(31)
    np.testing.assert_array_equal(timing.to_fps(whole, 30, 30), whole)
    half = timing.to_fps(whole, 30, 15)
    np.testing.assert_allclose(half, whole[:, ::2], atol=1e-5)
    double = timing.to_fps(whole, 30, 60)
    np.testing.assert_allclose(double[:, ::2], whole, atol=1e-5)
    assert double.shape[1] == 61
    assert timing.to_fps(whole[:, :1], 30, 7).shape[1] == 1


@pytest.mark.parametrize("fit", ["uniform", "resize", "loop"])
@pytest.mark.parametrize("frames", [1, 4, 10, 13, 40])
def test_a_fixed_length_is_a_fixed_length(fit, frames):
    found = timing.to_length(line(frames), fit, 10)
    assert found.shape[1] == 10
    assert np.isfinite(found).all()


def test_a_loop_begins_again_and_the_first_frames_are_the_first():
    whole = line(4)
    np.testing.assert_array_equal(timing.to_length(whole, "loop", 10), whole[:, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]])
    np.testing.assert_array_equal(timing.to_length(whole, "first", 3), whole[:, :3])
    np.testing.assert_array_equal(timing.to_length(whole, "first", 9), whole)


# ---------------------------------------------------------------- uniform sampling


@pytest.mark.parametrize("frames", [1, 5, 10, 11, 17, 19, 20, 21, 50, 333])
def test_sampled_frames_obey_the_rule_for_their_length(frames):
    length, clips = 10, 7
    sampled = timing.uniform_clips(frames, length, clips, 255)
    for found in (*sampled, timing.uniform(frames, length)):
        assert found.shape == (length,)
        assert ((found >= 0) & (found < frames)).all()
        if frames < length:
            assert ((found[1:] - found[:-1]) % frames == 1 % frames).all()
        elif frames < 2 * length:
            assert set(np.diff(found)) <= {1, 2}
        else:
            edges = [i * frames // length for i in range(length + 1)]
            assert all(low <= frame < high for low, frame, high in zip(edges, found, edges[1:], strict=False))
    assert frames > 9 or sampled[:, 0].tolist() == [i % frames if frames < clips else i * frames // clips
                                                    for i in range(clips)]  # fmt: skip


def test_every_frame_of_a_stretch_and_every_way_to_skip_can_be_drawn():
    many = timing.uniform_clips(40, 10, 2000, 0)
    assert set(many[:, 3]) == {12, 13, 14, 15}
    few = timing.uniform_clips(12, 10, 2000, 0)
    assert len({tuple(row) for row in few}) == 55  # two of eleven places are skipped


def test_the_draw_is_its_own_and_always_the_same():
    np.random.seed(7)
    before = np.random.get_state(legacy=False)["state"]["key"].tolist()
    first, again = (timing.uniform_clips(100, 10, 5, 255) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.random.get_state(legacy=False)["state"]["key"].tolist() == before
    assert (timing.uniform_clips(100, 10, 5, 1) != first).any()


def test_the_middle_sample_is_in_the_middle():
    np.testing.assert_array_equal(timing.uniform(30, 10), np.arange(10) * 3 + 1)
    np.testing.assert_array_equal(timing.uniform(10, 10), np.arange(10))
