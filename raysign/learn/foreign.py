"""Checkpoints of other programs: the tensors and labels in them, read as data. Nothing in a file is ever run."""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from raysign.errors import BundleError, some
from raysign.sources import _plain_pickle

Shapes = dict[str, tuple[int, ...]]
WEIGHTS = ("model_state_dict", "state_dict", "model", "network", "net")  # where programs keep them in a checkpoint
LABELS = ("label_mapping", "gloss_to_id", "labels", "label_names", "classes")
WRAPPED = re.compile(r"^(module\.|_orig_mod\.)+")  # what data-parallel and compiled networks are called


@dataclass(frozen=True)
class Checkpoint:
    """weights: by name, without the prefixes of wrappers. told: its labels, as it has them; None where it has none."""

    weights: dict[str, torch.Tensor]
    told: Any = None


def read(path: Path) -> Checkpoint:
    """A file of torch.save, new or old. BundleError for one that wants code to be run, is torn, or has no weights."""
    tree = _load(path)
    weights = _weights(tree)
    if not weights:
        found = some(tree, 5) if isinstance(tree, dict) else type(tree).__name__
        raise BundleError(f"{path}: found {found or 'nothing'}, expected weights by name (a state_dict)")
    told = next((tree[name] for name in LABELS if isinstance(tree.get(name), dict | list | tuple)), None)
    return Checkpoint({WRAPPED.sub("", name): value for name, value in weights.items()}, told)


def shapes(weights: dict[str, torch.Tensor]) -> Shapes:
    """Of each of the weights."""
    return {name: tuple(value.shape) for name, value in weights.items()}


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_plain_pickle.NUMBERS):
            warnings.simplefilter("ignore")  # of formats that are not read
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror or error}; give an existing file") from None
    except Exception as error:  # a strange file makes anything of torch's reader
        said = " ".join(str(error).split())
        wanted = re.search(r"GLOBAL (\S+)|(TorchScript|\.tar)", said)
        if not wanted:
            raise BundleError(f"{path}: not readable as a file of torch.save ({said[:120]})") from None
        raise BundleError(
            f"{path}: holds more than tensors ({wanted[1] or wanted[2]}), and reading that would run code; where it "
            "was made, load it and keep its weights alone: torch.save(model.state_dict(), FILE)"
        ) from None


def _weights(tree: Any) -> dict[str, torch.Tensor]:
    """The tensors by name, of a checkpoint or of a bare state dict; empty when there are none."""
    if not isinstance(tree, dict):
        return {}
    inside = next((tree[name] for name in WEIGHTS if isinstance(tree.get(name), dict)), None)
    if inside is not None:
        return _weights(inside)
    return {name: value for name, value in tree.items() if isinstance(name, str) and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    """Whether it is a dense tensor of real numbers, each of which is in the file."""
    return (
        isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type == "cpu"
        and not value.is_quantized and not value.is_complex() and not value.is_nested
        and value.untyped_storage().nbytes() >= value.nbytes
    )  # fmt: skip
