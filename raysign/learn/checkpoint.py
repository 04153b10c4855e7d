"""Full-state checkpoints: a file per saved epoch, whole or not there, loaded as tensors and plain values only."""

import logging
from pathlib import Path

import torch

from raysign import remote, store
from raysign.learn.bundle import TORN, tensor_bytes

PARTS = {"epoch", "network", "averaged", "optimizer", "scaler", "scores", "best", "ended"}
log = logging.getLogger(__name__)


def path_of(directory: Path, epoch: int) -> Path:
    """The file of the checkpoint written after `epoch` epochs."""
    return directory / "checkpoints" / f"epoch_{epoch:05d}.pt"


def save(directory: Path, state: dict, keep: int) -> None:
    """Write the checkpoint of `state["epoch"]` and delete all but the newest `keep`."""
    store.write_bytes(path_of(directory, state["epoch"]), tensor_bytes(state))
    for old in saved(directory)[:-keep]:
        store.unlink(old)


def saved(directory: Path) -> list[Path]:
    """The checkpoints of a training, oldest first."""
    return store.found(directory / "checkpoints", "epoch_*.pt")


def newest(directory: Path) -> dict | None:
    """The newest whole checkpoint, on the CPU; None when there is none. A torn one is passed over, with a word."""
    for path in reversed(saved(directory)):
        try:
            state = torch.load(remote.pull(path), weights_only=True, map_location="cpu")
        except TORN as error:
            log.warning("%s: not readable (%s); the one before it is used", path, type(error).__name__)
            continue
        if isinstance(state, dict) and set(state) >= PARTS:
            return state
        log.warning("%s: not a checkpoint of this raysign; the one before it is used", path)
    return None
