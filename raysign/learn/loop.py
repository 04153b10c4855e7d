"""The one training loop: plain torch, the same in this process, under Ray Train, on a CPU or a GPU.

Everything random follows from (seed, epoch, step), and losses, gradients and statistics are sums over the global batch:
a training that is killed and goes on, or runs on another number of workers, takes the same steps.
"""

import copy
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from raysign import config as configs
from raysign.clips.augment import Augment, mixup
from raysign.clips.batch import Batch, Resident, Streamed, bounds, seed_of
from raysign.errors import TrainError
from raysign.learn import best, checkpoint, compute, history, optimizer, transfer
from raysign.learn.best import Scores
from raysign.learn.recogniser import Recogniser
from raysign.learn.reporters import Reporter
from raysign.models._layers import group


@dataclass(frozen=True)
class Split:
    """Clips of a split and their targets (N, ...) int64, as the task has them, on the device."""

    clips: Resident | Streamed
    targets: torch.Tensor


@dataclass
class State:
    """All that changes in training.

    averaged: the network of averaged weights, where `train.ema` asks for one. scores: of each epoch, see `best`.
    best: {epoch, metrics, weights} of the best epoch so far. ended: why the training is at its end, else empty.
    """

    network: Recogniser
    averaged: Recogniser | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    scores: Scores = field(default_factory=list)
    best: dict | None = None
    ended: str = ""

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.scores)

    def saved(self) -> dict:
        """As tensors and plain values."""
        averaged = self.averaged.state_dict() if self.averaged else None
        return {
            "epoch": self.epoch, "network": self.network.state_dict(), "averaged": averaged,
            "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(),
            "scores": self.scores, "best": self.best, "ended": self.ended,
        }  # fmt: skip

    def restore(self, saved: dict) -> None:
        """The inverse of `saved`."""
        self.network.load_state_dict(saved["network"])
        if self.averaged:
            self.averaged.load_state_dict(saved["averaged"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        self.scores, self.best, self.ended = saved["scores"], saved["best"], saved["ended"]


def fit(config: configs.Config, network: Recogniser, train: Split, val: Split | None, augment: Augment,
        directory: Path, reporter: Reporter, run: str = "") -> None:  # fmt: skip
    """Train until `best.ended` says why not to go on, beginning from the newest checkpoint in `directory`.

    Leaves `checkpoints/` (the last one always there) and `metrics.csv`, a row an epoch, in `directory`, which all
    workers share. Reseeds torch's generators. run: as `history.begin` gave it; empty when no other can be there.
    TrainError when the loss is not finite, or another run has begun.
    """
    best.check(config.train, network.task.METRICS, val is not None)
    state = _begin(config, network, train)
    history.require_current(directory, run)
    _resume(state, directory)
    while not state.ended:
        began = time.perf_counter()
        if hasattr(network.task, "start"):
            network.task.start(state.epoch)
        metrics = _train_epoch(config, state, train, augment)
        seconds = time.perf_counter() - began
        if val is not None:
            metrics |= _evaluate(config, state.averaged or network, val)
        _refuse_non_finite(metrics, state.epoch + 1)
        _judge(config.train, state, metrics)
        metrics |= {
            "clips_per_second": train.clips.size * config.train.repeat / seconds,
            "seconds": time.perf_counter() - began, **_memory(train.targets.device),
        }  # fmt: skip
        save = state.epoch % config.train.checkpoint_every == 0 or bool(state.ended)
        history.require_current(directory, run)
        if group()[0] == 0:
            if hasattr(network.task, "watch"):  # first, so that what it refuses is not kept and taken for finished
                network.task.watch(metrics)
            history.append(directory, {"epoch": state.epoch, **metrics})
            if save:
                checkpoint.save(directory, state.saved(), config.train.keep_checkpoints)
        reporter.report({"epoch": state.epoch, **metrics}, saved=save)


def _begin(config: configs.Config, network: Recogniser, train: Split) -> State:
    """Before the first epoch."""
    device = train.targets.device
    network.to(device)
    if hasattr(network.task, "balance"):
        network.task.balance(train.targets)
    transfer.freeze(network, config.train.freeze)
    averaged = copy.deepcopy(network) if config.train.ema else None
    if config.train.compile:
        compute.compiled(network)
    scaler = torch.amp.GradScaler(device.type, enabled=compute.amp(config.train, device)[1])
    return State(network, averaged, optimizer.optimizer(config.train, network), scaler)


def _memory(device: torch.device) -> dict[str, float]:
    """The most memory of a GPU that tensors took in this epoch, in MB; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    most = torch.cuda.max_memory_allocated(device) / 2**20
    torch.cuda.reset_peak_memory_stats(device)
    return {"gpu_memory_mb": most}


# ---------------------------------------------------------------- one epoch


def _train_epoch(config: configs.Config, state: State, split: Split, augment: Augment) -> dict:
    """`train.repeat` passes over the training clips; metrics of the clips as augmented, with dropout."""
    train, steps = config.train, len(bounds(split.clips.size, config.train.batch))
    sums, norm = _zeros(state.network.task, split), torch.zeros((), device=split.targets.device)
    falls = best.falls(state.scores, train.plateau_patience)
    rate = 0.0
    transfer.train_mode(state.network)
    for turn in range(state.epoch * train.repeat, (state.epoch + 1) * train.repeat):
        seed = seed_of(config.seed, 3, turn)
        for step, (parts, clips) in enumerate(_steps(config, split, augment, turn, seed)):
            torch.manual_seed(seed + step)
            done = turn * steps + step
            rate = optimizer.rate_at(done, train.epochs * train.repeat * steps, train, falls)
            optimizer.set_rate(state.optimizer, rate)
            norm += _step(config, state, parts, clips, sums)
            if state.averaged:
                optimizer.follow(state.averaged, state.network, train.ema, done)
    metrics = _averaged(sums, state.network.task, split.clips.size * train.repeat, "train")
    return {**metrics, "train/grad_norm": float(norm) / (steps * train.repeat), "train/lr": rate}


def _steps(
    config: configs.Config, split: Split, augment: Augment, turn: int, seed: int
) -> Iterator[tuple[Iterator, int]]:
    """The steps of a pass: (this worker's share of each part, as `_augmented` gives it; clips over all workers)."""
    train, (rank, world) = config.train, group()
    augment.start(turn, split.clips.size)
    device = split.targets.device
    shares = mixup.shares(train.mixup, split.clips.size, config.seed, 6, turn).to(device) if train.mixup else None
    batches = split.clips.batches(
        train.batch, seed=seed, rank=rank, world=world, pairs=shares is not None, pieces=train.accumulate
    )
    for low, high in bounds(split.clips.size, train.batch):
        parts = islice(batches, min(train.accumulate, high - low))
        yield (_augmented(batch, augment, shares, split.targets) for batch in parts), high - low


def _augmented(
    batch: Batch, augment: Augment, shares: torch.Tensor | None, targets: torch.Tensor
) -> tuple[Batch, list[tuple]]:
    """The batch as it is trained on, and (weight, targets) of what each clip is: one of them, or two with mixup."""
    rows, other = batch.rows.to(targets.device), batch.other
    batch = augment(batch)
    if shares is None or other is None or not len(rows):
        return batch, [(1.0, targets[rows])]
    share = shares[rows]
    batch = mixup.mixup(batch, augment(other), share)
    return batch, [(share, targets[rows]), (1 - share, targets[other.rows.to(targets.device)])]


def _step(config: configs.Config, state: State, parts: Iterable, clips: int, sums: dict) -> torch.Tensor:
    """One step of the optimizer on the mean over `clips`, in all parts and on all workers; the gradient's norm."""
    state.optimizer.zero_grad(set_to_none=True)
    for batch, weighted in parts:
        _add_gradients(config, state, batch, weighted, clips, sums)
    _sum_gradients(state.network)
    state.scaler.unscale_(state.optimizer)
    norm = nn.utils.clip_grad_norm_(state.network.parameters(), config.train.clip_norm or math.inf)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    return norm


def _add_gradients(config: configs.Config, state: State, batch: Batch, weighted: list, clips: int, sums: dict) -> None:
    """Those of this worker's share of a part. weighted: as `_augmented` gives it."""
    network, mine = state.network, weighted[0][1]
    with compute.autocast(config.train, batch.x.device):
        logits = network(batch.x, batch.frames, batch.persons)
    # a worker without a clip in this batch takes part with a clip that counts for nothing
    loss = logits.sum() * 0
    if len(mine):
        loss = torch.stack([(w * network.task.loss(logits, told)).sum() for w, told in weighted]).sum() / clips
    state.scaler.scale(loss).backward()
    if len(mine):
        with torch.no_grad():
            _add_up(sums, network.task.sums(logits, mine))


@torch.no_grad()
def _evaluate(config: configs.Config, network: Recogniser, split: Split) -> dict:
    """Metrics of the validation clips, as they are."""
    rank, world = group()
    sums, device = _zeros(network.task, split), split.targets.device
    network.eval()
    for batch in split.clips.batches(config.train.batch, seed=None, rank=rank, world=world):
        with compute.autocast(config.train, device):
            logits = network(batch.x, batch.frames, batch.persons)
        mine = split.targets[batch.rows.to(device)]
        if len(mine):  # a worker may be left without a clip
            _add_up(sums, network.task.sums(logits, mine))
    return _averaged(sums, network.task, split.clips.size, "val")


def _zeros(task: Any, split: Split) -> dict[str, torch.Tensor]:
    """The sums that a task's metrics are made of, before the first clip."""
    return {name: torch.zeros((), device=split.targets.device) for name in (*task.METRICS, *_per(task).values())}


def _per(task: Any) -> dict[str, str]:
    """The metrics that are no means over clips, and the sum that each is divided by."""
    return getattr(task, "PER", {})


def _add_up(sums: dict[str, torch.Tensor], more: dict[str, torch.Tensor]) -> None:
    for name, value in more.items():
        sums[name] += value.sum()


def _averaged(sums: dict[str, torch.Tensor], task: Any, clips: int, split: str) -> dict[str, float]:
    """Sums of each worker to the task's metrics: means over all clips, but for those of its PER."""
    total = torch.stack(list(sums.values()))
    if group()[1] > 1:
        dist.all_reduce(total)
    found, per = dict(zip(sums, total.tolist(), strict=True)), _per(task)
    return {f"{split}/{name}": found[name] / (found[per[name]] if name in per else clips) for name in task.METRICS}


def _sum_gradients(network: nn.Module) -> None:
    """Each gradient becomes the sum over all workers; each loss is its worker's share of the batch's mean."""
    if group()[1] == 1:
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


# ---------------------------------------------------------------- resume, best epoch, trouble


def _resume(state: State, directory: Path) -> None:
    """Go on from the newest checkpoint; epochs after it are forgotten, in `metrics.csv` as well."""
    rank, world = group()
    saved = checkpoint.newest(directory)
    if saved is not None:
        state.restore(saved)
    if world > 1:
        epochs = torch.tensor([state.epoch, -state.epoch], device=next(state.network.parameters()).device)
        dist.all_reduce(epochs, op=dist.ReduceOp.MAX)
        if epochs.sum() != 0:
            raise TrainError(f"{directory}: workers see different checkpoints; put `out` on storage all nodes share")
    if rank == 0:
        history.forget_after(directory, state.epoch)


def _judge(train: configs.Train, state: State, metrics: dict) -> None:
    """Count the epoch as done, remember its weights when it is the best so far, and see whether it is the last."""
    sign = best.sign(state.network.task, train.best)
    state.scores.append(best.score({"epoch": state.epoch + 1, **metrics}, train.best, sign))
    if best.epoch_of(state.scores) == state.epoch:
        weights = (state.averaged or state.network).state_dict()
        kept = {name: value.detach().cpu().clone() for name, value in weights.items()}
        state.best = {"epoch": state.epoch, "metrics": metrics.copy(), "weights": kept}
    state.ended = best.ended(train, state.scores, sign)


def _refuse_non_finite(metrics: dict, epoch: int) -> None:
    for name, value in metrics.items():
        if not math.isfinite(value) and name != "train/grad_norm":
            raise TrainError(
                f"epoch {epoch}: {name} is {value}; lower train.lr, or set train.clip_norm=1 train.amp=off"
            )
