"""A training that starts from another's weights, or leaves some as they are."""

import logging
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from torch import nn

from raysign.errors import ConfigError, TrainError, nearest, some
from raysign.learn import bundle
from raysign.models._layers import group

log = logging.getLogger(__name__)
MOST_NAMED = 8


def start_from(network: nn.Module, directory: Path, ignore: Iterable[str] = ()) -> None:
    """Take the weights and statistics of a bundle that have the network's names and shapes, but those ignored.

    What the network has and does not get, and what the bundle has and is not taken, is told in a line each. BundleError
    for what is no bundle; TrainError when nothing fits.
    """
    own, theirs = network.state_dict(), bundle.load(directory).network.state_dict()
    left = {name for name in theirs if any(is_part(name, pattern) for pattern in ignore)}
    taken = {
        name: value for name, value in theirs.items()
        if name not in left and name in own and own[name].shape == value.shape
    }  # fmt: skip
    if not taken:
        raise TrainError(f"train.start_from: {directory}: no weights of this model's names and sizes; "
                         "give a bundle of the same model")  # fmt: skip
    network.load_state_dict(taken, strict=False)
    if group()[0] == 0:
        _tell(f"{directory}: not in it or of another size, as they begin here", set(own) - set(taken))
        _tell(f"{directory}: not taken over", set(theirs) - set(taken) - left)


def freeze(network: nn.Module, patterns: Iterable[str]) -> None:
    """Leave the weights of these parts as they are. ConfigError when a part has none, or when they are all."""
    names = dict(network.named_parameters())
    for pattern in patterns:
        found = [name for name in names if is_part(name, pattern)]
        if not found:
            modules = [name for name, _ in network.named_modules() if name]
            raise ConfigError(f"train.freeze: found no weight of {pattern!r}{nearest(pattern, [*modules, *names])}")
        for name in found:
            names[name].requires_grad_(False)
    if not any(p.requires_grad for p in names.values()):
        raise ConfigError("train.freeze: nothing is left to train; freeze less")


def train_mode(network: nn.Module) -> None:
    """`network.train()`, but batch norms that are frozen keep their statistics."""
    network.train()
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and not any(p.requires_grad for p in layer.parameters()):
            layer.eval()


def is_part(name: str, pattern: str) -> bool:
    """Whether a weight is the one that a pattern names, in which * is anything, or lies in the part that it names."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern.removesuffix('.')}.*")


def _tell(what: str, names: set[str]) -> None:
    if names:
        log.warning("%s: %s", what, some(sorted(names), MOST_NAMED))
