"""Batches: shared out among workers, held or streamed, alike."""

import pytest
import torch
from made_clips import write

from raysign.clips.batch import Resident, Streamed, bounds, listing
from raysign.errors import StoreError

CPU = torch.device("cpu")


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


@pytest.mark.parametrize("pieces", [2, 3, 50])
@pytest.mark.parametrize("streamed", [False, True])
def test_pieces_are_the_batches_cut_in_order(tmp_path, pieces, streamed):
    found = listing(write(tmp_path, shards=3), "train")
    clips = Streamed(found, CPU, budget=1.0) if streamed else Resident(found, CPU)
    rest = clips.batches(5, seed=3, pieces=pieces)
    for whole in clips.batches(5, seed=3):
        parts = [next(rest) for _ in range(min(pieces, whole.total))]
        assert [row for part in parts for row in part.rows.tolist()] == whole.rows.tolist()
        assert sum(part.total for part in parts) == whole.total
    assert not list(rest)


@pytest.mark.parametrize("count", [1, 5, 24, 100])
def test_some_clips_are_so_many_different_ones_from_all_over(tmp_path, count):
    found = listing(write(tmp_path, shards=3), "train")
    ids = found.some(count).table["id"].to_pylist()
    assert len(set(ids)) == len(ids) == min(count, len(found))
    assert len(set(found.some(count).shard)) == min(count, 3)


def test_streamed_clips_are_the_resident_ones(tmp_path):
    found = listing(write(tmp_path, shards=3), "train")
    resident, streamed = Resident(found, CPU), Streamed(found, CPU, budget=1.0)
    for batch in streamed.batches(5, seed=1):
        expected = resident.held.gather(batch.rows, batch.rows, batch.total)
        assert torch.equal(batch.x, expected.x)
        assert torch.equal(batch.frames, expected.frames)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_pair_is_a_clip_and_the_next_one_of_the_batch_of_all_workers(tmp_path, world, streamed):
    found = listing(write(tmp_path, shards=3), "train")
    clips = Streamed(found, CPU, budget=1.0) if streamed else Resident(found, CPU)
    for rank in range(world):
        for whole, mine in zip(
            clips.batches(5, seed=3), clips.batches(5, seed=3, rank=rank, world=world, pairs=True), strict=True
        ):
            assert mine.other is not None
            assert mine.rows.tolist() == whole.rows[rank::world].tolist()
            assert mine.other.rows.tolist() == whole.rows.roll(-1)[rank::world].tolist()


def test_a_folder_without_clips_is_named(tmp_path):
    with pytest.raises(StoreError, match="no clips"):
        listing(tmp_path, "train")
