"""What the tasks that name one class of a whole clip are made of: pooling, layers, and the loss of one choice."""

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import nn

from raysign.kinds import Section
from raysign.models._layers import RowDropout

Pool = Literal["mean_max", "mean", "max"]


class Head(Section):
    """How a clip's frames become one choice, and what a wrong one costs."""

    pool: Pool = Field("mean_max", description="what becomes of a clip's frames; mean_max: both, side by side")
    hidden: tuple[PositiveInt, ...] = Field((), description="sizes of a head's hidden layers; empty: one linear layer")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of features struck out before each layer of a head")
    loss: Literal["ce", "focal"] = Field("ce", description="cross-entropy; focal: less of it for what is told surely")
    gamma: float = Field(2.0, ge=0, description="of the focal loss: how much less; 0 is cross-entropy")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="share of the target spread over all classes")
    class_weights: bool = Field(False, description="clips of rare classes count more, so that all classes count alike")


def pool(h: torch.Tensor, mask: torch.Tensor, kind: Pool) -> torch.Tensor:
    """Over real frames: (B, T, D) and (B, T) -> (B, D), or (B, 2D) for mean_max; zeros for a clip without any."""
    real = mask.unsqueeze(-1).to(h.dtype)
    mean = (h * real).sum(1) / real.sum(1).clamp(min=1)
    if kind == "mean":
        return mean
    highest = h.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(1).masked_fill(~mask.any(1, keepdim=True), 0.0)
    return highest if kind == "max" else torch.cat([mean, highest], dim=1)


def layers(options: Head, width: int, classes: int) -> list[nn.Module]:
    """Linear layers from what is pooled of h (.., width) to logits; dropout before the first is the caller's."""
    size = width * (2 if options.pool == "mean_max" else 1)
    found: list[nn.Module] = []
    for hidden in options.hidden:
        found += [nn.Linear(size, hidden), nn.ReLU(), RowDropout(options.dropout)]
        size = hidden
    return [*found, nn.Linear(size, classes)]


class Choice(nn.Module):
    """The loss of choosing one of `classes`: logits (B, K) and targets (B,) int64 -> (B,) float32.

    Cross-entropy, or the focal loss of Lin et al. (ICCV 2017), cross-entropy times (1 - p) ** gamma with p what the
    clip's class is given. With class weights each is multiplied by N / (K n), n of the N training clips being of the
    clip's class: their mean over the training clips is 1.
    """

    weights: torch.Tensor

    def __init__(self, options: Head, classes: int):
        super().__init__()
        self.smoothing, self.balanced = options.label_smoothing, options.class_weights
        self.gamma = options.gamma if options.loss == "focal" else 0.0
        self.register_buffer("weights", torch.ones(classes), persistent=False)

    def balance(self, targets: torch.Tensor) -> None:
        """Learn the class weights, where they are asked for, from the targets (N,) of all training clips."""
        if self.balanced:
            counts = torch.bincount(targets, minlength=len(self.weights)).clamp(min=1)
            self.weights.copy_(len(targets) / (len(self.weights) * counts))

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(logits.float(), targets, label_smoothing=self.smoothing, reduction="none")
        if self.gamma:
            wrong = -torch.expm1(-plain(logits, targets))
            loss = loss * wrong.clamp(min=1e-6) ** self.gamma  # the root of 0 has no slope
        return loss * self.weights[targets]


def plain(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each clip, neither smoothed nor weighted: what is told of a training. (B, K), (B,) -> (B,)."""
    return nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def ranks(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """How many classes are told before a clip's own, of equals the first coming first: (B, K), (B,) -> (B,) int64."""
    own, place = logits.gather(1, targets[:, None]), torch.arange(logits.shape[1], device=logits.device)
    return ((logits > own) | ((logits == own) & (place < targets[:, None]))).sum(1)
