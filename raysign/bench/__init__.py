"""What raysign achieves: speed and memory as ratios to a baseline of the same run, accuracy on unseen signers."""

import inspect
from collections.abc import Callable, Iterable

import yaml

from raysign.config import members
from raysign.errors import ConfigError, nearest


def names() -> list[str]:
    """The benchmarks there are: the files of this folder."""
    return members(__name__)


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
