"""The one training loop: plain torch, the same in this process, under Ray Train, on a CPU or a GPU.

Everything random follows from (seed, epoch, step), and losses, gradients and statistics are sums over the global batch:
a training that is killed and goes on, or runs on another number of workers, takes the same steps.
"""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from raysign import config as configs
from raysign import store
from raysign.clips.augment import Augment, mixup
from raysign.clips.batch import Batch, Resident, Streamed, bounds, mixed
from raysign.errors import ConfigError, TrainError, nearest
from raysign.learn import checkpoint
from raysign.learn.recogniser import Recogniser
from raysign.learn.reporters import Reporter
from raysign.models._layers import group


@dataclass(frozen=True)
class Split:
    """Clips of a split and their classes (N,) int64 on the device."""

    clips: Resident | Streamed
    targets: torch.Tensor


@dataclass
class State:
    """All that changes in training. best: {epoch, metrics, weights} of the best epoch so far."""

    network: Recogniser
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    epoch: int = 0
    best: dict | None = None

    def saved(self) -> dict:
        """As tensors and plain values."""
        return {
            "epoch": self.epoch, "network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(), "best": self.best,
        }  # fmt: skip

    def restore(self, saved: dict) -> None:
        """The inverse of `saved`."""
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        self.epoch, self.best = saved["epoch"], saved["best"]


def fit(config: configs.Config, network: Recogniser, train: Split, val: Split | None, augment: Augment,
        directory: Path, reporter: Reporter, device: torch.device) -> None:  # fmt: skip
    """Train to the last epoch, going on from the newest checkpoint in `directory`.

    Leaves `checkpoints/` (the last one always there) and `metrics.jsonl`, one line per epoch, in `directory`, which
    all workers share. Reseeds torch's generators. TrainError when the loss is not finite.
    """
    _check_best(config, network.task.METRICS)
    network.to(device)
    state = State(
        network, _optimizer(config, network), torch.amp.GradScaler(device.type, enabled=_amp(config, device)[1])
    )
    _resume(state, directory)
    while state.epoch < config.train.epochs:
        began = time.perf_counter()
        metrics = _train_epoch(config, state, train, augment, device)
        seconds = time.perf_counter() - began
        if val is not None:
            metrics |= _evaluate(config, network, val, device)
        _refuse_non_finite(metrics, state.epoch + 1)
        state.epoch += 1
        _keep_best(config, state, metrics, val is not None)
        metrics |= {"clips_per_second": train.clips.size / seconds, "seconds": time.perf_counter() - began}
        save = state.epoch % config.train.checkpoint_every == 0 or state.epoch == config.train.epochs
        if group()[0] == 0:
            _write(config, state, metrics, directory, save)
            if hasattr(network.task, "watch"):
                network.task.watch(metrics)
        reporter.report({"epoch": state.epoch, **metrics}, saved=save)


