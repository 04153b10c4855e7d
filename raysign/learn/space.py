"""The space of a search: a tree that mirrors the config tree, with distributions and choices for leaves.

A leaf is `{uniform: [low, high]}`, `{loguniform: [low, high]}`, `{int: [low, high]}`, `{logint: [low, high]}` or a
list of choices. A list of mappings is a choice between sections, each with leaves of its own:
`model: [{kind: bilstm, hidden: [64, 128]}, {kind: transformer, layers: {int: [2, 4]}}]`; a plain value in such a
section is fixed. A dotted key means the same as nested ones. Knows neither Ray nor Optuna: `sample` asks anything with
Optuna's `suggest_*` methods, parameter by parameter, so that what a choice does not have is not asked for.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from raysign.config import Config, load
from raysign.errors import ConfigError, RaysignError, nearest
from raysign.kinds import kind_module
from raysign.learn import best
from raysign.learn.distribute import FREE
from raysign.trees import merged

SEARCHED = ("prepare", "augment", "model", "task", "train")
# of train: what does not change a result, and what must be the same for all trials, or they could not be compared
FIXED = {*FREE, "best", "smoke", "memory_gb"}
RANGES = {"uniform": (float, False), "loguniform": (float, True), "int": (int, False), "logint": (int, True)}
MOST = 10_000  # points of a grid
DIGITS = 4  # of a sampled float, so that a config stays readable


def usual(config: Config) -> dict:
    """The space of a search that names none: rate, batch, decay, dropout and the strength of augmentation."""
    space: dict[str, Any] = {
        "train": {"lr": {"loguniform": [1e-4, 1e-2]}, "weight_decay": {"loguniform": [1e-4, 0.1]},
                  "batch": [16, 32, 64]},
        "augment": {"time_stretch": {"uniform": [0.0, 0.6]}, "drop_hand": {"uniform": [0.0, 0.5]},
                    "noise": [0.0, 0.005, 0.02]},
    }  # fmt: skip
    if "dropout" in type(config.model).model_fields:
        space["model"] = {"dropout": {"uniform": [0.0, 0.6]}}
    return space


# ---------------------------------------------------------------- reading it


def parse(tree: dict, place: str = "") -> dict:
    """The space with nested keys only. ConfigError for what is neither a distribution, a choice nor a section."""
    found: dict = {}
    for key, value in tree.items():
        first, _, rest = str(key).partition(".")
        path = f"{place}.{first}" if place else first
        node = parse({rest: value}, path) if rest else _node(value, path)
        found = merged(found, {first: node}) if isinstance(found.get(first), dict) else {**found, first: node}
    return found


def _node(value: Any, place: str) -> Any:
    if isinstance(value, list):
        return _choice(value, place)
    if not isinstance(value, dict):
        raise _error(place, value, "a list of choices or {uniform: [low, high]}; a fixed value belongs in the config")
    kind, ends = next(iter(value.items()), ("", None))
    numbers = isinstance(ends, list) and len(value) == 1 and all(isinstance(_read(end), int | float) for end in ends)
    if kind in RANGES:
        return _range(value, place)
    if numbers and (near := nearest(kind, RANGES)):
        raise _error(place, value, f"one of {', '.join(RANGES)}{near}")
    return parse(value, place)


def _range(value: dict, place: str) -> dict:
    (kind, told), *others = value.items()
    number, log = RANGES[kind]
    ends = [_read(end) for end in told] if isinstance(told, list) else []
    good = len(ends) == 2 and all(type(end) in {number, int} for end in ends)
    if others or not good or not ends[0] < ends[1] or (log and ends[0] <= 0):
        what = "whole numbers" if number is int else "numbers"
        raise _error(place, value, f"{{{kind}: [low, high]}}, two {what}, the lower first{' and above 0' * log}")
    return {kind: [number(end) for end in ends]}


def _read(value: Any) -> Any:
    """A number for what YAML 1.1 takes for a word: 1e-4, which has no dot."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _choice(value: list, place: str) -> list:
    if not value:
        raise _error(place, value, "one choice or more")
    if _of_sections(value):
        value = [
            {key: one[key] if _is_plain(one[key]) else _node(one[key], f"{place}.{key}") for key in one}
            for one in value
        ]
    else:
        value = [_read(one) for one in value]
    names = labels(value)
    if len(set(map(str, names))) < len(names):
        raise _error(place, value, "choices that differ")
    return value


def _is_plain(value: Any) -> bool:
    return not isinstance(value, list | dict)


def _of_sections(value: list) -> bool:
    return all(isinstance(one, dict) for one in value)


def _error(place: str, found: Any, expected: str) -> ConfigError:
    return ConfigError(f"tune.space.{place}: found {_text(found)}, expected {expected}")


def _text(value: Any) -> str:
    return " ".join(yaml.safe_dump(value, default_flow_style=True, allow_unicode=True).removesuffix("...\n").split())


def labels(choices: list) -> list:
    """What choices are called: plain values as they are, a section by its kind, anything else as YAML."""
    if not _of_sections(choices):
        return [one if _is_plain(one) else _text(one) for one in choices]
    kinds = [str(one.get("kind", _text(one))) for one in choices]
    return [kind if kinds.count(kind) == 1 else f"{kind} {i + 1}" for i, kind in enumerate(kinds)]


# ---------------------------------------------------------------- taking one point of it


