"""Features beside landmarks: kept bit by bit, and made into clips of one point a frame."""

from dataclasses import replace

import numpy as np
import pytest

from raysign import config, store
from raysign.clips.recipes import phonological_36, stored_features
from raysign.errors import ClipError, ConfigError
from raysign.kinds import kind_module, kinds
from raysign.schema import (
    FEATURE_SIZES,
    LANDMARKS,
    ClipRef,
    Landmarks,
    landmarks_of,
    landmarks_row,
    shares_seen,
    to_table,
)
from raysign.skeleton import NO_POINTS

each = pytest.mark.parametrize("kind", FEATURE_SIZES)


def clip(frames=6, kind="phonological_36", points=False, seed=0, size=None) -> Landmarks:
    """A clip of random features, the second frame without any, with or without points."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(frames, size or FEATURE_SIZES[kind])).astype(np.float32)
    features[1:2] = np.nan
    values = rng.random((1, frames, 75 if points else 0, 3), np.float32)
    layout = "holistic_75" if points else NO_POINTS.name
    return Landmarks(values, np.ones(values.shape[:3], np.float32), layout, features=features, features_kind=kind)


def plain(seed=1) -> Landmarks:
    values = np.random.default_rng(seed).random((1, 4, 75, 3), np.float32)
    return Landmarks(values, values[..., 0], "holistic_75")


def stored(path, clips):
    """What comes back from a shard of them."""
    rows = [landmarks_row(ClipRef(f"clip{i}", "file", "1", ("a",)), "e", one) for i, one in enumerate(clips)]
    store.write_table(path / "shard-0.parquet", to_table(rows, LANDMARKS))
    return store.read_table(path / "shard-0.parquet")


def options(**changes):
    return stored_features.Options.model_validate({"features": "phonological_36", **changes})


# ---------------------------------------------------------------- in the table


def test_clips_with_features_and_points_or_one_of_them_come_back_bit_by_bit(tmp_path):
    made = [clip(), plain(), clip(3, "inception_v3", points=True), plain(2), clip(1, size=7, kind="phonological_36")]
    back = list(landmarks_of(stored(tmp_path, made)))
    for a, b in zip(made, back, strict=True):
        assert (a.layout, a.features_kind, a.values.shape) == (b.layout, b.features_kind, b.values.shape)
        assert a.values.tobytes() == b.values.tobytes()
        if a.features is None or b.features is None:
            assert a.features is b.features
        else:
            assert np.array_equal(a.features, b.features, equal_nan=True)


def test_features_of_another_number_of_frames_are_refused():
    with pytest.raises(ValueError, match=r"features: found shape \(3, 36\), expected \(4, F\)"):
        Landmarks(plain().values, plain().visibility, "holistic_75", features=np.ones((3, 36), np.float32))


def test_a_clip_without_points_sees_no_part():
    assert shares_seen(clip()).shape == (0,)


# ---------------------------------------------------------------- as clips


@each
@pytest.mark.parametrize("points", [True, False])
def test_a_frame_is_one_point_of_all_its_features(kind, points):
    landmarks, chosen = clip(kind=kind, points=points), options(features=kind)
    x = stored_features.apply(landmarks, chosen)
    names = stored_features.channels(chosen, landmarks.layout)
    skeleton = stored_features.skeleton(chosen, landmarks.layout)
    assert x.shape == (1, 6, skeleton.points, len(names)) == (1, 6, 1, FEATURE_SIZES[kind] + 1)
    assert (x.dtype, names[-1], len(set(names))) == (np.float32, "visibility", len(names))
    assert landmarks.features is not None
    assert np.array_equal(x[0, [0, 2, 3, 4, 5], 0, :-1], landmarks.features[[0, 2, 3, 4, 5]])
    assert x[0, :, 0, -1].tolist() == [1, 0, 1, 1, 1, 1]
    assert not x[0, 1].any()


def test_frames_are_bounded_as_in_every_recipe():
    assert np.array_equal(
        stored_features.apply(clip(), options(max_frames=4)), stored_features.apply(clip(), options())[:, :4]
    )
    with pytest.raises(ClipError, match="found 6 frames, expected at least 7"):
        stored_features.apply(clip(), options(min_frames=7))


def test_a_clip_without_these_features_is_a_clip_error():
    with pytest.raises(ClipError, match="found none, expected 36 of phonological_36"):
        stored_features.apply(plain(), options())
    with pytest.raises(ClipError, match="found 2048 of inception_v3, expected 36 of phonological_36"):
        stored_features.apply(clip(kind="inception_v3"), options())
    with pytest.raises(ClipError, match="found 35 of phonological_36, expected 36"):
        stored_features.apply(clip(size=35), options())
    hidden = replace(clip(2), features=np.full((2, 36), np.nan, np.float32))
    with pytest.raises(ClipError, match="none of 2 frames shows features of phonological_36"):
        stored_features.apply(hidden, options())


def test_features_of_your_own_want_their_size():
    with pytest.raises(ConfigError, match=r"no known size; did you mean 'inception_v3'\?; give prepare\.size too"):
        config.load(["source.kind=synthetic", "prepare.kind=stored_features", "prepare.features=inception_v4"])
    with pytest.raises(ConfigError, match=r"phonological_36 have 36 numbers a frame; leave prepare\.size out"):
        config.load(["source.kind=synthetic", "prepare.kind=stored_features", "prepare.features=phonological_36",
                     "prepare.size=7"])  # fmt: skip
    x = stored_features.apply(clip(kind="mine", size=7), options(features="mine", size=7))
    assert x.shape == (1, 6, 1, 8)


def test_features_that_raysign_makes_itself_and_those_it_is_given_are_called_the_same():
    made = phonological_36.Options.model_validate({})
    assert stored_features.channels(options(), "no_points") == phonological_36.channels(made, "holistic_543")
    assert stored_features.skeleton(options(), "no_points") == phonological_36.skeleton(made, "holistic_543")


@pytest.mark.parametrize("kind", sorted(set(kinds("prepare")) - {"stored_features"}))
def test_a_recipe_that_wants_points_refuses_clips_of_features_alone(kind):
    recipe = kind_module("prepare", kind)
    with pytest.raises(ConfigError, match=r"prepare.* needs"):
        recipe.skeleton(recipe.Options(), NO_POINTS.name)
