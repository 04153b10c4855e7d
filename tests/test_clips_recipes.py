"""What every recipe owes, on every layout it accepts: these tests cover a new recipe at once."""

import numpy as np
import pytest

from raysign.errors import ClipError, ConfigError
from raysign.kinds import kind_module, kinds
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS
from raysign.sources import landmark_parquet

NAN = np.float32(np.nan)


def options_of(kind, **changes):
    return kind_module("prepare", kind).Options.model_validate(changes)


def accepts(kind, layout):
    try:
        kind_module("prepare", kind).skeleton(options_of(kind), layout)
    except ConfigError:
        return False
    return True


def has_mirror(kind, layout):
    """Whether a mirror image is defined for the layout, for its clips, and for what they are centred on."""
    recipe, given = kind_module("prepare", kind), LAYOUTS[layout]
    if not given.mirror or "x" not in recipe.channels(options_of(kind), layout):
        return False
    aside = kind == "centered" and given.mirror[given.centre] != given.centre
    return bool(recipe.skeleton(options_of(kind), layout).mirror) and not aside


def over(pairs):
    return pytest.mark.parametrize(("kind", "layout"), pairs, ids=["-".join(pair) for pair in pairs])


KINDS = sorted(set(kinds("prepare")) - {"stored_features"})  # which looks at no points
PAIRS = [(kind, layout) for kind in KINDS for layout in LAYOUTS if accepts(kind, layout)]
every = over(PAIRS)
with_mirror = over([pair for pair in PAIRS if has_mirror(*pair)])
with_aspect = over([(kind, name) for kind, name in PAIRS if "aspect" in type(options_of(kind)).model_fields])


def person(layout, persons=1, frames=7, seed=0):
    """Someone with level eyes who is seen whole, somewhere within the image; values and visibility."""
    known = LAYOUTS[layout]
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.2, 0.8, (persons, frames, known.points, 3)).astype(np.float32)
    names = dict(known.names)
    if "left_eye" in names:
        values[..., names["left_eye"], 1] = values[..., names["right_eye"], 1]
    return values, rng.uniform(0.6, 1, values.shape[:3]).astype(np.float32)


def apply(kind, layout, values, visibility, /, **changes):
    visibility = np.where(np.isnan(values).any(-1), NAN, visibility)
    values.flags.writeable = visibility.flags.writeable = False  # a recipe that writes to its input fails
    landmarks = Landmarks(values, visibility, layout, 30.0, 640, 480)
    return kind_module("prepare", kind).apply(landmarks, options_of(kind, **changes))


def hidden(values):
    """One part unseen in a frame, another in the next, and so on; nobody in the last frame but one."""
    values = values.copy()
    layout = next(known for known in LAYOUTS.values() if known.points == values.shape[2])
    for frame, part in enumerate(layout.slices.values(), 1):
        values[:, frame, part] = NAN
    values[:, -2] = NAN
    return values


def test_every_recipe_takes_some_layout():
    assert {kind for kind, _ in PAIRS} == set(KINDS)


@every
@pytest.mark.parametrize("persons", [1, 3])
def test_a_clip_has_the_shape_that_the_recipe_tells_and_no_nan(kind, layout, persons):
    recipe, chosen = kind_module("prepare", kind), options_of(kind)
    values, visibility = person(layout, persons)
    for given in (values, hidden(values)):
        x = apply(kind, layout, given, visibility)
        channels = recipe.channels(chosen, layout)
        assert x.dtype == np.float32
        assert x.flags.c_contiguous
        assert (x.shape[0], x.shape[2:]) == (persons, (recipe.skeleton(chosen, layout).points, len(channels)))
        assert 1 <= x.shape[1] <= 7
        assert channels[-1] == "visibility"
        assert len(set(channels)) == len(channels)
        assert np.isfinite(x).all()
        assert ((x[..., -1] >= 0) & (x[..., -1] <= 1)).all()


