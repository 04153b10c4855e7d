"""Spatial temporal graph convolutional networks (Yan, Xiong and Lin, AAAI 2018), parameter for parameter as published.

A block gathers over the skeleton's graph, with a matrix of weights for each kind of neighbour, then looks along time,
and adds what it was given. With `motion`, a second network is given how each point leaves its path, and the features of
both go side by side to the task; one linear layer over them is the sum of the logits of two.

What differs from the published program: frames that a clip does not have count nowhere, where it lets zeros into its
normalisation and its mean over time, and persons who are not there likewise; dropout strikes a feature in all frames
of a clip. With full clips, task.pool=mean and no dropout, both compute the same.
"""

from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt
from torch import nn

from raysign import graph
from raysign.models._graph import graph_convolution, over_time, pointwise
from raysign.models._inputs import Inputs, OddFrames
from raysign.models._layers import MaskedBatchNorm, RowDropout
from raysign.skeleton import Skeleton

# names of st-gcn's weights, of each of its two streams, and of the same network in pyskl -> names in a recogniser
PUBLISHED = {
    r"^fcn\.": "task.head.1.",
    r"^origin_stream\.": "encoder.",
    r"^cls_head\.fc_cls\.": "task.head.1.",
    r"^backbone\.data_bn\.": "encoder.data_bn.",
    r"^backbone\.gcn\.\d+\.gcn\.A$": "encoder.A",
    r"^backbone\.gcn\.(\d+)\.gcn\.PA$": r"encoder.edge_importance.\1",
    r"^backbone\.gcn\.(\d+)\.gcn\.conv\.": r"encoder.st_gcn_networks.\1.gcn.conv.",
    r"^backbone\.gcn\.(\d+)\.gcn\.bn\.": r"encoder.st_gcn_networks.\1.tcn.0.",
    r"^backbone\.gcn\.(\d+)\.tcn\.conv\.": r"encoder.st_gcn_networks.\1.tcn.2.",
    r"^backbone\.gcn\.(\d+)\.tcn\.bn\.": r"encoder.st_gcn_networks.\1.tcn.3.",
    r"^backbone\.gcn\.(\d+)\.residual\.conv\.": r"encoder.st_gcn_networks.\1.residual.0.",
    r"^backbone\.gcn\.(\d+)\.residual\.bn\.": r"encoder.st_gcn_networks.\1.residual.1.",
    r"^": "encoder.",
}


class Options(Inputs):
    """The graph and the size of the encoder."""

    kind: Literal["st_gcn"] = "st_gcn"
    strategy: graph.Strategy = "spatial"
    max_hop: int = Field(1, ge=1, description="bones on the way to the furthest neighbour; 1 for in_out and symmetric")
    edge_importance: bool = Field(True, description="each block learns how much each neighbour counts")
    motion: bool = Field(False, description="a second network, of x[t] - (x[t-1] + x[t+1]) / 2 (two streams)")
    widths: tuple[PositiveInt, ...] = Field(
        (64, 64, 64, 64, 128, 128, 128, 256, 256, 256),
        min_length=1,
        description="features of each block; one with more than the block before halves the frame rate",
    )
    kernel_size: OddFrames = Field(9, ge=1, description="frames a convolution sees; odd")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of features struck out after each block but the first; published: 0.5 on NTU",
    )


class Block(nn.Module):
    """Graph, then time, added to what came in. h (N, T, V, C), mask (N, T) -> h (N, T', V, D), mask (N, T').

    The first block adds nothing and strikes nothing out.
    """

    gcn: Any
    tcn: Any
    residual: Any

    def __init__(self, channels: int, width: int, kinds: int, options: Options, *, first: bool):
        super().__init__()
        self.first, self.stride, kernel = first, 1 if first or width <= channels else 2, options.kernel_size
        self.gcn = nn.ModuleDict({"conv": nn.Conv2d(channels, width * kinds, 1)})
        along = nn.Conv2d(width, width, (kernel, 1), stride=(self.stride, 1), padding=(kernel // 2, 0))
        self.tcn = nn.ModuleDict({"0": MaskedBatchNorm(width), "2": along, "3": MaskedBatchNorm(width)})
        self.dropout = RowDropout(0.0 if first else options.dropout)
        around = {"0": nn.Conv2d(channels, width, 1), "1": MaskedBatchNorm(width)}
        self.residual = nn.ModuleDict(around if not first and width != channels else {})

    def forward(self, x: torch.Tensor, mask: torch.Tensor, graphs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.tcn["0"](graph_convolution(x, graphs, self.gcn["conv"]), mask)
        h = over_time(torch.relu(h) * mask[..., None, None], self.tcn["2"])
        mask = mask[:, :: self.stride]
        h = self.dropout(self.tcn["3"](h, mask))
        if self.residual:
            x = self.residual["1"](pointwise(x, self.residual["0"], self.stride), mask)
        return torch.relu(h if self.first else h + x), mask


class Stream(nn.Module):
    """x (N, T, V, C), mask (N, T) -> h (N, T', D), the mean over the points of each frame, and its mask (N, T')."""

    A: torch.Tensor

    def __init__(self, options: Options, skeleton: Skeleton, channels: int):
        super().__init__()
        graphs = torch.from_numpy(graph.adjacency(skeleton, options.strategy, options.max_hop))
        self.register_buffer("A", graphs)
        self.data_bn = MaskedBatchNorm(skeleton.points * channels)
        self.st_gcn_networks = nn.ModuleList(
            Block(channels, width, len(graphs), options, first=i == 0)
            for i, (channels, width) in enumerate(pairwise((channels, *options.widths)))
        )
        self.edge_importance = nn.ParameterList(
            torch.ones_like(graphs) for _ in options.widths if options.edge_importance
        )
        self.apply(_initialise)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.data_bn(x.flatten(2), mask).unflatten(2, x.shape[2:])
        for i, block in enumerate(self.st_gcn_networks):
            h, mask = block(h, mask, self.A * self.edge_importance[i] if len(self.edge_importance) else self.A)
        return h.mean(2), mask


class Encoder(Stream):
    """x (N, T, V, C), mask (N, T) -> h (N, T', width), mask (N, T')."""

    def __init__(self, options: Options, skeleton: Skeleton, channels: tuple[str, ...]):
        super().__init__(options, skeleton, len(channels))
        self.motion_stream = Stream(options, skeleton, len(channels)) if options.motion else None
        self.width = options.widths[-1] * (2 if options.motion else 1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h, merged = super().forward(x, mask)
        if self.motion_stream is not None:
            h = torch.cat([h, self.motion_stream(motion(x, mask), mask)[0]], dim=2)
        return h, merged


def motion(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """x[t] - (x[t-1] + x[t+1]) / 2, and 0 in a clip's first and last frame. x (N, T, V, C), mask (N, T) -> as x."""
    before, after = nn.functional.pad(x, (0, 0, 0, 0, 1, 0))[:, :-1], nn.functional.pad(x, (0, 0, 0, 0, 0, 1))[:, 1:]
    inner = mask & nn.functional.pad(mask, (1, 0))[:, :-1] & nn.functional.pad(mask, (0, 1))[:, 1:]
    return (x - 0.5 * after - 0.5 * before) * inner[..., None, None]


def _initialise(module: nn.Module) -> None:
    """As published: narrow normal distributions, around 0 for convolutions and 1 for normalisation."""
    if isinstance(module, nn.Conv2d | MaskedBatchNorm):
        nn.init.normal_(module.weight, 0.0 if isinstance(module, nn.Conv2d) else 1.0, 0.02)
        nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]
