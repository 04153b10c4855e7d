"""What raysign achieves: speed and memory as ratios to a baseline of the same run, accuracy on unseen signers."""

import inspect
from collections.abc import Callable, Iterable

import yaml

from raysign.errors import ConfigError, nearest
from raysign.kinds import members


def benchmarks() -> dict[str, str]:
    """The benchmarks there are, each with its module: the files of this folder, without the `_` a keyword ends in."""
    return {name.removesuffix("_"): f"{__name__}.{name}" for name in members(__name__)}


def arguments(run: Callable, options: Iterable[str]) -> dict:
    """`key=value` words as keyword arguments of a benchmark's `run`; ConfigError for an unknown key."""
    known = inspect.signature(run).parameters
    found = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or key not in known:
            raise ConfigError(f"{option}: expected KEY=VALUE with a key of {', '.join(known)}{nearest(key, known)}")
        found[key] = yaml.safe_load(value)
    return found
