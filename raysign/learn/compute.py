"""How the same training is computed: in which precision, compiled or not, with the same bits each time or not."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from raysign.config import Train
from raysign.errors import ConfigError, TrainError
from raysign.models._layers import MaskedBatchNorm, RowDropout, group


def amp(train: Train, device: torch.device) -> tuple[torch.dtype | None, bool]:
    """(dtype of automatic mixed precision or None, whether gradients must be scaled)."""
    choice = train.amp if train.amp != "auto" else ("bf16" if device.type == "cuda" else "off")
    if choice == "fp16" and device.type == "cpu":
        raise ConfigError("train.amp: found fp16 on a CPU, expected bf16 or off; float16 trains on a GPU only")
    return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[choice], choice == "fp16"


def autocast(train: Train, device: torch.device) -> torch.autocast:
    """What a forward pass runs in."""
    dtype = amp(train, device)[0]
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def compiled(network: nn.Module) -> None:
    """Have the network's forward pass compiled at its first call, for any size of batch; weights keep their names.

    ConfigError where there is no C++ compiler, which torch.compile needs on a CPU and on a GPU.
    """
    if not any(shutil.which(name) for name in (os.environ.get("CXX") or "g++", "clang++", "cl")):
        raise ConfigError("train.compile: found no C++ compiler; install g++ or set train.compile=false")
    # compiled, dropout would draw other numbers than every worker does; and sums over workers are none of a compiler's
    apart = (RowDropout, MaskedBatchNorm) if group()[1] > 1 else (RowDropout,)
    for layer in network.modules():
        if isinstance(layer, apart):
            layer.forward = torch.compiler.disable(layer.forward)  # pyright: ignore[reportAttributeAccessIssue]
    network.compile(dynamic=True)


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Where it is wanted, torch refuses operations that may give other bits each time: TrainError names the first."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else matrix products on a GPU are refused
    torch.use_deterministic_algorithms(wanted or before)
    try:
        yield
    except RuntimeError as error:
        if "determinis" not in str(error):
            raise
        reason = str(error).split(", but")[0].splitlines()[0]
        raise TrainError(f"train.deterministic: {reason}; set train.device=cpu or train.deterministic=false") from None
    finally:
        torch.use_deterministic_algorithms(before)