def _write(config: configs.Config, state: State, metrics: dict, directory: Path, save: bool) -> None:
    with (directory / "metrics.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"epoch": state.epoch, **metrics}) + "\n")
    if save:
        checkpoint.save(directory, state.saved(), config.train.keep_checkpoints)


# ---------------------------------------------------------------- one epoch


def _train_epoch(config: configs.Config, state: State, split: Split, augment: Augment, device: torch.device) -> dict:
    """One pass over the training clips; metrics of the clips as augmented, with dropout."""
    rank, world = group()
    epoch, steps = state.epoch, len(bounds(split.clips.size, config.train.batch))
    sums = {name: torch.zeros((), device=device) for name in (*state.network.task.METRICS, "norm")}
    state.network.train()
    augment.start(epoch, split.clips.size)
    seed = mixed(config.seed, 3, epoch)
    rate = 0.0
    alpha = config.train.mixup
    shares = mixup.shares(alpha, split.clips.size, config.seed, 6, epoch).to(device) if alpha else None
    batches = split.clips.batches(config.train.batch, seed=seed, rank=rank, world=world, pairs=shares is not None)
    for step, batch in enumerate(batches):
        torch.manual_seed(seed + step)
        rate = _set_rate(state.optimizer, config.train, epoch * steps + step, config.train.epochs * steps)
        _step(config, state, *_augmented(batch, augment, shares, split.targets), sums, device)
    norm = sums.pop("norm") / steps
    metrics = _averaged(sums, split.clips.size, "train")
    return {**metrics, "train/grad_norm": float(norm), "train/lr": rate}


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


def _step(config: configs.Config, state: State, batch: Batch, weighted: list, sums: dict, device: torch.device):
    """One step of the optimizer on the sum of all workers' gradients. weighted: as `_augmented` gives it."""
    network, mine = state.network, weighted[0][1]
    state.optimizer.zero_grad(set_to_none=True)
    with _autocast(config, device):
        logits = network(batch.x, batch.frames, batch.persons)
    # a worker without a clip in this batch takes part with a clip that counts for nothing
    loss = logits.sum() * 0
    if len(mine):
        loss = torch.stack([(w * network.task.loss(logits, told)).sum() for w, told in weighted]).sum() / batch.total
    state.scaler.scale(loss).backward()
    _sum_gradients(network)
    state.scaler.unscale_(state.optimizer)
    sums["norm"] += nn.utils.clip_grad_norm_(network.parameters(), config.train.clip_norm or math.inf)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    with torch.no_grad():
        sums["loss"] += loss.detach() * batch.total
        if len(mine):
            for name, value in network.task.sums(logits, mine).items():
                sums[name] += value.sum() if name != "loss" else 0.0


@torch.no_grad()
def _evaluate(config: configs.Config, network: Recogniser, split: Split, device: torch.device) -> dict:
    """Metrics of the validation clips, as they are."""
    rank, world = group()
    sums = {name: torch.zeros((), device=device) for name in network.task.METRICS}
    network.eval()
    for batch in split.clips.batches(config.train.batch, seed=None, rank=rank, world=world):
        with _autocast(config, device):
            logits = network(batch.x, batch.frames, batch.persons)
        mine = split.targets[batch.rows.to(device)]
        for name, value in network.task.sums(logits[: len(mine)], mine).items():
            sums[name] += value.sum()
    return _averaged(sums, split.clips.size, "val")


def _averaged(sums: dict[str, torch.Tensor], count: int, split: str) -> dict[str, float]:
    """Sums of each worker to means over all clips."""
    total = torch.stack(list(sums.values()))
    if group()[1] > 1:
        dist.all_reduce(total)
    return {f"{split}/{name}": value / count for name, value in zip(sums, total.tolist(), strict=True)}


def _sum_gradients(network: nn.Module) -> None:
    """Each gradient becomes the sum over all workers; each loss is its worker's share of the batch's mean."""
    if group()[1] == 1:
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


# ---------------------------------------------------------------- optimizer, precision


def _optimizer(config: configs.Config, network: nn.Module) -> torch.optim.Optimizer:
    """AdamW; biases and the scales of norms are not decayed."""
    decayed = [p for p in network.parameters() if p.dim() > 1]
    free = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": config.train.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.train.lr)


def rate_at(step: int, steps: int, train: configs.Train) -> float:
    """The learning rate of one step: a linear rise over the warm-up, then half a cosine down to `min_lr`."""
    warm = int(train.warmup * steps)
    if step < warm:
        return train.lr * (step + 1) / (warm + 1)
    done = (step - warm) / max(1, steps - warm)
    return train.min_lr + (train.lr - train.min_lr) * 0.5 * (1 + math.cos(math.pi * done))


def _set_rate(optimizer: torch.optim.Optimizer, train: configs.Train, step: int, steps: int) -> float:
    rate = rate_at(step, steps, train)
    for parameters in optimizer.param_groups:
        parameters["lr"] = rate
    return rate


def _amp(config: configs.Config, device: torch.device) -> tuple[torch.dtype | None, bool]:
    """(dtype of automatic mixed precision or None, whether gradients must be scaled)."""
    choice = config.train.amp if config.train.amp != "auto" else ("bf16" if device.type == "cuda" else "off")
    if choice == "fp16" and device.type == "cpu":
        raise ConfigError("train.amp: found fp16 on a CPU, expected bf16 or off; float16 trains on a GPU only")
    return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[choice], choice == "fp16"


def _autocast(config: configs.Config, device: torch.device):
    dtype = _amp(config, device)[0]
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


# ---------------------------------------------------------------- resume, best epoch, trouble


def _resume(state: State, directory: Path) -> None:
    """Go on from the newest checkpoint; epochs after it are forgotten, in `metrics.jsonl` as well."""
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
        kept = [row for row in read_metrics(directory) if row["epoch"] <= state.epoch]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        store.write_bytes(directory / "metrics.jsonl", text.encode())


def read_metrics(directory: Path) -> list[dict]:
    """The lines of `metrics.jsonl`, without a torn last one; empty when there is no file yet."""
    rows = []
    path = directory / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _check_best(config: configs.Config, metrics: tuple[str, ...]) -> None:
    known = [f"{split}/{name}" for split in ("val", "train") for name in metrics]
    best = config.train.best
    if best not in known:
        raise ConfigError(f"train.best: found {best!r}, expected one of {', '.join(known)}{nearest(best, known)}")


def _keep_best(config: configs.Config, state: State, metrics: dict, validated: bool) -> None:
    """Remember this epoch's weights when it is the best so far; without validation clips the last epoch is."""
    by_name = validated or config.train.best.startswith("train/")
    if state.best is None or not by_name or _score(config, metrics) > _score(config, state.best["metrics"]):
        weights = {name: value.detach().cpu().clone() for name, value in state.network.state_dict().items()}
        state.best = {"epoch": state.epoch, "metrics": metrics.copy(), "weights": weights}


def _score(config: configs.Config, metrics: dict) -> tuple[float, float]:
    """Higher is better; ties are settled by the loss."""
    value = metrics[config.train.best]
    loss = metrics.get("val/loss", metrics["train/loss"])
    return (-value if config.train.best.endswith("loss") else value), -loss


def _refuse_non_finite(metrics: dict, epoch: int) -> None:
    for name, value in metrics.items():
        if not math.isfinite(value) and name != "train/grad_norm":
            raise TrainError(
                f"epoch {epoch}: {name} is {value}; lower train.lr, or set train.clip_norm=1 train.amp=off"
            )
