"""Spatio-temporal graph convolution with gated Conv1d in time: the family of Yu, Yin and Zhu (IJCAI 2018).

A block is a gated convolution along each point's time line, a step over the skeleton's graph, and a second gated
convolution, normalised per point. Unlike the traffic model it comes from, it pads in time (a clip of one frame
works) and halves the frame rate from block to block, which widens its view and costs a third of the time.
"""

from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import nn

from raysign.config import Section
from raysign.models._layers import MaskedBatchNorm, merge_frames
from raysign.skeleton import Skeleton


class Options(Section):
    """Size of the encoder."""

    kind: Literal["stgcn"] = "stgcn"
    num_blocks: int = Field(4, ge=1, description="blocks of time, graph and time convolution")
    channels: int = Field(64, ge=1, description="features per point and frame")
    spatial_channels: int = Field(16, ge=1, description="features that travel along the graph")
    kernel_size: int = Field(3, ge=1, description="frames a convolution sees; odd")
    merge: int = Field(2, ge=1, description="frames averaged into one after each block; 1 keeps all")
    width: int = Field(256, ge=1, description="features per frame handed to the task, from all points together")

    @field_validator("kernel_size")
    @classmethod
    def _is_odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("expected an odd number of frames, so that the middle one keeps its place")
        return value


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
    """Time, graph, time, normalised per point. x (N, C, T, V), mask (N, T) -> (N, D, T, V)."""

    def __init__(self, channels: int, options: Options, points: int):
        super().__init__()
        self.before = TimeBlock(channels, options.channels, options.kernel_size)
        self.theta = nn.Conv2d(options.channels, options.spatial_channels, 1, bias=False)
        self.after = TimeBlock(options.spatial_channels, options.channels, options.kernel_size)
        self.norm = MaskedBatchNorm(points, axis=3)

    def forward(self, x: torch.Tensor, mask: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        real = mask[:, None, :, None].to(x.dtype)
        h = self.theta(self.before(x, real))  # before the graph step: fewer features to carry along it
        h = torch.relu(torch.einsum("nctv,vw->nctw", h, adjacency.to(h.dtype)))
        h = self.after(h.contiguous(memory_format=torch.channels_last), real)
        return self.norm(h.transpose(1, 2), mask).transpose(1, 2)


class Encoder(nn.Module):
    """x (N, T, V, C), mask (N, T) -> h (N, T', width), mask (N, T')."""

    adjacency: torch.Tensor

    def __init__(self, options: Options, skeleton: Skeleton, channels: int):
        super().__init__()
        self.width, self.merge = options.width, options.merge
        self.register_buffer("adjacency", torch.from_numpy(skeleton.adjacency()), persistent=False)
        self.input = MaskedBatchNorm(channels, axis=3)
        self.blocks = nn.ModuleList(
            Block(options.channels if i else channels, options, skeleton.points) for i in range(options.num_blocks)
        )
        self.readout = nn.Linear(options.channels * skeleton.points, options.width)
        self.norm = MaskedBatchNorm(options.width, axis=2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.input(x, mask).permute(0, 3, 1, 2)  # seen from here, the memory is channels_last: fast on a CPU
        for block in self.blocks:
            h, mask = merge_frames(block(h, mask, self.adjacency), mask, self.merge, axis=2)
        # all points of a frame side by side, so that each keeps its own meaning
        h = self.readout(h.permute(0, 2, 3, 1).flatten(2))
        return torch.relu(self.norm(h, mask)), mask
