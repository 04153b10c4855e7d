"""Clips as batches: held as flat tensors on the device when they fit, streamed shard by shard when they do not.

Both ways give the same kind of batch, and the same sequence of global batches for any number of workers: worker r of
n takes rows r, r+n, ... of each. The last batch is not a small rest: batches differ by one clip at most.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from raysign import schema, store
from raysign.errors import StoreError, TrainError

SMALL = ("id", "gloss", "category", "signer", "split", "persons", "frames", "points", "channels")


@dataclass
class Batch:
    """x (B, M, T, V, C) float32, zeros outside a clip; frames (B,), persons (B,) int64; rows (B,) int64.

    rows: places of the clips in their split, on the CPU. total: clips of the global batch this is a share of. A worker
    for which no clip is left holds one with frames and persons 0, and `rows` empty. other: for each clip the one that
    follows it in the global batch (the first follows the last), where pairs were asked for.
    """

    x: torch.Tensor
    frames: torch.Tensor
    persons: torch.Tensor
    rows: torch.Tensor
    total: int
    other: "Batch | None" = None


@dataclass(frozen=True)
class Listing:
    """The clips of one split, without their values: one entry per clip, in stored order.

    shard (N,) int: index into `paths`; place (N,) int: row within the shard; shape (N, 4): M, T, V, C.
    """

    paths: list[Path]
    table: pa.Table
    shard: np.ndarray
    place: np.ndarray
    shape: np.ndarray

    def __len__(self) -> int:
        return len(self.table)

    def some(self, count: int) -> "Listing":
        """So many of the clips, from all over; all where there are fewer."""
        rows = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(np.int64)
        return Listing(self.paths, self.table.take(rows), self.shard[rows], self.place[rows], self.shape[rows])

    @property
    def bytes(self) -> int:
        """Size of the values as float32."""
        return int(self.shape.astype(np.int64).prod(1).sum()) * 4


def listing(directory: Path, split: str) -> Listing:
    """What the clips stage holds of a split. StoreError without shards; TrainError when the clips' points differ."""
    paths, tables, shard, place = store.shards(directory), [], [], []
    if not paths:
        raise StoreError(f"{directory}: no clips; run `raysign prepare` first")
    for index, path in enumerate(paths):
        table = store.read_table(path, list(SMALL))
        kept = np.flatnonzero(np.array([value == split for value in table["split"].to_pylist()], bool))
        tables.append(table.take(kept))
        shard.append(np.full(len(kept), index))
        place.append(kept)
    table = pa.concat_tables(tables)
    shape = np.stack([table[name].to_numpy() for name in ("persons", "frames", "points", "channels")], axis=1)
    if len(np.unique(shape[:, 2:], axis=0)) > 1:
        raise TrainError(f"{directory}: clips of several layouts; prepare them with one recipe")
    return Listing(paths, table, np.concatenate(shard), np.concatenate(place), shape)


class Held:
    """Clips as one flat (frames of all clips, V, C) tensor: a batch is one indexing operation."""

    def __init__(self, found: Listing, rows: np.ndarray, device: torch.device):
        """Reads `rows` of the listing; their order is that of `gather`'s indices."""
        sizes = found.shape[rows, 0].astype(np.int64) * found.shape[rows, 1]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        values = np.zeros((max(1, int(starts[-1])), *found.shape[rows[0], 2:]), np.float32)
        for shard in np.unique(found.shard[rows]):
            table = store.read_table(found.paths[shard], ["x", "persons", "frames", "points", "channels"])
            wanted = np.flatnonzero(found.shard[rows] == shard)
            arrays = list(schema.arrays(table, "x", "persons", "frames", "points", "channels"))
            for i in wanted:
                values[starts[i] : starts[i + 1]] = arrays[found.place[rows[i]]].reshape(-1, *values.shape[1:])
        self.values = torch.from_numpy(values).to(device)
        self.starts = torch.from_numpy(starts[:-1]).to(device)
        self.persons, self.frames = (torch.from_numpy(found.shape[rows, i].astype(np.int64)).to(device) for i in (0, 1))

    def gather(self, places: torch.Tensor, rows: torch.Tensor, total: int) -> Batch:
        """The clips at `places` as a batch that names them `rows`."""
        empty = len(places) == 0
        index = (torch.zeros(1, dtype=torch.int64) if empty else places).to(self.values.device)
        frames, persons = self.frames[index], self.persons[index]
        if empty:
            frames, persons = torch.zeros_like(frames), torch.zeros_like(persons)
        steps = torch.arange(max(1, int(frames.max())), device=index.device)
        people = torch.arange(max(1, int(persons.max())), device=index.device)
        inside = (steps < frames[:, None])[:, None] & (people < persons[:, None])[:, :, None]
        flat = self.starts[index][:, None, None] + people[:, None] * frames[:, None, None] + steps
        x = self.values[torch.where(inside, flat, 0)] * inside[..., None, None]
        return Batch(x, frames, persons, rows, total)


