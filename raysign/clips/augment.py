"""Random changes of training clips: torch, on the batch, on its device.

All randomness of a clip comes from a table of numbers drawn for (seed, epoch) and its row in the split, so a clip is
changed in the same way whatever batch it is in and however many workers there are. Unseen points (zero in every
coordinate) stay so, geometry leaves the visibility alone, and padding is neither read nor written.
"""

from dataclasses import replace

import torch

from raysign import config
from raysign.clips.batch import Batch, generator
from raysign.errors import ConfigError
from raysign.skeleton import Skeleton

DRAWS = ("rotate", "scale_x", "scale_y", "shift_x", "shift_y", "stretch", "move", "noise", "mirror", "drop", "hand",
         "start", "length")  # fmt: skip
BANK = 1 << 20  # normal numbers that the noise of all clips is cut from
LONGEST_DROP = 0.5  # share of a clip's frames in which drop_hand hides a hand at most


class Augment:
    """`Augment(options, skeleton, channels, seed)`; then `start(epoch, clips)` and, for each batch, a call.

    channels: their names; those called x and y are the image plane, the last one is the visibility.
    ConfigError when a mirror is asked for and the skeleton has none.
    """

    def __init__(self, options: config.Augment, skeleton: Skeleton, channels: tuple[str, ...], seed: int):
        if options.mirror and not skeleton.mirror:
            raise ConfigError(f"augment.mirror: skeleton {skeleton.name!r} has no mirror image; set augment.mirror=0")
        self.options, self.seed = options, seed
        self.mirror = options.mirror if options.mirror is not None else 0.5 * bool(skeleton.mirror)
        self.x, self.y = channels.index("x"), channels.index("y")
        self.twins = torch.tensor(skeleton.mirror, dtype=torch.int64)
        self.hands = [skeleton.slices[part] for part in ("left_hand", "right_hand") if part in skeleton.slices]
        self.bank = torch.randn(BANK, generator=generator(seed, 1))

    def start(self, epoch: int, clips: int) -> None:
        """Draw the numbers of an epoch over a split of so many clips."""
        self.table = torch.rand(clips, len(DRAWS), generator=generator(self.seed, 2, epoch))

    def __call__(self, batch: Batch) -> Batch:
        """The batch changed; a new one, of another length in time."""
        if not len(batch.rows):
            return batch
        table = self.table[batch.rows].to(batch.x.device)
        draw = {name: table[:, i] for i, name in enumerate(DRAWS)}
        batch = self._in_time(batch, draw)
        seen = (batch.x[..., :-1] != 0).any(-1, keepdim=True)
        x = torch.cat([self._moved(batch.x[..., :-1], draw) * seen, batch.x[..., -1:]], dim=-1)
        x = self._mirrored(self._without_a_hand(x, batch.frames, draw), draw["mirror"])
        return replace(batch, x=x)

    def _in_time(self, batch: Batch, draw: dict[str, torch.Tensor]) -> Batch:
        """Clips played slower or faster and moved along time; the first or last frame stands where none is left."""
        if not (self.options.time_stretch or self.options.time_shift):
            return batch
        old = batch.frames
        frames = (old * (1 + self.options.time_stretch * spread(draw["stretch"]))).round().long().clamp(min=1)
        steps = torch.arange(int(frames.max()), device=old.device)
        place = (steps + 0.5) * (old / frames)[:, None] - 0.5
        place = place + (self.options.time_shift * spread(draw["move"]) * old)[:, None]
        place = torch.minimum(place.clamp(min=0), (old - 1)[:, None])
        x = between_frames(batch.x, place) * (steps < frames[:, None])[:, None, :, None, None]
        return replace(batch, x=x, frames=frames)

    def _moved(self, xyz: torch.Tensor, draw: dict[str, torch.Tensor]) -> torch.Tensor:
        """Coordinates turned, sized, shifted and made noisy. (B, M, T, V, C-1)."""
        options = self.options
        angle = torch.deg2rad(options.rotate * spread(draw["rotate"]))
        cosine, sine = column(angle.cos()), column(angle.sin())
        wide, high = (column(1 + options.scale * spread(draw[name])) for name in ("scale_x", "scale_y"))
        xyz = (xyz + self._noise(xyz, draw["noise"])) * wide[..., None]  # depth is in units of x
        x, y = xyz[..., self.x], xyz[..., self.y] * high / wide
        xyz = xyz.clone()
        xyz[..., self.x] = cosine * x - sine * y + options.shift * column(spread(draw["shift_x"]))
        xyz[..., self.y] = sine * x + cosine * y + options.shift * column(spread(draw["shift_y"]))
        return xyz

    def _noise(self, xyz: torch.Tensor, draw: torch.Tensor) -> torch.Tensor | float:
        """Normal noise: a stretch of the bank from a place of each clip's own, the same however the clip is padded."""
        if not self.options.noise:
            return 0.0
        persons, frames = xyz.shape[1:3]
        each = xyz[0, 0, 0].numel()
        steps = torch.arange(frames * each, device=xyz.device)
        people = torch.arange(persons, device=xyz.device) * (BANK // 7)
        start = (draw * BANK).long()[:, None, None] + people[:, None]
        self.bank = self.bank.to(xyz.device)
        return self.options.noise * self.bank[(start + steps) % BANK].view(xyz.shape)

    def _without_a_hand(self, x: torch.Tensor, frames: torch.Tensor, draw: dict[str, torch.Tensor]) -> torch.Tensor:
        """One hand unseen over a stretch of up to half of the frames."""
        if not (self.options.drop_hand and self.hands):
            return x
        length = (LONGEST_DROP * frames * draw["length"]).ceil()
        first = ((frames - length + 1) * draw["start"]).floor()
        steps = torch.arange(x.shape[2], device=x.device)
        hidden = (steps >= first[:, None]) & (steps < (first + length)[:, None])
        hidden = hidden & (draw["drop"] < self.options.drop_hand)[:, None]
        which = (draw["hand"] * len(self.hands)).long().clamp(max=len(self.hands) - 1)
        x = x.clone()
        for i, hand in enumerate(self.hands):
            gone = hidden & (which == i)[:, None]
            x[:, :, :, hand] *= ~gone[:, None, :, None, None]
        return x

    def _mirrored(self, x: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
        """Some clips as their left-right mirror image: twins change places, x its sign."""
        if not self.mirror:
            return x
        flipped = mirrored(x, self.twins.to(x.device), self.x)
        return torch.where((draw < self.mirror)[:, None, None, None, None], flipped, x)


def mirrored(x: torch.Tensor, twins: torch.Tensor, axis: int) -> torch.Tensor:
    """The left-right mirror image of clips (..., V, C): twins change places, channel `axis` changes its sign."""
    x = x[..., twins, :].clone()
    x[..., axis] = -x[..., axis]
    return x


def between_frames(x: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Clips at times between their frames. x (B, M, T, V, C); place (B, S) in frames, 0 to T-1 -> (B, M, S, V, C).

    A point is interpolated between two frames that see it, taken from the nearer one when the other does not see it,
    and unseen when the nearer one does not.
    """
    low = place.floor().long()
    high = place.ceil().long()
    weight = (place - low)[:, None, :, None, None]
    rows = torch.arange(len(x), device=x.device)[:, None]
    by_time = x.transpose(1, 2)  # (B, T, M, V, C)
    first, second = (by_time[rows, index].transpose(1, 2) for index in (low, high))
    seen_first, seen_second = ((part[..., :-1] != 0).any(-1, keepdim=True) for part in (first, second))
    a, b = (1 - weight) * seen_first, weight * seen_second
    nearer = torch.where(weight <= 0.5, seen_first, seen_second)
    return (a * first + b * second) / (a + b).clamp(min=1e-6) * nearer


def spread(draw: torch.Tensor) -> torch.Tensor:
    """Numbers from [0, 1) to [-1, 1)."""
    return 2 * draw - 1


def column(value: torch.Tensor) -> torch.Tensor:
    """(B,) to (B, 1, 1, 1), to go with (B, M, T, V)."""
    return value[:, None, None, None]
