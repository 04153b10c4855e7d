"""A bidirectional LSTM over whole frames (Graves and Schmidhuber, Neural Networks 2005): the encoder that a CTC
recogniser of 36 phonological features a frame is built on.

All points and channels of a frame are laid side by side and projected, read in both directions of time, and
normalised per frame (Ba, Kiros and Hinton 2016). With 36 inputs, one layer of 64 and `task.kind=ctc` for 20 glosses
these are 71,893 parameters. Unlike the usual padded batch, the backward direction begins at a clip's own last frame,
and dropout strikes a feature in all frames of a clip.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from raysign.models._inputs import Inputs, Names
from raysign.models._layers import RowDropout
from raysign.models._recurrent import states
from raysign.skeleton import Skeleton


class Options(Inputs):
    """Size of the encoder."""

    kind: Literal["bilstm"] = "bilstm"
    inputs: Names = ("-visibility",)
    hidden: int = Field(64, ge=1, description="features of a frame in each direction; the task is given twice as many")
    layers: int = Field(1, ge=1, description="LSTMs, each in both directions, on top of one another")
    dropout: float = Field(0.5, ge=0, lt=1, description="share of the features struck out before the task")


class Encoder(nn.Module):
    """x (N, T, V, C), mask (N, T), real frames first -> h (N, T, 2 * hidden), zero outside the mask, and the mask."""

    def __init__(self, options: Options, skeleton: Skeleton, channels: tuple[str, ...]):
        super().__init__()
        self.width = 2 * options.hidden
        self.project = nn.Linear(skeleton.points * len(channels), options.hidden)
        self.lstm = nn.LSTM(options.hidden, options.hidden, options.layers, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(self.width)
        self.dropout = RowDropout(options.dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        lengths = mask.sum(1).clamp(min=1)  # a row without a real frame is read for one frame, and struck out
        h = states(self.lstm, self.project(x.flatten(2)), lengths)
        return self.dropout(self.norm(h)) * mask[..., None].to(h.dtype), mask
