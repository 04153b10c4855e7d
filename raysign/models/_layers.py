"""Layers that several encoders share. All honour masks: what lies outside a clip never changes what is inside."""

import torch
import torch.distributed as dist
from torch import nn


def group() -> tuple[int, int]:
    """This process's (rank, number of workers); (0, 1) outside a distributed training."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class _Sum(torch.autograd.Function):
    """all_reduce: what each worker adds moves the sum of all, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx, value: torch.Tensor) -> torch.Tensor:  # noqa: ARG004 # pyright: ignore[reportIncompatibleMethodOverride]
        total = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Sum.forward(ctx, gradient)


def over_workers(value: torch.Tensor) -> torch.Tensor:
    """The sum of `value` over all workers, through which gradients flow back to each of them."""
    return _Sum.apply(value) if group()[1] > 1 else value  # pyright: ignore[reportReturnType]


def precise(x: torch.Tensor) -> torch.Tensor:
    """x in float32, or in more where it has more."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _totals(x: torch.Tensor) -> torch.Tensor:
    """(..., D) -> (D,), the sum of each feature."""
    return x.sum(tuple(range(x.dim() - 1)))


class _Normalise(torch.autograd.Function):
    """x normalised per feature, and the gradient that flows through its mean and variance (Ioffe and Szegedy 2015).

    Written out because it touches x half as often as the chain rule does, step by step: memory is what it waits for.
    """

    @staticmethod
    def forward(ctx, x, real, weight, bias, mean, spread, count) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """x (..., D), real broadcast to it, weight to spread (1 / standard deviation) (D,), count one number."""
        ctx.save_for_backward(x, real, weight, mean, spread, count)
        scale = weight * spread
        return torch.addcmul((bias - mean * scale).to(x.dtype), x, scale.to(x.dtype))

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        x, real, weight, mean, spread, count = ctx.saved_tensors
        normal = torch.addcmul(-mean * spread, precise(x), spread)
        bias, scale = (_totals(part) for part in (precise(gradient), gradient * normal))
        shift, slope = over_workers(torch.stack([bias, scale])) / count
        moved = torch.addcmul(shift, normal, slope).mul_(real)  # real frames alone move mean and variance
        own = torch.sub(gradient, moved).mul_(weight * spread).to(x.dtype)
        return own, None, scale, bias, None, None, None


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation whose statistics come from real frames of all workers only (its state is BatchNorm's).

    forward(x, mask): x (N, T, ..., D), mask (N, T) bool. Frames outside the mask are normalised like the others and
    say nothing about the statistics, so a batch may be padded or shared out at will.
    """

    momentum: float  # pyright: ignore[reportIncompatibleVariableOverride]
    weight: torch.Tensor  # pyright: ignore[reportIncompatibleVariableOverride]
    running_mean: torch.Tensor  # pyright: ignore[reportIncompatibleVariableOverride]
    running_var: torch.Tensor  # pyright: ignore[reportIncompatibleVariableOverride]

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self.training:
            scale = self.weight * torch.rsqrt(self.running_var + self.eps)
            return x * scale.to(x.dtype) + (self.bias - self.running_mean * scale).to(x.dtype)
        real = mask.view(*mask.shape, *[1] * (x.dim() - 2))
        mean, variance, count = self._statistics(precise(x.detach()), real)
        spread = torch.rsqrt(variance + self.eps)
        return _Normalise.apply(x, real, self.weight, self.bias, mean, spread, count)  # pyright: ignore[reportReturnType]

    @torch.no_grad()
    def _statistics(self, x: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Mean and variance of each feature, how many values they come from; the running ones brought up to date."""
        each = x.numel() // (real.numel() * self.num_features)  # values of a feature in one frame
        first = over_workers(torch.cat([_totals(x * real), real.sum().to(x.dtype).view(1)]))
        count = (first[-1] * each).clamp(min=1.0)
        mean = first[:-1] / count
        # the second pass costs little and, unlike E[x^2] - E[x]^2, loses no digits
        variance = over_workers(_totals((x - mean).mul_(real).square_())) / count
        unbiased = variance * count / (count - 1).clamp(min=1.0)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased, self.momentum)
        self.num_batches_tracked += 1  # pyright: ignore[reportOperatorIssue]
        return mean, variance, count


class RowDropout(nn.Dropout):
    """Dropout of whole features, in all frames of a clip alike (Gal and Ghahramani 2016), the same for any number of
    workers.

    x (N, ..., D), N rows of clips with `persons` persons each, as the recogniser says. Worker r of n holds clips r,
    r+n, ... of the global batch: each draws for the whole batch, from torch's generator, which the training loop seeds
    alike everywhere, and takes its rows.
    """

    persons = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self.training or self.p == 0:
            return x
        seed, clips = int(torch.randint(2**62, ())), len(x) // self.persons
        drawn = torch.stack([self._drawn(x, clips, seed + person) for person in range(self.persons)], 1).flatten(0, 1)
        scale = ((drawn >= self.p) / (1 - self.p)).to(x.dtype)
        return x * scale.view(len(x), *[1] * (x.dim() - 2), -1)

    def _drawn(self, x: torch.Tensor, clips: int, seed: int) -> torch.Tensor:
        """(clips, D) from a generator of its own: how much is drawn depends on the worker's share and its persons."""
        rank, workers = group()
        own = torch.Generator(x.device).manual_seed(seed)
        return torch.rand(clips * workers, x.shape[-1], device=x.device, generator=own)[rank::workers]


def merge_frames(x: torch.Tensor, mask: torch.Tensor, factor: int, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every `factor` frames averaged into one, over real frames only.

    x: T at `axis`; mask (N, T). Returns x with ceil(T / factor) frames, and its mask.
    """
    if factor == 1:
        return x, mask
    frames = (mask.shape[1] + factor - 1) // factor  # not -(-T // factor): ONNX rounds towards 0
    spare = frames * factor - mask.shape[1]
    padding = [0, 0] * (x.dim() - 1 - axis) + [0, spare]
    real = nn.functional.pad(mask, (0, spare)).unflatten(1, (frames, factor))
    share = real / real.sum(2, keepdim=True).clamp(min=1)
    x = nn.functional.pad(x, padding).unflatten(axis, (frames, factor))
    shape = [1] * x.dim()
    shape[0], shape[axis], shape[axis + 1] = share.shape
    return (x * share.view(shape).to(x.dtype)).sum(axis + 1), real.any(2)
