"""Convolutions along time and attention, by turns: the network that won Google's recognition of isolated signs (2023).

Each stage looks around every frame with three blocks of wide depthwise convolutions, whose features are weighed by
what the clip holds as a whole (efficient channel attention: Wang et al., CVPR 2020), then over the whole clip by
attention. Beside the place of each point it is given how it moves: a sign is told by its movement as much as by its
places.

Unlike the original, every coordinate is brought to a scale of its own at the input, bones are told too, convolutions
look either way unless `causal`, the last dropout is `task.dropout`, attention is scaled by the size of a head, and
no dropout falls on its weights.
"""

from typing import Literal

import torch
from pydantic import Field, PositiveInt, ValidationInfo, field_validator
from torch import nn

from raysign.models._inputs import Inputs
from raysign.models._layers import MaskedBatchNorm, RowDropout
from raysign.models.stgcn import bones
from raysign.skeleton import Skeleton


class Options(Inputs):
    """Size of the encoder."""

    kind: Literal["conv_transformer"] = "conv_transformer"
    dim: int = Field(192, ge=1, description="features per frame; twice as many inside blocks and for the task")
    layers: int = Field(2, ge=1, description="stages of three blocks of convolution and one of attention")
    kernel_size: int = Field(17, ge=1, description="frames a convolution sees")
    causal: bool = Field(False, description="convolutions see the frame and those before it, none after")
    heads: int = Field(4, ge=1, description="heads of attention; dim is a multiple of them")
    dropout: float = Field(0.2, ge=0, lt=1, description="chance that a clip goes past a block untouched in training")
    motion: tuple[PositiveInt, ...] = Field(
        (1, 2), description="how each point moves within so many frames, as further channels"
    )
    bones: bool = Field(True, description="the way to each point from the one it hangs on, as further channels")

    @field_validator("heads")
    @classmethod
    def _share_dim(cls, value: int, info: ValidationInfo) -> int:
        if info.data.get("dim", value) % value:
            raise ValueError(f"expected a number that divides model.dim, {info.data['dim']}")
        return value


class DropPath(RowDropout):
    """Stochastic depth (Huang et al., ECCV 2016): for some clips of a batch, nothing of h (N, T, D)."""

    def forward(self, h: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return h * super().forward(torch.ones_like(h[:, :1, :1]))


class ConvBlock(nn.Module):
    """A convolution along time on wider features, added to what came in. h (N, T, D), mask (N, T) -> (N, T, D)."""

    def __init__(self, options: Options):
        super().__init__()
        wide, kernel = 2 * options.dim, options.kernel_size
        before = kernel - 1 if options.causal else kernel // 2
        self.around = (0, 0, before, kernel - 1 - before)
        self.widen = nn.Linear(options.dim, wide)
        # in two dimensions, its memory channels_last: ten times as fast on a CPU as in one
        self.convolution = nn.Conv2d(wide, wide, (kernel, 1), groups=wide, bias=False)
        self.norm = MaskedBatchNorm(wide)
        self.weigh = nn.Conv1d(1, 1, 5, padding=2, bias=False)
        self.narrow = nn.Linear(wide, options.dim)
        self.path = DropPath(options.dropout)

    def forward(self, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        real = mask[..., None].to(h.dtype)
        wide = nn.functional.silu(self.widen(h)) * real
        wide = nn.functional.pad(wide, self.around)[:, :, None].permute(0, 3, 1, 2)  # (N, D, T, 1)
        wide = self.norm(self.convolution(wide).permute(0, 2, 3, 1).squeeze(2), mask)
        whole = (wide * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
        return h + self.path(self.narrow(wide * torch.sigmoid(self.weigh(whole))))


class AttentionBlock(nn.Module):
    """Attention over all frames and two layers on each, both added. h (N, T, D), mask (N, T) -> (N, T, D)."""

    def __init__(self, options: Options):
        super().__init__()
        dim, self.heads = options.dim, options.heads
        self.norms = nn.ModuleList(MaskedBatchNorm(dim) for _ in range(2))
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.projection = nn.Linear(dim, dim, bias=False)
        self.widen = nn.Linear(dim, 2 * dim, bias=False)
        self.narrow = nn.Linear(2 * dim, dim, bias=False)
        self.path = DropPath(options.dropout)

    def forward(self, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        h = h + self.path(self.projection(self._attended(self.norms[0](h, mask), mask)))
        return h + self.path(self.narrow(nn.functional.silu(self.widen(self.norms[1](h, mask)))))

    def _attended(self, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(h).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = (mask | ~mask.any(1, keepdim=True))[:, None, None]  # a row without any frame sees all: never NaN
        found = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return found.transpose(1, 2).flatten(2)


class Encoder(nn.Module):
    """x (N, T, V, C), mask (N, T) -> h (N, T, 2 dim), mask (N, T)."""

    parents: torch.Tensor

    def __init__(self, options: Options, skeleton: Skeleton, channels: tuple[str, ...]):
        super().__init__()
        self.width, self.lags = 2 * options.dim, options.motion
        self.places = [i for i, name in enumerate(channels) if name != "visibility"]
        self.bones = bool(options.bones and skeleton.bones)
        self.register_buffer("parents", torch.tensor(skeleton.parents()), persistent=False)
        given = skeleton.points * (len(channels) + len(self.places) * (len(self.lags) + self.bones))
        self.input = MaskedBatchNorm(given)
        self.stem = nn.Linear(given, options.dim, bias=False)
        self.norm = MaskedBatchNorm(options.dim)
        self.blocks = nn.ModuleList(
            block(options) for _ in range(options.layers) for block in (ConvBlock, ConvBlock, ConvBlock, AttentionBlock)
        )
        self.top = nn.Linear(options.dim, self.width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen = (x != 0).any(-1, keepdim=True) & mask[..., None, None]
        place = x[..., self.places]
        found = [motion(place, seen, lag) for lag in self.lags]
        found += [bones(place, seen, self.parents)] if self.bones else []
        h = self.input(torch.cat([x, *found], dim=-1).flatten(2), mask)
        h = self.norm(self.stem(h), mask)
        for block in self.blocks:
            h = block(h, mask)
        return self.top(h), mask


def motion(place: torch.Tensor, seen: torch.Tensor, lag: int) -> torch.Tensor:
    """How each point moves until `lag` frames later; 0 where it is not seen in both, or the clip ends before.

    place (N, T, V, C), seen (N, T, V, 1) bool, never outside the clip -> (N, T, V, C).
    """
    later, seen_later = (nn.functional.pad(value, (0, 0, 0, 0, 0, lag))[:, lag:] for value in (place, seen))
    return (later - place) * (seen & seen_later)
