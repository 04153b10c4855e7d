"""What raysign achieves: speed and memory as ratios to a baseline of the same run, accuracy on unseen signers, and
that nothing is lost when machines die.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence

from pydantic import create_model

from raysign.errors import ConfigError, nearest
from raysign.kinds import members, validated
from raysign.trees import value_of


def benchmarks() -> dict[str, str]:
    """The benchmarks there are, each with its module: the files of this folder, without the `_` a keyword ends in."""
    return {name.removesuffix("_"): f"{__name__}.{name}" for name in members(__name__)}


def arguments(run: Callable, options: Iterable[str]) -> dict:
    """`key=value` words as keyword arguments of a benchmark's `run`; a word alone is a tuple where one is wanted.

    ConfigError for an unknown key, a value of another type than the parameter's, and a parameter that must be given.
    """
    known = inspect.signature(run).parameters
    told = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or key not in known:
            raise ConfigError(f"{option}: expected KEY=VALUE with a key of {', '.join(known)}{nearest(key, known)}")
        read = value_of(value)
        told[key] = (read,) if isinstance(read, str) and isinstance(known[key].default, tuple) else read
    missing = [key for key, one in known.items() if one.default is one.empty and key not in told]
    if missing:
        raise ConfigError(f"{missing[0]}: missing; give it as {missing[0]}=VALUE")
    fields: dict = {key: (one.annotation, ... if key in missing else one.default) for key, one in known.items()}
    made = validated(create_model("Arguments", **fields), told)
    return {key: getattr(made, key) for key in told}


def some_of(key: str, given: tuple[str, ...], known: Sequence[str]) -> tuple[str, ...]:
    """The names given, or all that are known for `all`. ConfigError for one that is not known, with the nearest."""
    if given == ("all",):
        return tuple(known)
    for name in given:
        if name not in known:
            expected = f"all or some of {', '.join(known)}{nearest(name, known)}"
            raise ConfigError(f"{key}: found {name!r}, expected {expected}")
    return given
