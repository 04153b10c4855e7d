"""The network of a recogniser: an encoder and a task, with persons folded and pooled in one place."""

from typing import Any

import torch
from torch import nn

from raysign.config import Config
from raysign.kinds import kind_module
from raysign.learn.labels import Labels
from raysign.models._inputs import chosen
from raysign.models._layers import RowDropout
from raysign.skeleton import Skeleton


class Recogniser(nn.Module):
    """Clips to logits. Attributes: encoder (a family of `raysign.models`), task (one of `raysign.learn.tasks`).

    inputs: the channels that the encoder is given, by their places; None: all of them, as they are.
    """

    encoder: Any
    task: Any

    def __init__(self, encoder: nn.Module, task: nn.Module, inputs: list[int] | None = None):
        super().__init__()
        self.encoder, self.task, self.inputs = encoder, task, inputs
        self.dropouts = [layer for layer in encoder.modules() if isinstance(layer, RowDropout)]

    def forward(self, x: torch.Tensor, frames: torch.Tensor, persons: torch.Tensor) -> torch.Tensor:
        """The logits (B, ...) of clips: x (B, M, T, V, C) float32 padded with anything finite, frames, persons (B,)."""
        batch, most, time = x.shape[:3]
        x = x if self.inputs is None else x[..., self.inputs]
        for layer in self.dropouts if self.training else ():
            layer.persons = most
        steps, places = torch.arange(time, device=x.device), torch.arange(most, device=x.device)
        mask = (steps < frames[:, None])[:, None] & (places < persons[:, None])[:, :, None]
        h, mask = self.encoder(x.flatten(0, 1), mask.flatten(0, 1))
        h, mask = h.unflatten(0, (batch, most)), mask.unflatten(0, (batch, most))
        real = mask.unsqueeze(-1).to(h.dtype)
        h = (h * real).sum(1) / real.sum(1).clamp(min=1)
        return self.task(h, mask.any(1))


def build(config: Config, skeleton: Skeleton, channels: tuple[str, ...], labels: Labels) -> Recogniser:
    """An untrained recogniser for clips of the skeleton's points. Weights come from torch's generator.

    ConfigError when the clips lack a channel that `model.inputs` names.
    """
    inputs = chosen(config.model.inputs, channels)
    encoder = kind_module("model", config.model.kind).Encoder(config.model, skeleton, inputs)
    task = kind_module("task", config.task.kind).Task(config.task, encoder.width, labels)
    return Recogniser(encoder, task, None if inputs == channels else [channels.index(name) for name in inputs])
