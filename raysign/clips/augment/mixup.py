"""Mixup (Zhang et al. 2018): two clips laid over each other, to be told as both of what they are."""

from dataclasses import replace

import numpy as np
import torch

from raysign.clips.augment.draws import column
from raysign.clips.augment.occlusion import seen
from raysign.clips.augment.time import played
from raysign.clips.batch import Batch


def shares(alpha: float, clips: int, *seeds: int) -> torch.Tensor:
    """(clips,) float32: how much each clip keeps of itself, from Beta(alpha, alpha), never nothing and never all."""
    drawn = np.random.default_rng(seeds).beta(alpha, alpha, clips)
    return torch.from_numpy(drawn.clip(0.001, 0.999).astype(np.float32))


def mixup(batch: Batch, other: Batch, share: torch.Tensor) -> Batch:
    """Each clip mixed with the one at its place in `other`, `share` (B,) of it and the rest of the other.

    The other is played at such a speed that it lasts as long. A point that one of the two does not see is where the
    other sees it, so that nothing is drawn towards the origin; what neither sees stays unseen.
    """
    most = max(batch.x.shape[1], other.x.shape[1])
    both = batch.x[:, :, : int(batch.frames.max())], played(other, batch.frames)
    first, second = (torch.nn.functional.pad(x, (0, 0, 0, 0, 0, 0, 0, most - x.shape[1])) for x in both)
    share = column(share.to(first.device))[..., None]
    a, b = share * seen(first), (1 - share) * seen(second)
    x = (a * first + b * second) / (a + b).clamp(min=1e-6)
    return replace(batch, x=x, persons=torch.maximum(batch.persons, other.persons))
