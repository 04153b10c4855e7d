"""The general recipe, on every layout there is."""

import numpy as np
import pytest

from raysign.clips.recipes import centered
from raysign.errors import ClipError, ConfigError
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS

every = pytest.mark.parametrize("layout", LAYOUTS)


def person(layout, persons=1, frames=6):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(persons, frames, LAYOUTS[layout].points, 3)).astype(np.float32)
    return values, rng.uniform(0.5, 1, values.shape[:3]).astype(np.float32)


def apply(layout, values, visibility, **changes):
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
