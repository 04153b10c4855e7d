"""A multi-layer perceptron over each frame: the usual classifier of hand shapes, such as the letters of an alphabet.

All points and channels of a frame side by side; each layer is linear, normalised and rectified, then comes dropout. The
last linear layer of published networks is the head of the task: with task.pool=mean and task.dropout=0 the network is
theirs, 65,498 parameters for 84 features and 26 letters. Unlike theirs it takes clips of any length, whose frames it
sees one by one, and its head starts from torch's own initial weights.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import nn

from raysign.models._inputs import Inputs, Names
from raysign.models._layers import MaskedBatchNorm, RowDropout
from raysign.skeleton import Skeleton

LINEAR = r"network\.\d+\.weight"


class Options(Inputs):
    """Size of the encoder."""

    kind: Literal["mlp"] = "mlp"
    inputs: Names = ("-visibility",)
    hidden: tuple[PositiveInt, ...] = Field((256, 128, 64), min_length=1, description="sizes of the layers")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of features struck out after each layer")


def published(options: Options) -> dict[str, str]:
    """Names as patterns and what they are here: each layer takes four places, and the last linear one is the head."""
    return {rf"^network\.{4 * len(options.hidden)}\.": "task.head.1.", r"^": "encoder."}


def sizes(shapes: dict[str, tuple[int, ...]]) -> dict:
    """The options that published weights were made with, which nothing but their shapes tells."""
    weights = {int(name.split(".")[1]): shape for name, shape in shapes.items() if re.fullmatch(LINEAR, name)}
    linear = [weights[place][0] for place in sorted(weights) if len(weights[place]) == 2]
    return {"hidden": tuple(linear[:-1])} if len(linear) > 1 else {}


class Layers(nn.Sequential):
    """Layers one after the other; those that normalise are told the mask. h (N, T, D), mask (N, T) -> (N, T, E)."""

    def forward(self, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        for layer in self:
            h = layer(h, mask) if isinstance(layer, MaskedBatchNorm) else layer(h)
        return h


def layers(sizes: Sequence[int], dropout: float) -> Layers:
    """From each size to the next: linear, normalised, rectified, dropout."""
    return Layers(
        *(
            layer
            for size, following in pairwise(sizes)
            for layer in (linear(size, following), MaskedBatchNorm(following), nn.ReLU(), RowDropout(dropout))
        )
    )


def linear(size: int, out: int) -> nn.Linear:
    """A linear layer that keeps the variance of rectified features (He et al. 2015)."""
    layer = nn.Linear(size, out)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


class Encoder(nn.Module):
    """x (N, T, V, C), mask (N, T) -> h (N, T, last of hidden), mask (N, T)."""

    def __init__(self, options: Options, skeleton: Skeleton, channels: tuple[str, ...]):
        super().__init__()
        self.width = options.hidden[-1]
        self.network = layers((skeleton.points * len(channels), *options.hidden), options.dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.network(x.flatten(2), mask), mask