class Resident:
    """A split kept on the device."""

    def __init__(self, found: Listing, device: torch.device):
        self.size = len(found)
        self.held = Held(found, np.arange(len(found)), device)

    def batches(
        self, batch: int, *, seed: int | None, rank: int = 0, world: int = 1, pairs: bool = False, pieces: int = 1
    ) -> Iterator[Batch]:
        """This worker's share of each global batch of about `batch` clips; shuffled by `seed`, None keeps the order.

        pieces: each global batch comes as so many smaller ones, or as one of each clip where it has fewer.
        """
        order = torch.arange(self.size) if seed is None else torch.randperm(self.size, generator=generator(seed))
        for low, high in cut(bounds(self.size, batch), pieces):
            all_rows, mine = order[low:high], slice(rank, None, world)
            other = self._gather(all_rows.roll(-1)[mine], high - low) if pairs else None
            yield replace(self._gather(all_rows[mine], high - low), other=other)

    def _gather(self, rows: torch.Tensor, total: int) -> Batch:
        return self.held.gather(rows, rows, total)


class Streamed:
    """A split read again each epoch, a block of shards at a time: half of `budget` bytes and one shard at most.

    Shuffled, the shards come in a random order and clips are shuffled within a block of them.
    """

    def __init__(self, found: Listing, device: torch.device, budget: float):
        self.found, self.device, self.size, self.budget = found, device, len(found), budget

    def batches(
        self, batch: int, *, seed: int | None, rank: int = 0, world: int = 1, pairs: bool = False, pieces: int = 1
    ) -> Iterator[Batch]:
        """As `Resident.batches`."""
        draw = None if seed is None else generator(seed)
        blocks, waiting = self._blocks(draw), []
        for low, high in cut(bounds(self.size, batch), pieces):
            while sum(len(rows) for _, rows, _ in waiting) < high - low:
                waiting.append(next(blocks))
            parts, wanted = [], high - low
            while wanted:
                held, rows, places = waiting.pop(0)
                parts.append((held, rows[:wanted], places[:wanted]))
                if len(rows) > wanted:
                    waiting.insert(0, (held, rows[wanted:], places[wanted:]))
                wanted -= len(parts[-1][1])
            other = self._share(_rolled(parts), rank, world) if pairs else None
            yield replace(self._share(parts, rank, world), other=other)

    def _blocks(self, draw: torch.Generator | None) -> Iterator[tuple[Held, torch.Tensor, torch.Tensor]]:
        """Blocks of shards: (their clips, rows of the split, places among the clips), in the order to be used."""
        shards = np.unique(self.found.shard)
        if draw is not None:
            shards = shards[torch.randperm(len(shards), generator=draw).numpy()]
        size = self.found.shape.astype(np.int64).prod(1) * 4
        block, filled = [], 0
        for shard in [*shards, None]:
            if block and (shard is None or filled + size[self.found.shard == shard].sum() > self.budget / 2):
                rows = np.concatenate([np.flatnonzero(self.found.shard == one) for one in block])
                places = torch.arange(len(rows)) if draw is None else torch.randperm(len(rows), generator=draw)
                yield Held(self.found, rows, torch.device("cpu")), torch.from_numpy(rows)[places], places
                block, filled = [], 0
            if shard is not None:
                block.append(shard)
                filled += size[self.found.shard == shard].sum()

    def _share(self, parts: list, rank: int, world: int) -> Batch:
        """One worker's rows of a global batch whose clips lie in one block or several."""
        total, before, batches = sum(len(rows) for _, rows, _ in parts), 0, []
        for held, rows, places in parts:
            mine = slice((rank - before) % world, None, world)
            if len(places[mine]) or (not batches and before + len(rows) == total):
                batches.append(held.gather(places[mine], rows[mine], total))
            before += len(rows)
        return on(joined(batches), self.device)


def _rolled(parts: list) -> list:
    """The clips of a global batch with the first one put last."""
    (held, rows, places), *rest = parts
    return [(held, rows[1:], places[1:]), *rest, (held, rows[:1], places[:1])]


def joined(batches: list[Batch]) -> Batch:
    """Several batches as one, padded to the longest clip and the most persons."""
    if len(batches) == 1:
        return batches[0]
    most, time = (max(b.x.shape[axis] for b in batches) for axis in (1, 2))
    x = [torch.nn.functional.pad(b.x, (0, 0, 0, 0, 0, time - b.x.shape[2], 0, most - b.x.shape[1])) for b in batches]
    frames, persons, rows = (torch.cat([getattr(b, name) for b in batches]) for name in ("frames", "persons", "rows"))
    return Batch(torch.cat(x), frames, persons, rows, batches[0].total)


def on(batch: Batch, device: torch.device) -> Batch:
    """The batch with its clips on a device."""
    return Batch(batch.x.to(device), batch.frames.to(device), batch.persons.to(device), batch.rows, batch.total)


def bounds(clips: int, batch: int) -> list[tuple[int, int]]:
    """The fewest batches of at most `batch` clips, as equal in size as can be: (first, last + 1) of each."""
    steps = -(-clips // batch)
    return [(i * clips // steps, (i + 1) * clips // steps) for i in range(steps)]


def cut(batches: list[tuple[int, int]], pieces: int) -> Iterator[tuple[int, int]]:
    """Each (first, last + 1) as so many, or as one of each clip where it has fewer."""
    for low, high in batches:
        count = min(pieces, high - low)
        yield from ((low + i * (high - low) // count, low + (i + 1) * (high - low) // count) for i in range(count))


def seed_of(*numbers: int) -> int:
    """A seed that depends on each of the numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 2)


def generator(*numbers: int) -> torch.Generator:
    """A generator on the CPU whose stream depends on each of the numbers."""
    return torch.Generator().manual_seed(seed_of(*numbers))
