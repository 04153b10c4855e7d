"""A transformer over whole frames: the SignTransformer of the FSL-105 system (3,280,627 parameters with 156 inputs).

Encoder layers that normalise before they attend (Vaswani et al., NeurIPS 2017; Xiong et al., ICML 2020), after a linear
embedding of all points and channels of a frame side by side and sinusoidal positions. Weights that were published
for it can be used, see PUBLISHED. What differs: positions are computed, so a clip may be of any length (the original
ends at 300 frames); a clip without any real frame gives numbers; dropout strikes a feature in all frames of a clip,
and no attention weights.
"""

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from raysign.models._inputs import Inputs, Names
from raysign.models._layers import RowDropout
from raysign.skeleton import Skeleton

# names of published weights -> those of a recogniser of task two_heads with one hidden layer; empty: left out
PUBLISHED = {
    r"^pos_encoder\.pe$": "",
    r"^(gloss|category)_head\.": r"task.\1_head.",
    r"^(.*norm)\.gamma$": r"encoder.\1.weight",
    r"^(.*norm)\.beta$": r"encoder.\1.bias",
    r"^": "encoder.",
}
EPS = 1e-6  # of the published norms


class Options(Inputs):
    """Size of the encoder. Defaults are those of the FSL-105 system, whose inputs are those of prepare.kind=fsl_156."""

    kind: Literal["transformer"] = "transformer"
    inputs: Names = ("-visibility",)
    emb_dim: int = Field(256, ge=2, description="features per frame; even, and a multiple of n_heads")
    n_heads: int = Field(8, ge=1, description="attentions side by side in a layer")
    n_layers: int = Field(4, ge=1, description="encoder layers")
    ff_dim: int | None = Field(None, ge=1, description="features within a feed-forward block; None: 4 * emb_dim")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of features struck out at the input and in each block")
    pooling: Literal["frames", "cls"] = Field(
        "frames", description="cls: a token beside the frames tells what they are together; frames: task.pool does"
    )

    @model_validator(mode="after")
    def _shares_out(self):
        if self.emb_dim % 2 or self.emb_dim % self.n_heads:
            raise ValueError(f"emb_dim {self.emb_dim} is not even and a multiple of n_heads {self.n_heads}; change one")
        return self


class Encoder(nn.Module):
    """x (N, T, V, C), mask (N, T) -> h (N, T, emb_dim) and the mask; with pooling=cls (N, 1, emb_dim) and (N, 1)."""

    def __init__(self, options: Options, skeleton: Skeleton, channels: tuple[str, ...]):
        super().__init__()
        self.width, self.sums_up = options.emb_dim, options.pooling == "cls"
        self.embedding = nn.Linear(skeleton.points * len(channels), options.emb_dim)
        self.dropout = RowDropout(options.dropout)
        self.input_norm = nn.LayerNorm(options.emb_dim, EPS)
        self.encoder_layers = nn.ModuleList(Layer(options) for _ in range(options.n_layers))
        # there in any case, as in the published weights; learnt where it is used
        self.cls_token = nn.Parameter(torch.randn(1, 1, options.emb_dim), requires_grad=self.sums_up)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h, real = self.embedding(x.flatten(2)), mask.any(1, keepdim=True)
        if self.sums_up:
            h = torch.cat([self.cls_token.expand(len(h), 1, -1).to(h.dtype), h], dim=1)
            mask = torch.cat([torch.ones_like(real), mask], dim=1)
        h = self.input_norm(self.dropout(h + positions(h.shape[1], self.width, h.device)))
        seen = (mask | ~real)[:, None, None]  # softmax over nothing is NaN: a clip without real frames sees all of it
        for layer in self.encoder_layers:
            h = layer(h, seen)
        return (h[:, :1], real) if self.sums_up else (h, mask)


class Layer(nn.Module):
    """Self-attention, then two linear layers; each after a norm and added to what it was given. (N, T, D) -> alike."""

    def __init__(self, options: Options):
        super().__init__()
        self.attention = Attention(options.emb_dim, options.n_heads)
        self.feed_forward = FeedForward(options.emb_dim, options.ff_dim or 4 * options.emb_dim, options.dropout)
        self.residual1, self.residual2 = (Residual(options.emb_dim, options.dropout) for _ in range(2))

    def forward(self, h: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        h = h + self.residual1.dropout(self.attention(self.residual1.norm(h), seen))
        return h + self.residual2.dropout(self.feed_forward(self.residual2.norm(h)))


class Attention(nn.Module):
    """Scaled dot-product attention of all frames to those that are seen: h (N, T, D), seen (N, 1, 1, T) bool."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, h: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        q, k, v = (layer(h).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.W_q, self.W_k, self.W_v))
        found = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.W_o(found.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between."""

    def __init__(self, width: int, inner: int, dropout: float):
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.dropout = RowDropout(dropout)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.linear2(self.dropout(torch.relu(self.linear1(h))))


class Residual(nn.Module):
    """What stands about a block: the norm before it, the dropout after it. Named as in the published weights."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(width, EPS), RowDropout(dropout)


def positions(frames: int, width: int, device: torch.device) -> torch.Tensor:
    """(T, D) float32: sines in the even features and cosines in the odd ones, of wavelengths from 2 pi to 20,000 pi."""
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10000.0) / width))
    angles = torch.arange(frames, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
