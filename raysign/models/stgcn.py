"""Spatio-temporal graph convolution with gated Conv1d in time: the family of Yu, Yin and Zhu (IJCAI 2018).

A block is a gated convolution along each point's time line, a step over the skeleton's graph, and a second gated
convolution, normalised per point. Unlike the traffic model it comes from, it pads in time (a clip of one frame
works), adds what it was given to what it found (without that, small sets are hardly learnt), and halves the frame
rate after the first block, which widens its view and saves a third of the time. Beside the place of each point it is
given the bone that leads to it: the shape of a hand then reads the same wherever the arm is, and whoever's arm it is,
which decides on a signer not seen in training. At the end the points of a frame are read together, and convolutions
in time look over whole frames.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from raysign import graph
from raysign.models._inputs import Inputs, OddFrames
from raysign.models._layers import MaskedBatchNorm, merge_frames
from raysign.skeleton import Skeleton


class Options(Inputs):
    """Size of the encoder."""

    kind: Literal["stgcn"] = "stgcn"
    num_blocks: int = Field(2, ge=1, description="blocks of time, graph and time convolution")
    channels: int = Field(32, ge=1, description="features per point and frame; 64 takes three times as long")
    spatial_channels: int = Field(16, ge=1, description="features that travel along the graph")
    kernel_size: OddFrames = Field(3, ge=1, description="frames a convolution sees; odd")
    merges: int = Field(1, ge=0, description="after so many blocks, from the first, two frames become one")
    bones: bool = Field(True, description="the way to each point from the one it hangs on, as further channels")
    width: int = Field(256, ge=1, description="features per frame handed to the task, from all points together")
    frame_blocks: int = Field(2, ge=0, description="convolutions in time over the features of whole frames, at the end")


class TimeBlock(nn.Module):
    """relu(P(x) + sigmoid(Q(x))) with convolutions P and Q along time. x (N, C, T, V) -> (N, D, T, V).

    The family adds two ungated convolutions to the gate; their sum is one convolution, so one is computed.
    """

    def __init__(self, channels: int, out: int, kernel: int):
        super().__init__()
        self.convolution = nn.Conv2d(channels, 2 * out, (kernel, 1), padding=(kernel // 2, 0))

    def forward(self, x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        plain, gate = self.convolution(x * real).chunk(2, dim=1)
        return torch.relu(plain + torch.sigmoid(gate))


class Block(nn.Module):
    """Time, graph, time; added to what came in, frames merged, normalised per point.

    x (N, C, T, V), mask (N, T) -> (N, D, T', V), mask (N, T').
    """

    def __init__(self, channels: int, options: Options, points: int, merge: int):
        super().__init__()
        self.before = TimeBlock(channels, options.channels, options.kernel_size)
        self.theta = nn.Conv2d(options.channels, options.spatial_channels, 1, bias=False)
        self.after = TimeBlock(options.spatial_channels, options.channels, options.kernel_size)
        self.around = nn.Conv2d(channels, options.channels, 1) if channels != options.channels else nn.Identity()
        self.norm = MaskedBatchNorm(points)
        self.merge = merge

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor, adjacency: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        real = mask[:, None, :, None].to(x.dtype)
        h = self.theta(self.before(x, real))  # before the graph step: fewer features to carry along it
        h = torch.relu(torch.einsum("nctv,vw->nctw", h, adjacency.to(h.dtype)))
        h = self.after(h.contiguous(memory_format=torch.channels_last), real) + self.around(x)
        h, mask = merge_frames(h, mask, self.merge, axis=2)
        return self.norm(h.transpose(1, 2), mask).transpose(1, 2), mask


class FrameBlock(nn.Module):
    """A convolution over five frames, normalised, added to what came in. h (N, T, D), mask (N, T) -> (N, T, D)."""

    def __init__(self, width: int):
        super().__init__()
        self.convolution = nn.Conv1d(width, width, 5, padding=2, bias=False)
        self.norm = MaskedBatchNorm(width)

    def forward(self, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        real = mask[..., None].to(h.dtype)
        return h + torch.relu(self.norm(self.convolution((h * real).transpose(1, 2)).transpose(1, 2), mask))


class Encoder(nn.Module):
    """x (N, T, V, C), mask (N, T) -> h (N, T', width), mask (N, T')."""

    adjacency: torch.Tensor
    parents: torch.Tensor

    def __init__(self, options: Options, skeleton: Skeleton, channels: tuple[str, ...]):
        super().__init__()
        self.width = options.width
        self.places = [i for i, name in enumerate(channels) if name != "visibility"]
        self.bones = bool(options.bones and skeleton.bones)
        given = len(channels) + len(self.places) * self.bones
        self.register_buffer("adjacency", torch.from_numpy(graph.symmetric(skeleton)[0]), persistent=False)
        self.register_buffer("parents", torch.tensor(skeleton.parents()), persistent=False)
        self.input = MaskedBatchNorm(given * skeleton.points)
        self.blocks = nn.ModuleList(
            Block(options.channels if i else given, options, skeleton.points, 2 if i < options.merges else 1)
            for i in range(options.num_blocks)
        )
        self.readout = nn.Linear(options.channels * skeleton.points, options.width)
        self.norm = MaskedBatchNorm(options.width)
        self.frame_blocks = nn.ModuleList(FrameBlock(options.width) for _ in range(options.frame_blocks))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.bones:
            seen = (x != 0).any(-1, keepdim=True)  # the visibility tells a point at the origin from one not seen
            x = torch.cat([bones(x[..., self.places], seen, self.parents), x], dim=-1)
        # every coordinate of every point on a scale of its own
        h = self.input(x.flatten(2), mask).unflatten(2, x.shape[2:])
        h = h.permute(0, 3, 1, 2)  # seen from here, the memory is channels_last: fast on a CPU
        for block in self.blocks:
            h, mask = block(h, mask, self.adjacency)
        # all points of a frame side by side, so that each keeps its own meaning
        h = torch.relu(self.norm(self.readout(h.permute(0, 2, 3, 1).flatten(2)), mask))
        for block in self.frame_blocks:
            h = block(h, mask)
        return h, mask


def bones(place: torch.Tensor, seen: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
    """From the parent of each point to the point; 0 where one of the two is not seen.

    place (N, T, V, C), seen (N, T, V, 1) bool, parents (V,) int64 -> (N, T, V, C).
    """
    return (place - place[:, :, parents]) * (seen & seen[:, :, parents])
