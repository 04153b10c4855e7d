"""The gloss of a clip and the category of its gloss, by two heads on one encoder, as the FSL-105 systems are trained.

Logits of both stand side by side, glosses first. The loss is alpha * L(gloss) + beta * L(category). The two weights are
told, or learnt as the uncertainty of each (Kendall, Gal and Cipolla, CVPR 2018), or follow a curriculum.
"""

import math
from typing import ClassVar, Literal

import pyarrow as pa
import torch
from pydantic import Field, PositiveInt, model_validator
from torch import nn

from raysign.errors import TrainError, nearest
from raysign.learn.labels import Labels
from raysign.learn.tasks import _head, classification
from raysign.models._layers import RowDropout

RISE = {
    "linear": lambda done: done,
    "cosine": lambda done: (1 - math.cos(math.pi * done)) / 2,
    "exponential": lambda done: math.expm1(2 * done) / math.expm1(2),
}


class Options(_head.Head):
    """The heads, their losses and how these are weighed. Defaults are those of the FSL-105 Transformer."""

    kind: Literal["two_heads"] = "two_heads"
    pool: _head.Pool = Field("mean", description="what becomes of a clip's frames; mean_max: both, side by side")
    hidden: tuple[PositiveInt, ...] = Field(
        (128,), description="sizes of each head's hidden layers; empty: one linear layer"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="share of features struck out before each layer of a head")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    alpha: float = Field(0.5, ge=0, description="weight of the gloss in the loss")
    beta: float = Field(0.5, ge=0, description="weight of the category in the loss")
    weighting: Literal["static", "uncertainty"] = Field(
        "static", description="static: alpha and beta; uncertainty: weights that are learnt, in place of them"
    )
    curriculum: Literal["gloss_first", "category_first", "dynamic"] | None = Field(
        None,
        description="what most of the weight is on at first, until alpha and beta hold; dynamic: the category, after a "
        "warm-up with alpha and beta",
    )
    curriculum_epochs: int = Field(10, ge=1, description="epochs until alpha and beta hold, the warm-up not counted")
    curriculum_warmup: int = Field(5, ge=0, description="epochs of the warm-up of dynamic")
    curriculum_share: float = Field(0.1, ge=0, le=1, description="the other head's share of the weight at first")
    curriculum_rise: Literal["linear", "cosine", "exponential"] = Field(
        "linear", description="how that share goes to what alpha and beta say"
    )

    @model_validator(mode="after")
    def _weighs_in_one_way(self):
        if not self.alpha + self.beta:
            raise ValueError("alpha and beta are both 0, so nothing would be learnt; give one of them a weight")
        if self.weighting == "uncertainty" and self.curriculum:
            raise ValueError(f"curriculum {self.curriculum} sets the weights that uncertainty learns; leave one out")
        return self