@every
def test_what_is_not_seen_is_zero_with_visibility_zero(kind, layout):
    values, visibility = person(layout, 2)
    x = apply(kind, layout, hidden(values), visibility)
    assert not x[x[..., -1] == 0].any()
    assert x.any(axis=-1)[0, 0].any()
    if x.shape[1] == 7:
        bare = {"gaps": 0} if "gaps" in type(options_of(kind)).model_fields else {}
        assert not apply(kind, layout, hidden(values), visibility, **bare)[:, -2].any()


@every
def test_one_frame_is_a_clip(kind, layout):
    values, visibility = person(layout, frames=1)
    x = apply(kind, layout, values, visibility)
    assert x.shape[1] == 1
    assert x[..., -1].any()


@every
def test_a_clip_that_shows_nothing_or_is_too_short_is_refused(kind, layout):
    values, visibility = person(layout)
    with pytest.raises(ClipError):
        apply(kind, layout, np.full_like(values, np.nan), visibility)
    with pytest.raises(ClipError, match="found 7 frames, expected at least 8"):
        apply(kind, layout, values, visibility, min_frames=8)


@pytest.mark.parametrize("kind", [kind for kind, _ in PAIRS if "stream" in type(options_of(kind)).model_fields])
def test_a_clip_of_which_nothing_is_left_is_refused(kind):
    layout = next(layout for kept, layout in PAIRS if kept == kind)
    values, visibility = person(layout)
    values[:, 1::2] = NAN  # no point is seen in two frames in a row: none moves
    values[:, -1] = NAN
    with pytest.raises(ClipError, match="no point is left to be seen"):
        apply(kind, layout, values, visibility, stream="joint_motion")


@every
def test_the_same_landmarks_give_the_same_clip_wherever_they_lie_in_memory(kind, layout):
    values, visibility = person(layout, 2)
    first = apply(kind, layout, hidden(values), visibility)
    again = apply(kind, layout, np.asfortranarray(hidden(values)), visibility.copy())
    np.testing.assert_array_equal(first, again)


@every
def test_the_first_frames_are_kept(kind, layout):
    values, visibility = person(layout)
    whole = apply(kind, layout, values, visibility)
    np.testing.assert_array_equal(apply(kind, layout, values, visibility, max_frames=4), whole[:, :4])


@every
def test_people_of_a_clip_do_not_lend_each_other_points(kind, layout):
    values, visibility = person(layout, 2)
    values[1] = NAN
    assert not apply(kind, layout, values, visibility)[1].any()


@with_mirror
def test_the_mirror_image_of_a_signer_gives_the_mirror_image_of_the_clip(kind, layout):
    recipe = kind_module("prepare", kind)
    values, visibility = person(layout, 2)
    values = hidden(values)
    x = apply(kind, layout, values, visibility)[:, :, list(recipe.skeleton(options_of(kind), layout).mirror)]
    x[..., recipe.channels(options_of(kind), layout).index("x")] *= -1
    twins = list(LAYOUTS[layout].mirror)
    other = values[:, :, twins] * np.array([-1, 1, 1], np.float32) + np.array([1, 0, 0], np.float32)
    np.testing.assert_allclose(apply(kind, layout, other, visibility[:, :, twins]), x, atol=2e-4)


@with_aspect
def test_in_units_of_the_width_a_picture_may_have_any_shape(kind, layout):
    values, visibility = person(layout)
    square = apply(kind, layout, values * np.array([1, 0.75, 1], np.float32), visibility)
    np.testing.assert_allclose(apply(kind, layout, values, visibility, aspect=True), square, atol=1e-4)
    assert not np.allclose(apply(kind, layout, values, visibility), square, atol=1e-4)


@pytest.mark.real_data
@pytest.mark.parametrize("kind", [kind for kind, layout in PAIRS if layout == "holistic_543"])
def test_real_recordings_are_prepared_by_every_recipe(real_data, kind):
    tables = ("gislr_official_samples", "traduttore_words/gislr")
    recipe, made = kind_module("prepare", kind), 0
    for folder in tables:
        source = landmark_parquet.Options.model_validate({"path": real_data / folder})
        for ref in landmark_parquet.clips(source)[::6]:
            landmarks = landmark_parquet.read(ref, source)
            x = recipe.apply(landmarks, options_of(kind))
            assert np.isfinite(x).all()
            assert x[..., -1].any()
            made += 1
    assert made >= 9
