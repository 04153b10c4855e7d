"""Changes of sight: points that go unseen, zero in every channel. Each step says what it hides, as a bool tensor that
goes with (B, M, T, V)."""

import torch

from raysign import config
from raysign.clips.augment.draws import Draws, below, column
from raysign.skeleton import HANDS, Skeleton

LONGEST = 0.5  # share of a clip's frames that a stretch is at most
AREA = (0.2, 0.4)  # sides of the hidden rectangle, shares of the place a clip takes up


class Occlusion:
    """`Occlusion(options, skeleton, channels)`, then a call for each batch."""

    def __init__(self, options: config.Augment, skeleton: Skeleton, channels: tuple[str, ...]):
        self.options, self.points = options, skeleton.points
        self.plane = [channels.index(name) for name in ("x", "y") if name in channels]
        self.parts = _members(skeleton, list(skeleton.slices))
        self.hands = _members(skeleton, [part for part in HANDS[:2] if part in skeleton.slices])

    def __call__(self, x: torch.Tensor, frames: torch.Tensor, draw: Draws) -> torch.Tensor:
        """Clips (B, M, T, V, C) of so many frames (B,) with every loss of sight that is switched on.

        A clip of which nothing would be left stays as it is.
        """
        options, hidden = self.options, []
        if options.drop_hand and len(self.hands):
            which = self.hands.to(x.device)[below(draw("hand"), len(self.hands))]
            when = stretch(frames, x.shape[2], draw("start"), draw("length"))
            hidden.append(chosen(draw("drop"), options.drop_hand) & when & which[:, None, None])
        if options.drop_frames:
            when = stretch(frames, x.shape[2], draw("frames_start"), draw("frames_length"))
            hidden.append(chosen(draw("drop_frames"), options.drop_frames) & when)
        if options.drop_part:
            which = self.parts.to(x.device)[below(draw("part"), len(self.parts))]
            hidden.append(chosen(draw("drop_part"), options.drop_part) & which[:, None, None])
        if options.drop_points:
            hidden.append((draw.many("drop_points", self.points) < options.drop_points)[:, None, None])
        if options.drop_area:
            hidden.append(chosen(draw("drop_area"), options.drop_area) & in_area(x, self.plane, draw.many("area", 4)))
        if not hidden:
            return x
        left = x
        for gone in hidden:
            left = left * ~gone[..., None]
        blank = ~seen(left).flatten(1).any(1)  # a photo of one hand, say, which drop_hand would hide
        return torch.where(blank[:, None, None, None, None], x, left)


def seen(x: torch.Tensor) -> torch.Tensor:
    """(..., 1) bool: points that are not zero in every channel; one that is seen at the origin has its visibility."""
    return (x != 0).any(-1, keepdim=True)


def _members(skeleton: Skeleton, parts: list[str]) -> torch.Tensor:
    """(parts, V) bool: which points each part has."""
    found = torch.zeros(len(parts), skeleton.points, dtype=torch.bool)
    for row, part in zip(found, parts, strict=True):
        row[skeleton.slices[part]] = True
    return found


def chosen(draw: torch.Tensor, chance: float) -> torch.Tensor:
    """(B, 1, 1, 1) bool: the clips that a step of this chance falls upon."""
    return column(draw < chance)


def stretch(frames: torch.Tensor, time: int, start: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """(B, 1, T, 1) bool: a random stretch of up to LONGEST of each clip's frames."""
    length = (LONGEST * frames * length).ceil()
    first = ((frames - length + 1) * start).floor()
    steps = torch.arange(time, device=frames.device)
    return ((steps >= first[:, None]) & (steps < (first + length)[:, None]))[:, None, :, None]


def in_area(x: torch.Tensor, plane: list[int], draw: torch.Tensor) -> torch.Tensor:
    """(B, M, T, V) bool: points in a random rectangle of the image, which stays where it is. draw: (B, 4)."""
    place, shown = x[..., plane], seen(x)
    low = torch.where(shown, place, torch.inf).amin((1, 2, 3))
    high = torch.where(shown, place, -torch.inf).amax((1, 2, 3))
    size = (high - low) * (AREA[0] + (AREA[1] - AREA[0]) * draw[:, :2])
    corner = low + (high - low - size) * draw[:, 2:]
    corner, opposite = (edge[:, None, None, None] for edge in (corner, corner + size))
    return ((place >= corner) & (place <= opposite)).all(-1)
