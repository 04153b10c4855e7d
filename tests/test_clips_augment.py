"""Laws of augmentation and of batches."""

import pytest
import torch
from made_clips import write

from raysign import config
from raysign.clips.augment import Augment, between_frames, mirrored
from raysign.clips.batch import Batch, Resident, Streamed, bounds, listing
from raysign.clips.recipes import shoulder_centered
from raysign.errors import ConfigError, StoreError
from raysign.skeleton import LAYOUTS

SKELETON = LAYOUTS["top_body_59"]
CPU = torch.device("cpu")
OFF = {"rotate": 0, "scale": 0, "shift": 0, "time_shift": 0, "time_stretch": 0, "noise": 0, "mirror": 0, "drop_hand": 0}
ALL = {"rotate": 20, "scale": 0.3, "shift": 0.1, "time_shift": 0.2, "time_stretch": 0.3, "noise": 0.01, "mirror": 0.5,
       "drop_hand": 0.5}  # fmt: skip
each = pytest.mark.parametrize("name", list(OFF))


def batch(padding: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(0)
    frames = torch.tensor([9, 1, 5, 14])
    x = torch.randn(4, 1, 14, SKELETON.points, 4, generator=generator)
    x[..., -1] = x[..., -1].abs()
    x[:, :, :, 20:30] = 0  # some points are never seen
    x[:, :, 3, 40:] = 0
    x = x * (torch.arange(14) < frames[:, None])[:, None, :, None, None]
    x = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, padding))
    return Batch(x, frames, torch.ones(4, dtype=torch.int64), torch.arange(4), 4)


def change(given: Batch, epoch: int = 0, **options) -> Batch:
    augment = Augment(config.Augment(**{**OFF, **options}), SKELETON, shoulder_centered.CHANNELS, seed=0)
    augment.start(epoch, 4)
    return augment(given)


def test_all_switched_off_changes_nothing():
    assert torch.equal(change(batch()).x, batch().x)


@each
def test_each_change_changes_clips_anew_every_epoch(name):
    first, second = (change(batch(), epoch, **{name: ALL[name]}) for epoch in (0, 1))
    assert first.x.shape != second.x.shape or not torch.equal(first.x, second.x)


@each
def test_padding_is_neither_read_nor_written(name):
    narrow, wide = change(batch(), **{name: ALL[name]}), change(batch(padding=9), **{name: ALL[name]})
    assert torch.equal(narrow.frames, wide.frames)
    assert torch.allclose(narrow.x, wide.x[:, :, : narrow.x.shape[2]], atol=1e-6)
    assert not wide.x[:, :, narrow.x.shape[2] :].any()


@each
def test_unseen_points_stay_unseen(name):
    given, options = batch(), {name: ALL[name]}
    if name == "mirror":
        given.x[:, :, :, SKELETON.mirror] *= (given.x != 0).any(-1, keepdim=True)
    unseen = (given.x[:, 0, 0] == 0).all(-1)
    still = name not in ("mirror", "drop_hand", "time_shift", "time_stretch")
    changed = change(given, **options).x[:, 0, 0]
    assert still is False or not changed[unseen].any()


@pytest.mark.parametrize("name", ["rotate", "scale", "shift", "noise"])
def test_geometry_leaves_the_visibility_alone(name):
    assert torch.equal(change(batch(), **{name: ALL[name]}).x[..., -1], batch().x[..., -1])


def test_a_clip_changes_the_same_way_in_any_batch():
    whole = change(batch(), **ALL)
    rows = torch.tensor([2, 0])
    given = batch()
    part = change(Batch(given.x[rows], given.frames[rows], given.persons[rows], rows, 4), **ALL)
    for i, row in enumerate(rows):
        frames = int(part.frames[i])
        assert frames == whole.frames[row]
        assert torch.allclose(part.x[i, :, :frames], whole.x[row, :, :frames], atol=1e-6)


def test_mirrored_twice_is_nothing():
    x, twins = torch.randn(2, 3, 59, 4), torch.tensor(SKELETON.mirror)
    assert torch.equal(mirrored(mirrored(x, twins, 0), twins, 0), x)


def test_a_mirror_without_twins_is_refused_and_by_default_left_out():
    face = LAYOUTS["holistic_543"]
    with pytest.raises(ConfigError, match=r"augment\.mirror"):
        Augment(config.Augment(mirror=0.5), face, shoulder_centered.CHANNELS, 0)  # pyright: ignore[reportCallIssue]
    assert Augment(config.Augment(), face, shoulder_centered.CHANNELS, 0).mirror == 0  # pyright: ignore[reportCallIssue]


def test_between_a_seen_and_an_unseen_frame_the_nearer_one_decides():
    x = torch.zeros(1, 1, 2, 1, 4)
    x[0, 0, 0, 0] = torch.tensor([4.0, 2.0, 1.0, 0.8])
    middle = between_frames(x, torch.tensor([[0.25, 0.75]]))[0, 0, :, 0]
    assert torch.allclose(middle[0], x[0, 0, 0, 0])
    assert not middle[1].any()


@pytest.mark.parametrize("clips", [1, 7, 32, 33, 100])
def test_batches_differ_by_one_clip_at_most(clips):
    sizes = [high - low for low, high in bounds(clips, 32)]
    assert sum(sizes) == clips
    assert max(sizes) <= 32
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("streamed", [False, True])
def test_workers_share_out_the_batches_of_one(tmp_path, world, streamed):
    found = listing(write(tmp_path, shards=3), "train")
    clips = Streamed(found, CPU, budget=1.0) if streamed else Resident(found, CPU)
    alone = [b.rows.tolist() for b in clips.batches(5, seed=3)]
    shares = [[b.rows.tolist() for b in clips.batches(5, seed=3, rank=r, world=world)] for r in range(world)]
    for step, rows in enumerate(alone):
        assert [shares[i % world][step][i // world] for i in range(len(rows))] == rows
    assert sorted([row for rows in alone for row in rows]) == list(range(len(found)))


def test_streamed_clips_are_the_resident_ones(tmp_path):
    found = listing(write(tmp_path, shards=3), "train")
    resident, streamed = Resident(found, CPU), Streamed(found, CPU, budget=1.0)
    for batch in streamed.batches(5, seed=1):
        expected = resident.held.gather(batch.rows, batch.rows, batch.total)
        assert torch.equal(batch.x, expected.x)
        assert torch.equal(batch.frames, expected.frames)


def test_a_folder_without_clips_is_named(tmp_path):
    with pytest.raises(StoreError, match="no clips"):
        listing(tmp_path, "train")
