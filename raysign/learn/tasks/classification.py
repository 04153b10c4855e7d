"""One gloss for a whole clip: pooling over time, a multi-layer head, cross-entropy or focal loss."""

from typing import ClassVar, Literal

import pyarrow as pa
import torch
from torch import nn

from raysign.errors import TrainError
from raysign.learn.labels import Labels
from raysign.learn.tasks import _head
from raysign.models._layers import RowDropout


class Options(_head.Head):
    """The head and its loss."""

    kind: Literal["classification"] = "classification"


class Task(nn.Module):
    """h (B, T, D) and mask (B, T) of an encoder -> logits (B, K)."""

    METRICS = ("loss", "top1", "top5")
    OUTPUTS: ClassVar = {"probabilities": "(batch, glosses): of each gloss, in the order of the labels"}

    def __init__(self, options: Options, width: int, labels: Labels):
        super().__init__()
        classes = len(labels.glosses)
        self.pool: _head.Pool = options.pool
        self.head = nn.Sequential(RowDropout(options.dropout), *_head.layers(options, width, classes))
        self.choice = _head.Choice(options, classes)

    def forward(self, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.head(_head.pool(h, mask, self.pool))

    def balance(self, targets: torch.Tensor) -> None:
        """Learn the class weights, where they are asked for, from the targets (N,) of all training clips."""
        self.choice.balance(targets)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """That of each clip: logits (B, K), targets (B,) -> (B,)."""
        return self.choice(logits, targets)

    @staticmethod
    def probabilities(logits: torch.Tensor) -> torch.Tensor:
        """(B, K) -> (B, K) float64."""
        return torch.softmax(logits.double(), dim=1)

    @staticmethod
    def outputs(logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(B, K) float32."""
        return (torch.softmax(logits.float(), dim=1),)

    @staticmethod
    def sums(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """What each clip adds to the metrics: `loss` (plain cross-entropy), `top1` and `top5`, each (B,) float32."""
        ranks = _head.ranks(logits, targets)
        return {"loss": _head.plain(logits, targets), "top1": (ranks < 1).float(), "top5": (ranks < 5).float()}


def targets(clips: pa.Table, labels: Labels) -> torch.Tensor:
    """The class of each clip, (N,) int64. TrainError for a clip without exactly one gloss, or one that is no label."""
    index, glosses = {label: i for i, label in enumerate(labels.glosses)}, clips["gloss"].to_pylist()
    for gloss in glosses:
        if len(gloss) != 1:
            raise TrainError(f"clips: found a clip with {len(gloss)} glosses, expected 1; label it or leave it out")
        if gloss[0] not in index:
            raise TrainError(f"clips: gloss {gloss[0]!r} has no training clip; add one or leave its clips out")
    return torch.tensor([index[gloss[0]] for gloss in glosses], dtype=torch.int64)