def sample(node: Any, trial: Any, place: str = "") -> Any:
    """A partial config tree: a value for each leaf, as `trial` suggests it.

    trial: has suggest_float(name, low, high, log=), suggest_int of the same and suggest_categorical(name, choices).
    Names are dotted paths; those of a chosen section say which it is: `model[bilstm].hidden`.
    """
    if isinstance(node, list):
        names = labels(node)
        name = trial.suggest_categorical(place, names)
        chosen = node[names.index(name)]
        return sample(chosen, trial, f"{place}[{name}]") if _of_sections(node) else chosen
    if not isinstance(node, dict):
        return node
    kind = next(iter(node), "")
    if kind not in RANGES:
        return {key: sample(value, trial, f"{place}.{key}" if place else key) for key, value in node.items()}
    low, high = node[kind]
    number, log = RANGES[kind]
    if number is int:
        return trial.suggest_int(place, low, high, log=log)
    return min(high, max(low, float(f"{trial.suggest_float(place, low, high, log=log):.{DIGITS}g}")))


def applied(config: Config, overrides: dict) -> Config:
    """The config with such a tree laid over it. A section that changes its kind starts from that kind's defaults."""
    return load(base=merged(config.model_dump(mode="json"), overrides))


def held(node: Any, config: Any, place: str = "") -> dict[str, Any]:
    """What the config, as a tree, has for each parameter of a space by itself; none for a section of another kind."""
    if isinstance(node, list) and _of_sections(node):
        same = [i for i, one in enumerate(node) if isinstance(config, dict) and one.get("kind") == config.get("kind")]
        if len(same) != 1:
            return {}
        name = labels(node)[same[0]]
        return {place: name, **held(node[same[0]], config, f"{place}[{name}]")}
    if isinstance(node, dict) and next(iter(node), "") not in RANGES:
        values = config if isinstance(config, dict) else {}
        each = [held(one, values.get(key), f"{place}.{key}" if place else key) for key, one in node.items()]
        return {name: value for found in each for name, value in found.items()}
    if _is_plain(node) or config is None:
        return {}
    return {place: config if _is_plain(config) else _text(config)}


class _Told:
    """Suggests what it was told, else the first of what a parameter can be; notes what each of them can be."""

    def __init__(self, told: dict[str, Any], whole: bool):
        self.told, self.whole, self.asked = told, whole, {}

    def suggest_categorical(self, name: str, choices: list) -> Any:
        self.asked[name] = choices
        return self.told.get(name, choices[0])

    def suggest_int(self, name: str, low: int, high: int, log: bool) -> int:
        return self.suggest_categorical(name, list(range(low, high + 1)) if self.whole and not log else [low, high])

    def suggest_float(self, name: str, low: float, high: float, log: bool) -> float:  # noqa: ARG002 - as Optuna's
        return self.suggest_categorical(name, [low, high])


def ends(space: dict) -> Iterator[dict]:
    """Overrides that together hold both ends of each range and each choice, in few trees."""
    todo: list[dict] = [{}]
    seen: set[str] = set()
    while todo:
        told = todo.pop()
        trial = _Told(told, whole=False)
        yield sample(space, trial)
        for name in [name for name in trial.asked if name not in seen]:
            seen.add(name)
            todo += [{**told, name: value} for value in trial.asked[name][1:]]


def grid(space: dict) -> list[dict[str, Any]]:
    """All points of a space without ranges of floats, each as its parameters. ConfigError when they are too many."""
    _refuse_floats(space)
    todo: list[dict] = [{}]
    points = []
    while todo:
        told = todo.pop()
        trial = _Told(told, whole=True)
        sample(space, trial)
        name = next((name for name in trial.asked if name not in told), None)
        if name is None:
            points.append(told)
        else:
            todo += [{**told, name: value} for value in reversed(trial.asked[name])]
        if len(points) + len(todo) > MOST:
            raise ConfigError(f"tune.space: found a grid of more than {MOST} points; use tune.search=random or optuna")
    return points


def _refuse_floats(node: Any, place: str = "") -> None:
    if isinstance(node, dict) and next(iter(node), "") in ("uniform", "loguniform", "logint"):
        raise _error(place, node, "a list of choices or {int: [low, high]}: a grid has no other ranges")
    if isinstance(node, dict) or (isinstance(node, list) and _of_sections(node)):
        items = node.items() if isinstance(node, dict) else [("", one) for one in node]
        for key, value in items:
            _refuse_floats(value, f"{place}.{key}".strip("."))


# ---------------------------------------------------------------- before anything runs


def checked(config: Config) -> dict:
    """The config's space, parsed, every path and both ends of every range validated against the config tree.

    ConfigError, one line, with the nearest key for a misspelt one.
    """
    space = parse(config.tune.space or usual(config))
    if not space:
        raise ConfigError("tune.space: found nothing to search; leave it out for the usual one")
    for key in space:
        if key in Config.model_fields and key not in SEARCHED:
            raise ConfigError(f"tune.space.{key}: cannot be searched, expected a key of {', '.join(SEARCHED)}")
    if config.tune.search == "grid":
        grid(space)
    for overrides in ends(space):
        if fixed := FIXED & set(overrides.get("train", ())):
            raise ConfigError(f"tune.space.train.{min(fixed)}: must be the same for all trials; set it in the config")
        try:
            one = applied(config, overrides)
            best.check(one.train, kind_module("task", one.task.kind).Task.METRICS, validated=True)
        except RaysignError as error:
            raise ConfigError(f"tune.space.{error}") from None
    return space
