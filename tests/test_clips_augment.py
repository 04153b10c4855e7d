"""Laws of augmentation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from raysign import config
from raysign.clips.augment import Augment, geometry
from raysign.clips.augment.geometry import mirrored
from raysign.clips.augment.occlusion import in_area
from raysign.clips.augment.time import between_frames
from raysign.clips.batch import Batch
from raysign.clips.recipes import shoulder_centered
from raysign.errors import ConfigError
from raysign.skeleton import LAYOUTS, Skeleton

SKELETON = LAYOUTS["top_body_59"]
CPU = torch.device("cpu")
FIELDS = config.Augment.model_fields
OFF = dict.fromkeys(FIELDS, 0)


def amount(name: str) -> float:
    """What to switch a step on with."""
    told = FIELDS[name].description or ""
    if FIELDS[name].annotation is int:
        return 6
    return 0.6 if told.startswith("chance") else 20 if "degrees" in told else 0.2


ALL = {name: amount(name) for name in FIELDS}
each = pytest.mark.parametrize("name", FIELDS)


def batch(padding: int = 0) -> Batch:
    """Clips of one or two persons, in which some points are never seen and some now and then; so are their twins."""
    generator = torch.Generator().manual_seed(0)
    frames, persons = torch.tensor([9, 1, 5, 14]), torch.tensor([1, 2, 1, 2])
    x = torch.randn(4, 2, 14, SKELETON.points, 4, generator=generator)
    x[..., -1] = torch.rand(4, 2, 14, SKELETON.points, generator=generator) * 0.9 + 0.1
    seen = torch.rand(4, 2, 14, SKELETON.points, generator=generator) < 0.8
    seen[..., 20:30] = False
    x = x * (seen & seen[..., SKELETON.mirror])[..., None]
    x = x * (torch.arange(14) < frames[:, None])[:, None, :, None, None]
    x = x * (torch.arange(2) < persons[:, None])[:, :, None, None, None]
    x = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, padding))
    return Batch(x, frames, persons, torch.arange(4), 4)


def numbered(*frames: int) -> Batch:
    """Clips in which every number is that of its frame, counted from 1."""
    x = torch.zeros(len(frames), 1, max(frames), SKELETON.points, 4)
    for clip, count in zip(x, frames, strict=True):
        clip[0, :count] = torch.arange(1.0, count + 1)[:, None, None]
    rows = torch.arange(len(frames))
    return Batch(x, torch.tensor(frames), torch.ones_like(rows), rows, len(rows))


def some(given: Batch, rows: torch.Tensor) -> Batch:
    """A share of a batch."""
    return Batch(given.x[rows], given.frames[rows], given.persons[rows], given.rows[rows], given.total)


def change(given: Batch, on: dict, epoch: int = 0, seed: int = 0, skeleton: Skeleton = SKELETON) -> Batch:
    """The batch with nothing but some steps switched on."""
    augment = Augment(config.Augment(**{**OFF, **on}), skeleton, shoulder_centered.CHANNELS, seed)
    augment.start(epoch, given.total)
    return augment(given)


def taken(given: Batch, **on) -> list[list[int]]:
    """The numbers of the frames that each of `numbered` clips is left with, over many draws; 0: nothing is seen."""
    found = [change(given, on, epoch) for epoch in range(40)]
    return [clip[0, : int(n), 0, 0].int().tolist() for b in found for clip, n in zip(b.x, b.frames, strict=True)]


def test_all_switched_off_changes_nothing():
    assert torch.equal(change(batch(), {}).x, batch().x)


@each
def test_each_change_changes_clips_anew_by_epoch_and_by_seed(name):
    found = [change(batch(), {name: ALL[name]}, epoch, seed).x for epoch, seed in ((0, 0), (1, 0), (0, 1))]
    assert not any(a.shape == b.shape and torch.equal(a, b) for a, b in zip(found, found[1:] + found[:1], strict=True))


@each
def test_the_same_epoch_and_seed_give_the_same_clips(name):
    assert torch.equal(change(batch(), {name: ALL[name]}).x, change(batch(), {name: ALL[name]}).x)


@each
def test_padding_is_neither_read_nor_written(name):
    narrow, wide = change(batch(), {name: ALL[name]}), change(batch(padding=9), {name: ALL[name]})
    shown = narrow.x.shape[2]
    assert torch.equal(narrow.frames, wide.frames)
    assert torch.allclose(narrow.x, wide.x[:, :, :shown], atol=1e-6)
    outside = torch.arange(wide.x.shape[2]) >= wide.frames[:, None]
    assert not (wide.x * outside[:, None, :, None, None]).any()


@each
def test_a_person_who_is_not_there_stays_away(name):
    changed = change(batch(), {name: ALL[name]})
    assert not changed.x[changed.persons == 1, 1].any()


@each
def test_unseen_points_stay_unseen(name):
    given, changed = batch().x, change(batch(), {name: ALL[name]}).x
    never = ~given.any(-1).any(2)
    assert not changed.transpose(2, 3)[never].any()
    if changed.shape == given.shape and name not in ("time_shift", "window", "sample"):
        assert not changed[~given.any(-1)].any()


@each
def test_a_point_has_a_place_exactly_where_it_is_visible(name):
    changed = change(batch(), {name: ALL[name]}).x
    assert changed.isfinite().all()
    assert ((changed[..., -1] >= 0) & (changed[..., -1] <= 1)).all()
    assert torch.equal(changed[..., :-1].any(-1), changed[..., -1] > 0)


@pytest.mark.parametrize("name", geometry.STEPS)
def test_geometry_leaves_the_visibility_alone(name):
    assert torch.equal(change(batch(), {name: ALL[name]}).x[..., -1], batch().x[..., -1])


@pytest.mark.parametrize("name", [name for name in FIELDS if name.startswith("drop_")])
def test_what_is_not_hidden_stays_as_it_is(name):
    given, changed = batch().x, change(batch(), {name: ALL[name]}).x
    hidden = ~changed.any(-1)
    assert torch.equal(changed, given * ~hidden[..., None])


@pytest.mark.parametrize("on", [*({name: ALL[name]} for name in FIELDS), ALL], ids=[*FIELDS, "all"])
def test_a_clip_changes_the_same_way_alone_in_a_batch_and_among_any_number_of_workers(on):
    whole = change(batch(), on)
    for rows in ([2], [3, 0], [0, 2], [1, 3]):
        part = change(some(batch(), torch.tensor(rows)), on)
        for i, row in enumerate(rows):
            frames = int(whole.frames[row])
            assert part.frames[i] == frames
            assert torch.allclose(part.x[i, :, :frames], whole.x[row, :, :frames], atol=1e-6)


@each
@pytest.mark.parametrize("skeleton", LAYOUTS.values(), ids=LAYOUTS)
def test_every_step_takes_every_skeleton_or_is_refused_by_name(name, skeleton):
    rows = torch.arange(3)
    given = Batch(torch.randn(3, 1, 8, skeleton.points, 4), torch.tensor([8, 1, 5]), torch.ones_like(rows), rows, 3)
    try:
        changed = change(given, {name: ALL[name]}, skeleton=skeleton)
        assert changed.x.isfinite().all()
    except ConfigError as error:
        refusal = str(error)
        assert refusal.startswith(f"augment.{name}: ")


@pytest.mark.parametrize("skeleton", LAYOUTS.values(), ids=LAYOUTS)
def test_the_defaults_take_every_skeleton(skeleton):
    Augment(config.Augment(), skeleton, shoulder_centered.CHANNELS, 0)  # pyright: ignore[reportCallIssue]


def test_clips_of_features_change_in_time_and_in_sight_alone():
    features, channels = Skeleton("features", (("features", 1),), ()), ("angle", "speed", "visibility")
    given = numbered(9, 4)
    given = replace(given, x=given.x[:, :, :, :1, :3])
    still = config.Augment(time_shift=0, time_stretch=0)  # pyright: ignore[reportCallIssue]
    augment = Augment(still, features, channels, 0)
    augment.start(0, 2)
    assert torch.equal(augment(given).x, given.x)
    augment = Augment(config.Augment(), features, channels, 0)  # pyright: ignore[reportCallIssue]
    augment.start(0, 2)
    assert not torch.equal(augment(given).frames, given.frames)
    with pytest.raises(ConfigError, match=r"augment\.mirror: .* without x and y"):
        Augment(config.Augment(mirror=0.5), features, channels, 0)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("skeleton", [s for s in LAYOUTS.values() if s.mirror], ids=lambda s: s.name)
def test_mirrored_twice_is_nothing(skeleton):
    x, twins = torch.randn(2, 3, skeleton.points, 4), torch.tensor(skeleton.mirror)
    assert torch.equal(mirrored(mirrored(x, twins, 0), twins, 0), x)


def test_by_default_there_is_no_mirror_without_twins():
    face = LAYOUTS["holistic_543"]
    assert Augment(config.Augment(), face, shoulder_centered.CHANNELS, 0).mirror == 0  # pyright: ignore[reportCallIssue]


# ---------------------------------------------------------------- in time


def test_a_cropped_clip_is_a_stretch_of_frames_in_a_row():
    for frames in taken(numbered(20, 3, 1), crop=0.5):
        assert frames == list(range(frames[0], frames[0] + len(frames)))
    assert {len(frames) for frames in taken(numbered(20), crop=0.5)} == set(range(11, 21))


@pytest.mark.parametrize("frames", [5, 6, 9, 11])
def test_a_sample_of_a_longer_clip_is_in_order_and_leaves_no_gap_of_two_stretches(frames):
    for found in taken(numbered(frames), sample=5):
        assert len(found) == 5
        assert (np.diff(found) > 0).all()
        assert (np.diff(found) < 2 * -(-frames // 5)).all()


def test_a_sample_of_a_shorter_clip_goes_round_it():
    for found in taken(numbered(3), sample=7):
        assert len(found) == 7
        assert all(step % 3 == 1 for step in np.diff(found))


def test_every_frame_can_be_sampled():
    for frames in (3, 8, 23):
        assert set(np.concatenate(taken(numbered(frames), sample=6))) == set(range(1, frames + 1))


def test_a_window_shows_a_stretch_of_a_long_clip_and_all_of_a_short_one():
    for found in taken(numbered(10), window=6):
        assert found == list(range(found[0], found[0] + 6))
        assert found[0] > 0
    places = set()
    for found in taken(numbered(2), window=6):
        assert [frame for frame in found if frame] == [1, 2]
        assert len(found) == 6
        places.add(found.index(1))
    assert places == set(range(5))


def test_between_a_seen_and_an_unseen_frame_the_nearer_one_decides():
    x = torch.zeros(1, 1, 2, 1, 4)
    x[0, 0, 0, 0] = torch.tensor([4.0, 2.0, 1.0, 0.8])
    middle = between_frames(x, torch.tensor([[0.25, 0.75]]))[0, 0, :, 0]
    assert torch.allclose(middle[0], x[0, 0, 0, 0])
    assert not middle[1].any()


# ---------------------------------------------------------------- in space, out of sight


def distances(x: torch.Tensor, axes: list[int], origin: torch.Tensor | float = 0.0) -> torch.Tensor:
    return (x[..., axes] - origin).norm(dim=-1)


@pytest.mark.parametrize(("name", "plane", "kept"), [("rotate", [0, 1], 2), ("yaw", [0, 2], 1)])
def test_a_turn_keeps_the_distance_from_its_axis_and_the_place_along_it(name, plane, kept):
    given, changed = batch().x, change(batch(), {name: 90}).x
    assert torch.allclose(distances(changed, plane), distances(given, plane), atol=1e-5)
    assert torch.equal(changed[..., kept], given[..., kept])


def test_a_finger_turns_about_its_root_and_nothing_else_moves():
    given = numbered(4).x
    given[..., :2] += torch.randn(SKELETON.points, 2)
    changed = change(replace(numbered(4), x=given), {"fingers": 60}).x
    assert len(SKELETON.fingers) == 10
    moving = [point for finger in SKELETON.fingers for point in finger[1:]]
    still = [point for point in range(SKELETON.points) if point not in moving]
    assert torch.allclose(changed[:, :, :, still], given[:, :, :, still], atol=1e-6)
    for root, *others in SKELETON.fingers:
        before, after = (distances(x[:, :, :, others], [0, 1], x[:, :, :, [root], :2]) for x in (given, changed))
        assert torch.allclose(before, after, atol=1e-4)
        assert not torch.allclose(given[:, :, :, others], changed[:, :, :, others], atol=1e-3)


def test_a_drift_goes_from_one_choice_of_the_camera_to_another():
    given = replace(numbered(7), x=torch.ones(1, 1, 7, SKELETON.points, 4))
    given.x[..., 0, :2] = 1e-9  # the origin, but seen
    for epoch in range(10):
        x = change(given, {"drift": 1.0}, epoch).x[0, 0]
        moved, size = x[:, 0, :2], distances(x[:, 1] - x[:, 0], [0, 1]) / 2**0.5
        for ends, choices in ((moved[[0, -1]], 0.1), (size[[0, -1]], 0.1)):
            assert torch.allclose(ends, (ends / choices).round() * choices, atol=1e-5)
        assert torch.allclose(moved, torch.lerp(moved[0], moved[-1], torch.linspace(0, 1, 7)[:, None]), atol=1e-5)
        assert ((size > 0.89) & (size < 1.11)).all()
        assert torch.equal(x[:, :, 2:], given.x[0, 0, :, :, 2:])


def test_a_part_that_is_dropped_is_a_whole_one():
    seen = change(numbered(*[5] * 30), {"drop_part": 1.0}).x.any(-1)
    shares = torch.stack([seen[..., part].float().mean((1, 2, 3)) for part in SKELETON.slices.values()], dim=1)
    assert set(shares.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal((shares == 0).sum(1), torch.ones(30))
    assert (shares == 0).any(0).all()


def test_what_is_hidden_for_a_stretch_is_half_of_the_frames_at_most():
    gone = ~change(numbered(*[12] * 30), {"drop_frames": 1.0}).x.any(-1)
    assert torch.equal(gone.any(3), gone.all(3))
    assert gone[:, 0, :, 0].sum(1).max() == 6
    hands = ~change(numbered(*[12] * 30), {"drop_hand": 1.0}).x.any(-1)
    left, right = (hands[..., SKELETON.slices[name]].any((1, 2, 3)) for name in ("left_hand", "right_hand"))
    assert torch.equal(left, ~right)
    assert not hands[..., SKELETON.slices["pose"]].any()


@pytest.mark.parametrize("name", ["drop_hand", "drop_frames", "drop_part", "drop_area"])
def test_a_clip_is_never_hidden_as_a_whole(name):
    x = torch.zeros(3, 1, 1, SKELETON.points, 4)
    x[..., SKELETON.slices["left_hand"], :] = 1  # a photo of a hand
    given = Batch(x, torch.ones(3).long(), torch.ones(3).long(), torch.arange(3), 3)
    assert all(change(given, {name: 1}, epoch).x.flatten(1).any(1).all() for epoch in range(20))


def test_a_hidden_area_is_a_rectangle_that_stays():
    given = replace(numbered(*[6] * 20), x=torch.rand(20, 1, 6, SKELETON.points, 4) + 1)
    gone = ~change(given, {"drop_area": 1.0}).x.any(-1)
    for clip, hidden in zip(given.x, gone, strict=True):
        place, inside = clip[..., :2], clip[hidden][:, :2]
        if len(inside):
            between = ((place >= inside.amin(0)) & (place <= inside.amax(0))).all(-1)
            assert torch.equal(between, hidden)
    assert 0.02 < gone.float().mean() < 0.2


@pytest.mark.parametrize("name", geometry.STEPS)
def test_a_point_that_is_seen_at_the_origin_goes_with_the_others(name):
    given = batch()
    near, at = given.x.clone(), given.x.clone()
    at[..., 3, :-1] = 0
    near[..., 3, :-1] = 1e-6 * (given.x[..., 3, -1:] > 0)
    near, at = (change(replace(given, x=x), {name: ALL[name]}).x for x in (near, at))
    assert torch.allclose(near, at, atol=1e-4)


def test_a_point_that_is_seen_at_the_origin_stays_seen_between_frames():
    x = torch.zeros(1, 1, 3, 1, 4)
    x[..., -1] = 1
    assert torch.equal(between_frames(x, torch.tensor([[0.0, 0.4, 1.5, 2.0]])), torch.ones(1, 1, 4, 1, 1) * x[0, 0, 0])


def test_a_hidden_area_may_reach_to_a_point_at_the_origin():
    x = torch.ones(1, 1, 1, 2, 4)
    x[..., 0, :-1] = 0
    corner = torch.zeros(1, 4)
    assert in_area(x, [0, 1], corner)[0, 0, 0].tolist() == [True, False]
