"""The random numbers of augmentation: those of a clip follow from (seed, epoch), its row and what they are for."""

import zlib

import torch

from raysign.clips.batch import generator

# What was there first is drawn as one table; all else by its name, so that adding a step leaves the others' alone.
TABLE = ("rotate", "scale_x", "scale_y", "shift_x", "shift_y", "stretch", "move", "noise", "mirror", "drop", "hand",
         "start", "length")  # fmt: skip
BANK = 1 << 20  # numbers that a clip which needs many cuts its own from


class Draws:
    """`Draws(seed)`; then `start(epoch, clips)`, `at(rows, device)` and, for the clips at these rows, a call."""

    def __init__(self, seed: int):
        self.seed = seed
        self.banks: dict[str, torch.Tensor] = {}

    def start(self, epoch: int, clips: int) -> None:
        """Begin an epoch over a split of so many clips."""
        self.epoch, self.clips = epoch, clips
        table = torch.rand(clips, len(TABLE), generator=generator(self.seed, 2, epoch))
        self.drawn: dict[str, torch.Tensor] = dict(zip(TABLE, table.T, strict=True))

    def at(self, rows: torch.Tensor, device: torch.device) -> "Draws":
        """Turn to the clips of a batch."""
        self.rows, self.device = rows, device
        return self

    def __call__(self, name: str) -> torch.Tensor:
        """(B,) numbers from [0, 1)."""
        if name not in self.drawn:
            stream = generator(self.seed, 5, self.epoch, zlib.crc32(name.encode()))
            self.drawn[name] = torch.rand(self.clips, generator=stream)
        return self.drawn[name][self.rows].to(self.device)

    def either_way(self, name: str, most: float) -> torch.Tensor:
        """(B,) numbers from [-most, most)."""
        return most * (2 * self(name) - 1)

    def many(self, name: str, count: int) -> torch.Tensor:
        """(B, count) numbers from [0, 1)."""
        return self._cut("uniform", name, 1, count)[:, 0]

    def noise(self, persons: int, count: int) -> torch.Tensor:
        """(B, persons, count) normal numbers: the first ones of a person are the same however many are asked for."""
        return self._cut("normal", "noise", persons, count)

    def _cut(self, kind: str, name: str, persons: int, count: int) -> torch.Tensor:
        """A stretch of a bank from a place of each clip's and each person's own."""
        if kind not in self.banks:
            made = torch.randn if kind == "normal" else torch.rand
            self.banks[kind] = made(BANK, generator=generator(self.seed, 1 if kind == "normal" else 4)).to(self.device)
        people = torch.arange(persons, device=self.device) * (BANK // 7)
        start = (self(name) * BANK).long()[:, None, None] + people[:, None]
        return self.banks[kind][(start + torch.arange(count, device=self.device)) % BANK]


def below(draw: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
    """Numbers from [0, 1) to whole ones from 0 to count - 1."""
    return torch.minimum((draw * count).long(), torch.as_tensor(count, device=draw.device) - 1)


def column(value: torch.Tensor) -> torch.Tensor:
    """(B,) to (B, 1, 1, 1), to go with (B, M, T, V)."""
    return value[:, None, None, None]