class Task(nn.Module):
    """h (B, T, D) and mask (B, T) of an encoder -> logits (B, K + G), of K glosses and G categories."""

    METRICS = ("loss", "top1", "top5", "category_loss", "category_top1")
    OUTPUTS: ClassVar = {
        **classification.Task.OUTPUTS,
        "category_probabilities": "(batch, categories): of each category, in the order of the categories",
    }

    def __init__(self, options: Options, width: int, labels: Labels):
        super().__init__()
        self.options, self.categories = options, labels.categories
        self.sizes = (len(labels.glosses), len(labels.categories))
        self.dropout = RowDropout(options.dropout)
        self.gloss_head, self.category_head = (
            nn.Sequential(*_head.layers(options, width, size)) for size in self.sizes
        )
        self.gloss, self.category = (_head.Choice(options, size) for size in self.sizes)
        self.log_variances = nn.Parameter(torch.zeros(2)) if options.weighting == "uncertainty" else None
        self.weights = (options.alpha, options.beta)

    def forward(self, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        h = self.dropout(_head.pool(h, mask, self.options.pool))
        logits = torch.cat([self.gloss_head(h), self.category_head(h)], dim=1)
        # a worker without a clip learns from its logits alone, and must have a gradient for each parameter
        return logits if self.log_variances is None else logits + 0 * self.log_variances.sum()

    def balance(self, targets: torch.Tensor) -> None:
        """Learn the class weights, where they are asked for, from the targets (N, 2) of all training clips."""
        self.gloss.balance(targets[:, 0])
        self.category.balance(targets[:, 1])

    def start(self, epoch: int) -> None:
        """Set the weights of an epoch, counted from 0."""
        self.weights = weights_at(self.options, epoch)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """That of each clip: logits (B, K + G), targets (B, 2) -> (B,).

        With learnt weights exp(-s) L + s / 2 of either head, s the logarithm of its variance.
        """
        glosses, categories = logits.split(self.sizes, 1)
        gloss, category = self.gloss(glosses, targets[:, 0]), self.category(categories, targets[:, 1])
        if self.log_variances is None:
            return self.weights[0] * gloss + self.weights[1] * category
        scales = torch.exp(-self.log_variances)
        return scales[0] * gloss + scales[1] * category + self.log_variances.sum() / 2

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Of the glosses: (B, K + G) -> (B, K) float64."""
        return torch.softmax(logits[:, : self.sizes[0]].double(), dim=1)

    def outputs(self, logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(B, K) and (B, G) float32."""
        return tuple(torch.softmax(part.float(), dim=1) for part in logits.split(self.sizes, 1))

    def told(self, logits: torch.Tensor) -> list[dict[str, str]]:
        """The likeliest category of each clip, as `predicted_category`."""
        best = logits[:, self.sizes[0] :].argmax(1)
        return [{"predicted_category": self.categories[place]} for place in best.tolist()]

    def sums(self, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """What each clip adds to the metrics, each (B,) float32.

        `loss` is plain cross-entropy weighed by alpha and beta, whatever a curriculum or the training makes of them,
        so that epochs can be compared; `category_loss` plain cross-entropy; `top1` and `top5` are of the gloss.
        """
        glosses, categories = logits.split(self.sizes, 1)
        found = classification.Task.sums(glosses, targets[:, 0])
        loss, ranks = _head.plain(categories, targets[:, 1]), _head.ranks(categories, targets[:, 1])
        return {
            **found, "loss": self.options.alpha * found["loss"] + self.options.beta * loss,
            "category_loss": loss, "category_top1": (ranks < 1).float(),
        }  # fmt: skip


def weights_at(options: Options, epoch: int) -> tuple[float, float]:
    """(weight of the gloss, of the category) in an epoch, counted from 0. Their sum is always alpha + beta."""
    begun = epoch - (options.curriculum_warmup if options.curriculum == "dynamic" else 0)
    if options.curriculum is None or not 0 <= begun < options.curriculum_epochs:
        return options.alpha, options.beta
    whole = options.alpha + options.beta
    later = options.beta if options.curriculum == "gloss_first" else options.alpha
    rise = RISE[options.curriculum_rise](begun / options.curriculum_epochs)
    small = whole * options.curriculum_share * (1 - rise) + later * rise
    return (whole - small, small) if options.curriculum == "gloss_first" else (small, whole - small)


def targets(clips: pa.Table, labels: Labels) -> torch.Tensor:
    """The gloss and the category of each clip, (N, 2) int64.

    TrainError for a clip without exactly one gloss or without a category, or with one that no training clip has.
    """
    index, glosses = {name: i for i, name in enumerate(labels.categories)}, classification.targets(clips, labels)
    for gloss, category in zip(clips["gloss"].to_pylist(), clips["category"].to_pylist(), strict=True):
        if not category:
            step = "give every clip one or use task.kind=classification"
            raise TrainError(f"clips: found a clip of {gloss[0]!r} without a category, expected one of each; {step}")
        if category not in index:
            near = nearest(category, index)
            raise TrainError(f"clips: category {category!r} has no training clip; add one or leave its clips out{near}")
    return torch.stack([glosses, torch.tensor([index[name] for name in clips["category"].to_pylist()])], dim=1)
