"""Joints, bones and their motions."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from raysign.clips import geometry, streams
from raysign.skeleton import LAYOUTS

PYSKL_NTU = ((0, 1), (1, 20), (2, 20), (3, 2), (4, 20), (5, 4), (6, 5), (7, 6), (8, 20), (9, 8), (10, 9), (11, 10),
             (12, 0), (13, 12), (14, 13), (15, 14), (16, 0), (17, 16), (18, 17), (19, 18), (21, 22), (20, 20), (22, 7),
             (23, 24), (24, 11))  # fmt: skip
every = pytest.mark.parametrize("layout", LAYOUTS)


def clip(layout, channels=4):
    return np.random.default_rng(3).uniform(size=(2, 6, LAYOUTS[layout].points, channels)).astype(np.float32)


def test_the_bones_of_ntu_are_those_of_the_published_streams():
    assert dict(PYSKL_NTU) == dict(enumerate(LAYOUTS["ntu_25"].parents()))


@every
def test_bones_do_not_see_where_somebody_stands_and_lead_back_to_the_joints(layout):
    x, parents = clip(layout), LAYOUTS[layout].parents()
    found = streams.bones(x, parents)
    moved = streams.bones(geometry.shifted(x, np.array([3, -1, 2], np.float32)), parents)
    np.testing.assert_allclose(moved, found, atol=1e-5)
    for point in range(len(parents)):
        way = [point]
        while parents[way[-1]] != way[-1]:
            way.append(parents[way[-1]])
        walked = x[:, :, way[-1], :3] + found[:, :, way, :3].sum(axis=2)
        np.testing.assert_allclose(walked, x[:, :, point, :3], atol=1e-5)
        assert not found[:, :, way[-1], :3].any()
        assert all(a != b for a, b in pairwise(way))


@pytest.mark.parametrize("channels", [3, 4])
def test_the_visibility_of_a_bone_is_the_mean_of_its_ends_and_so_in_time(channels):
    x, parents = clip("coco_17", channels), LAYOUTS["coco_17"].parents()
    np.testing.assert_allclose(streams.bones(x, parents)[..., -1], (x[..., -1] + x[:, :, parents, -1]) / 2)
    moving = streams.motion(x)
    np.testing.assert_allclose(moving[:, :-1, :, -1], (x[:, 1:, :, -1] + x[:, :-1, :, -1]) / 2)
    np.testing.assert_array_equal(moving[:, -1, :, -1], x[:, -1, :, -1])


def test_motion_adds_up_to_the_way_and_is_nothing_at_the_end():
    x = clip("hand_21")
    moving = streams.motion(x)
    np.testing.assert_allclose(x[:, 0, :, :3] + moving[..., :3].sum(1), x[:, -1, :, :3], atol=1e-5)
    assert not moving[:, -1, :, :3].any()
    assert not streams.motion(x[:, :1])[..., :3].any()


@every
def test_bones_of_the_motion_are_the_motion_of_the_bones(layout):
    x, parents = clip(layout), LAYOUTS[layout].parents()
    found = streams.stream(x, "bone_motion", LAYOUTS[layout])
    np.testing.assert_allclose(streams.bones(streams.motion(x), parents), found, atol=1e-5)
    assert streams.stream(x, "joint", LAYOUTS[layout]) is x


@pytest.mark.parametrize("which", ["bone", "joint_motion", "bone_motion"])
def test_a_bone_or_a_step_of_which_an_end_is_not_seen_is_not_seen(which):
    x = clip("hand_21")
    x[0, 2, 5] = np.nan
    found = np.isnan(streams.stream(x, which, LAYOUTS["hand_21"]))
    assert np.array_equal(found.any(-1), found.all(-1))
    points = {5, 6, 9} if which.startswith("bone") else {5}  # itself and what hangs on it
    frames = {1, 2} if which.endswith("motion") else {2}
    gone = {(int(t), int(v)) for t, v in np.argwhere(found[0].any(-1))}
    assert gone == {(t, v) for t in frames for v in points}
    assert not found[1].any()


def test_the_same_steps_in_any_order_where_the_order_does_not_matter():
    x, parents = clip("ntu_25"), LAYOUTS["ntu_25"].parents()
    bones, half = partial(streams.bones, parents=parents), partial(geometry.scaled, size=2)
    np.testing.assert_allclose(bones(half(x)), half(bones(x)), atol=1e-6)
    longest = [geometry.distances(step(x)).max() for step in (lambda x: x, bones)]
    assert longest[0] != longest[1]  # so that to scale by the largest distance is something else before and after
