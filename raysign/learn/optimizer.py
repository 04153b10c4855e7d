"""The optimizer, its learning rate, and the weights averaged along the way."""

import math

import torch
from torch import nn

from raysign.config import Train


def optimizer(train: Train, network: nn.Module) -> torch.optim.Optimizer:
    """Of the weights that are not frozen; biases and the scales of norms are not decayed."""
    free = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in free if p.dim() > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in free if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if train.optimizer == "sgd":
        nesterov = train.nesterov and train.momentum > 0
        return torch.optim.SGD(groups, lr=train.lr, momentum=train.momentum, nesterov=nesterov)
    return {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[train.optimizer](groups, lr=train.lr)


def rate_at(step: int, steps: int, train: Train, falls: int = 0) -> float:
    """The learning rate of one step (from 0) of all: a linear rise over the warm-up, then as `train.schedule` says.

    falls: how often a plateau was met. cosine: half a wave down to `min_lr` (Loshchilov and Hutter 2017, without
    restarts). No schedule leads above `lr`, nor to a `min_lr` that is.
    """
    warm, least = int(train.warmup * steps), min(train.min_lr, train.lr)
    if step < warm:
        return train.lr * (step + 1) / (warm + 1)
    if train.schedule == "step":
        epoch = step * train.epochs // steps
        return train.lr * train.gamma ** sum(epoch >= after for after in train.steps)
    if train.schedule == "plateau":
        return max(least, train.lr * train.factor**falls)
    if train.schedule == "constant":
        return train.lr
    done = (step - warm) / max(1, steps - warm)
    return least + (train.lr - least) * 0.5 * (1 + math.cos(math.pi * done))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use a learning rate from the next step on."""
    for parameters in optimizer.param_groups:
        parameters["lr"] = rate


@torch.no_grad()
def follow(averaged: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move averaged weights and statistics a little towards those of the network, after its step (from 0).

    They keep `decay` of themselves, at first less: (1 + step) / (10 + step), or what they began with would long weigh
    more than what is learnt (as TensorFlow's ExponentialMovingAverage with num_updates).
    """
    keep = min(decay, (1 + step) / (10 + step))
    for mean, value in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - keep)
        else:
            mean.copy_(value)
