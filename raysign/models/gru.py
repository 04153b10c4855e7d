"""Two gated recurrent units over features of frames: the recurrent part of the FSL-105 system's InceptionV3-GRU.

Two GRUs (Cho et al., EMNLP 2014) on top of each other; the state of the second one after a clip's last frame is what
the task is given. With 2,048 features a frame (prepare.kind=stored_features) and a linear head for each of 105 glosses
and 10 categories (task.kind=two_heads task.hidden=[] task.dropout=0.3) these are 101,743 parameters. Weights
that were published for it can be used, see PUBLISHED. What differs: dropout strikes a feature in all frames of a clip.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from raysign.models._inputs import Inputs, Names
from raysign.models._layers import RowDropout
from raysign.models._recurrent import states
from raysign.skeleton import Skeleton

# names of published weights -> those of a recogniser of task two_heads without hidden layers; empty: left out
PUBLISHED = {
    r"^feat_extractor\..*": "",  # what `raysign extract` computes with
    r"^(gloss|category)_head\.": r"task.\1_head.0.",
    r"^": "encoder.",
}


class Options(Inputs):
    """Size of the encoder. Defaults are those of the FSL-105 system."""

    kind: Literal["gru"] = "gru"
    inputs: Names = ("-visibility",)
    hidden1: int = Field(16, ge=1, description="features of the first GRU")
    hidden2: int = Field(12, ge=1, description="features of the second GRU, which are those of the clip")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of the first GRU's features struck out")


class Encoder(nn.Module):
    """x (N, T, V, C), mask (N, T) whose real frames come first -> h (N, 1, hidden2), mask (N, 1)."""

    def __init__(self, options: Options, skeleton: Skeleton, channels: tuple[str, ...]):
        super().__init__()
        self.width = options.hidden2
        self.gru1 = nn.GRU(skeleton.points * len(channels), options.hidden1, batch_first=True)
        self.dropout = RowDropout(options.dropout)
        self.gru2 = nn.GRU(options.hidden1, options.hidden2, batch_first=True)
        for name, weights in self.named_parameters():
            _begin(name, weights)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        lengths = mask.sum(1).clamp(min=1)  # a row without a real frame is read for one frame, and masked
        h = states(self.gru1, x.flatten(2), lengths)
        h = states(self.gru2, self.dropout(h), lengths)
        last = (lengths - 1)[:, None, None].expand(-1, -1, self.width)
        return h.gather(1, last), mask.any(1, keepdim=True)


def _begin(name: str, weights: torch.Tensor) -> None:
    """As the original begins: Glorot's uniform weights from the input, orthogonal ones from the state, biases 0."""
    if "bias" in name:
        nn.init.zeros_(weights)
    else:
        (nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_)(weights)
