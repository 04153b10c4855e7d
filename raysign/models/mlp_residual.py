"""A multi-layer perceptron over each frame whose layers add to what they were given, for larger sets of hand shapes.

As `mlp`, but past each hidden layer leads a second, linear way; where the sizes are equal, nothing lies on it. The
last linear layer of published networks is the head of the task (task.pool=mean, task.dropout=0).
"""

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import nn

from raysign.models._inputs import Inputs, Names
from raysign.models.mlp import layers, linear
from raysign.skeleton import Skeleton

PUBLISHED = {r"^output\.": "task.head.1.", r"^": "encoder."}


class Options(Inputs):
    """Size of the encoder."""

    kind: Literal["mlp_residual"] = "mlp_residual"
    inputs: Names = ("-visibility",)
    hidden: tuple[PositiveInt, ...] = Field((512, 256, 128), min_length=1, description="sizes of the layers")
    dropout: float = Field(0.4, ge=0, lt=1, description="share of features struck out after each layer")


def sizes(shapes: dict[str, tuple[int, ...]]) -> dict:
    """The options that published weights were made with, which nothing but their shapes tells."""
    names = ["input_proj.0.weight", *(f"blocks.{i}.block.0.weight" for i in range(len(shapes)))]
    found = [shapes[name][0] for name in names if name in shapes]
    return {"hidden": tuple(found)} if found else {}


class Block(nn.Module):
    """A layer, added to a linear image of what it was given. h (N, T, D), mask (N, T) -> (N, T, E)."""

    def __init__(self, size: int, out: int, dropout: float):
        super().__init__()
        self.block = layers((size, out), dropout)
        self.skip = linear(size, out) if size != out else nn.Identity()

    def forward(self, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.block(h, mask) + self.skip(h)


class Encoder(nn.Module):
    """x (N, T, V, C), mask (N, T) -> h (N, T, last of hidden), mask (N, T)."""

    def __init__(self, options: Options, skeleton: Skeleton, channels: tuple[str, ...]):
        super().__init__()
        self.width = options.hidden[-1]
        self.input_proj = layers((skeleton.points * len(channels), options.hidden[0]), options.dropout)
        self.blocks = nn.ModuleList(Block(size, out, options.dropout) for size, out in pairwise(options.hidden))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.input_proj(x.flatten(2), mask)
        for block in self.blocks:
            h = block(h, mask)
        return h, mask
