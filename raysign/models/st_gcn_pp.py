"""ST-GCN++ (Duan, Wang, Chen and Lin, "PYSKL", ACM Multimedia 2022), parameter for parameter as published.

As ST-GCN, with half the parameters: each block learns its own graph, which starts as the skeleton's; what goes into the
step over the graph is added to what comes out; and time is looked at by six narrow branches side by side: four
convolutions over 3 frames, 1 to 4 apart, the largest of 3 frames, and the frame itself.

What differs from the published program: frames that a clip does not have count nowhere, where it has none (it samples
100 of each clip), and persons who are not there likewise; dropout strikes a feature in all frames of a clip.
"""

from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from raysign import graph
from raysign.models._graph import graph_convolution, over_time, pointwise
from raysign.models._inputs import Inputs
from raysign.models._layers import MaskedBatchNorm, RowDropout
from raysign.skeleton import Skeleton

# names of pyskl's weights -> names in a recogniser
PUBLISHED = {r"^backbone\.": "encoder.", r"^cls_head\.fc_cls\.": "task.head.1."}

DILATIONS = (1, 2, 3, 4)
BRANCHES = len(DILATIONS) + 2


class Options(Inputs):
    """The graph and the size of the encoder."""

    kind: Literal["st_gcn_pp"] = "st_gcn_pp"
    strategy: graph.Strategy = "in_out"
    max_hop: int = Field(1, ge=1, description="bones on the way to the furthest neighbour; 1 for in_out and symmetric")
    widths: tuple[Annotated[int, Field(ge=BRANCHES)], ...] = Field(
        (64, 64, 64, 64, 128, 128, 128, 256, 256, 256),
        min_length=1,
        description="features of each block, 6 or more; one with more than the block before halves the frame rate",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="share of features struck out after each block but the first")


class GraphStep(nn.Module):
    """relu(norm(h over the block's own graph) + h). h (N, T, V, C), mask (N, T) -> (N, T, V, D)."""

    down: Any

    def __init__(self, channels: int, width: int, graphs: torch.Tensor):
        super().__init__()
        self.A = nn.Parameter(graphs.clone())
        self.conv = nn.Conv2d(channels, width * len(graphs), 1)
        self.bn = MaskedBatchNorm(width)
        around = {"0": nn.Conv2d(channels, width, 1), "1": MaskedBatchNorm(width)}
        self.down = nn.ModuleDict(around if width != channels else {})

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        h = self.bn(graph_convolution(x, self.A, self.conv), mask)
        return torch.relu(h + (self.down["1"](pointwise(x, self.down["0"]), mask) if self.down else x))


class Dilated(nn.Module):
    """A convolution in time over 3 frames, `dilation` apart."""

    def __init__(self, width: int, stride: int, dilation: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, (3, 1), (stride, 1), padding=(dilation, 0), dilation=(dilation, 1))


class TimeStep(nn.Module):
    """Six branches along time, side by side and mixed. h (N, T, V, C), mask (N, T) -> (N, T', V, C), mask (N, T')."""

    branches: Any
    transform: Any

    def __init__(self, width: int, stride: int):
        super().__init__()
        self.stride, each = stride, width // BRANCHES
        sizes = (width - each * (BRANCHES - 1), *[each] * (BRANCHES - 1))
        self.branches = nn.ModuleList(
            nn.ModuleDict({"0": nn.Conv2d(width, size, 1), "1": MaskedBatchNorm(size)}) for size in sizes[:-1]
        )
        for branch, size, dilation in zip(self.branches, sizes, DILATIONS, strict=False):  # the last pools instead
            branch["3"] = Dilated(size, stride, dilation)
        self.branches.append(nn.Conv2d(width, each, 1))
        self.transform = nn.ModuleDict({"0": MaskedBatchNorm(width), "2": nn.Conv2d(width, width, 1)})
        self.bn = MaskedBatchNorm(width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found, real = [], mask[..., None, None]
        for branch in self.branches[:-1]:
            h = torch.relu(branch["1"](pointwise(x, branch["0"]), mask)) * real
            found.append(over_time(h, branch["3"].conv) if "3" in branch else self._largest(h))
        found.append(pointwise(x, self.branches[-1], self.stride))
        mask = mask[:, :: self.stride]
        h = torch.relu(self.transform["0"](torch.cat(found, dim=3), mask))
        return self.bn(pointwise(h, self.transform["2"]), mask), mask

    def _largest(self, h: torch.Tensor) -> torch.Tensor:
        """Of 3 frames; h is nowhere below 0, so frames outside the clip, which are 0, never win."""
        pooled = nn.functional.max_pool2d(h.permute(0, 3, 1, 2), (3, 1), (self.stride, 1), (1, 0))
        return pooled.permute(0, 2, 3, 1)


class Block(nn.Module):
    """Graph, then time, added to what came in. h (N, T, V, C), mask (N, T) -> h (N, T', V, D), mask (N, T').

    The first block adds nothing and strikes nothing out.
    """

    residual: Any

    def __init__(self, channels: int, width: int, graphs: torch.Tensor, dropout: float, *, first: bool):
        super().__init__()
        self.first, self.stride = first, 1 if first or width <= channels else 2
        self.gcn = GraphStep(channels, width, graphs)
        self.tcn = TimeStep(width, self.stride)
        self.dropout = RowDropout(0.0 if first else dropout)
        around = {"conv": nn.Conv2d(channels, width, 1), "bn": MaskedBatchNorm(width)}
        self.residual = nn.ModuleDict(around if not first and width != channels else {})

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h, merged = self.tcn(self.gcn(x, mask), mask)
        h = self.dropout(h)
        if self.residual:
            x = self.residual["bn"](pointwise(x, self.residual["conv"], self.stride), merged)
        return torch.relu(h if self.first else h + x), merged


class Encoder(nn.Module):
    """x (N, T, V, C), mask (N, T) -> h (N, T', width), the mean over the points of each frame, and mask (N, T')."""

    def __init__(self, options: Options, skeleton: Skeleton, channels: tuple[str, ...]):
        super().__init__()
        self.width = options.widths[-1]
        graphs = torch.from_numpy(graph.adjacency(skeleton, options.strategy, options.max_hop))
        self.data_bn = MaskedBatchNorm(skeleton.points * len(channels))
        self.gcn = nn.ModuleList(
            Block(given, width, graphs, options.dropout, first=i == 0)
            for i, (given, width) in enumerate(pairwise((len(channels), *options.widths)))
        )

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.data_bn(x.flatten(2), mask).unflatten(2, x.shape[2:])
        for block in self.gcn:
            h, mask = block(h, mask)
        return h.mean(2), mask
