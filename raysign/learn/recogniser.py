"""The network of a recogniser: an encoder and a task, with persons folded and pooled in one place."""

from typing import Any

import torch
from torch import nn

from raysign.config import Config
from raysign.kinds import kind_module
from raysign.skeleton import Skeleton


class Recogniser(nn.Module):
    """Clips to logits. Attributes: encoder (a family of `raysign.models`), task (one of `raysign.learn.tasks`)."""

    encoder: Any
    task: Any

    def __init__(self, encoder: nn.Module, task: nn.Module):
        super().__init__()
        self.encoder, self.task = encoder, task

    def forward(self, x: torch.Tensor, frames: torch.Tensor, persons: torch.Tensor) -> torch.Tensor:
        """x (B, M, T, V, C) float32 padded with anything finite, frames (B,) and persons (B,) int -> (B, K)."""
        batch, most, time = x.shape[:3]
        steps, places = torch.arange(time, device=x.device), torch.arange(most, device=x.device)
        mask = (steps < frames[:, None])[:, None] & (places < persons[:, None])[:, :, None]
        h, mask = self.encoder(x.flatten(0, 1), mask.flatten(0, 1))
        h, mask = h.unflatten(0, (batch, most)), mask.unflatten(0, (batch, most))
        real = mask.unsqueeze(-1).to(h.dtype)
        h = (h * real).sum(1) / real.sum(1).clamp(min=1)
        return self.task(h, mask.any(1))


def build(config: Config, skeleton: Skeleton, channels: tuple[str, ...], labels: list[str]) -> Recogniser:
    """An untrained recogniser for clips of the skeleton's points. Weights come from torch's generator."""
    encoder = kind_module("model", config.model.kind).Encoder(config.model, skeleton, len(channels))
    task = kind_module("task", config.task.kind).Task(config.task, encoder.width, list(labels))
    return Recogniser(encoder, task)
