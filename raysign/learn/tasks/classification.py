"""One gloss for a whole clip: pooling over time, a multi-layer head, cross-entropy."""

from typing import Literal

import pyarrow as pa
import torch
from pydantic import Field
from torch import nn

from raysign.errors import TrainError
from raysign.kinds import Section
from raysign.learn.labels import Labels
from raysign.models._layers import RowDropout

Pool = Literal["mean_max", "mean", "max"]


class Options(Section):
    """The head and its loss."""

    kind: Literal["classification"] = "classification"
    pool: Pool = Field("mean_max", description="what becomes of a clip's frames; mean_max: both, side by side")
    hidden: tuple[int, ...] = Field((), description="sizes of the head's hidden layers; empty: one linear layer")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of features struck out before each layer of the head")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="share of the target spread over all glosses")


class Task(nn.Module):
    """h (B, T, D) and mask (B, T) of an encoder -> logits (B, K)."""

    METRICS = ("loss", "top1", "top5")

    def __init__(self, options: Options, width: int, labels: Labels):
        super().__init__()
        self.smoothing = options.label_smoothing
        self.pool: Pool = options.pool
        layers, size = [], width * (2 if options.pool == "mean_max" else 1)
        for hidden in options.hidden:
            layers += [RowDropout(options.dropout), nn.Linear(size, hidden), nn.ReLU()]
            size = hidden
        self.head = nn.Sequential(*layers, RowDropout(options.dropout), nn.Linear(size, len(labels.glosses)))

    def forward(self, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.head(pool(h, mask, self.pool))

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Smoothed cross-entropy of each clip: logits (B, K), targets (B,) -> (B,)."""
        return nn.functional.cross_entropy(logits.float(), targets, label_smoothing=self.smoothing, reduction="none")

    @staticmethod
    def probabilities(logits: torch.Tensor) -> torch.Tensor:
        """(B, K) -> (B, K) float64."""
        return torch.softmax(logits.double(), dim=1)

    @staticmethod
    def sums(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """What each clip adds to the metrics: `loss` (plain cross-entropy), `top1` and `top5`, each (B,) float32."""
        own, place = logits.gather(1, targets[:, None]), torch.arange(logits.shape[1], device=logits.device)
        ranks = ((logits > own) | ((logits == own) & (place < targets[:, None]))).sum(
            1
        )  # of equals the first comes first
        loss = nn.functional.cross_entropy(logits.float(), targets, reduction="none")
        return {"loss": loss, "top1": (ranks < 1).float(), "top5": (ranks < 5).float()}


def pool(h: torch.Tensor, mask: torch.Tensor, kind: Pool) -> torch.Tensor:
    """Over real frames: (B, T, D) and (B, T) -> (B, D), or (B, 2D) for mean_max; zeros for a clip without any."""
    real = mask.unsqueeze(-1).to(h.dtype)
    mean = (h * real).sum(1) / real.sum(1).clamp(min=1)
    if kind == "mean":
        return mean
    highest = h.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(1).masked_fill(~mask.any(1, keepdim=True), 0.0)
    return highest if kind == "max" else torch.cat([mean, highest], dim=1)


def targets(clips: pa.Table, labels: Labels) -> torch.Tensor:
    """The class of each clip, (N,) int64. TrainError for a clip without exactly one gloss, or one that is no label."""
    index, glosses = {label: i for i, label in enumerate(labels.glosses)}, clips["gloss"].to_pylist()
    for gloss in glosses:
        if len(gloss) != 1:
            raise TrainError(f"clips: found a clip with {len(gloss)} glosses, expected 1; label it or leave it out")
        if gloss[0] not in index:
            raise TrainError(f"clips: gloss {gloss[0]!r} has no training clip; add one or leave its clips out")
    return torch.tensor([index[gloss[0]] for gloss in glosses], dtype=torch.int64)
