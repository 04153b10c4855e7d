"""Weights from another program as a bundle: named, sized and labelled as a recogniser of raysign has them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from raysign import store
from raysign.clips import form
from raysign.config import Config
from raysign.errors import BundleError, ConfigError, some
from raysign.kinds import kind_module, validated
from raysign.learn import foreign, labels
from raysign.learn.bundle import Bundle
from raysign.learn.foreign import Shapes
from raysign.learn.labels import Labels
from raysign.learn.recogniser import Recogniser, build
from raysign.learn.transfer import is_part

NAMED = 5  # weights in a message


@dataclass
class Match:
    """How weights fit a recogniser: those it takes by its own names, and the names of all others."""

    taken: dict[str, torch.Tensor] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)  # the recogniser's, which the file lacks
    unexpected: list[str] = field(default_factory=list)  # the file's, which the recogniser has not
    other_size: list[str] = field(default_factory=list)  # the recogniser's, with both sizes
    ignored: list[str] = field(default_factory=list)  # the file's, left out because it was asked for

    def lines(self) -> list[str]:
        """A line for each list that is not empty."""
        named = (
            ("missing", self.missing), ("unexpected", self.unexpected), ("of another size", self.other_size),
            ("ignored", self.ignored),
        )  # fmt: skip
        return [f"{what}: {len(names)} ({some(names, NAMED)})" for what, names in named if names]


def bundle_of(
    file: Path, config: Config, layout: str | None = None, names: Labels | None = None, ignore: Iterable[str] = (),
    partial: bool = False,
) -> tuple[Bundle, list[str]]:  # fmt: skip
    """The bundle of the config with the weights of a file, and what to say of how they fit.

    layout: of the landmarks its clips are made of; None: see `form.expected`. names: of the logits; None: the file's
    own, else class_0, class_1 ... ignore: parts or single weights left out, as `transfer.is_part`, by the file's names
    or the recogniser's. partial: what the file lacks begins as in a new training. BundleError when the file cannot be
    used, or lacks weights and `partial` is not given; ConfigError when labels or points do not fit.
    """
    checkpoint = foreign.read(file)
    skeleton, channels = form.expected(config, layout)
    config = _sized(config, foreign.shapes(checkpoint.weights))
    given, ignored = _renamed(checkpoint.weights, config, tuple(ignore))
    counts = _counts(config, skeleton, channels, foreign.shapes(given))
    names = names or Labels(labels.in_order(checkpoint.told, file) if checkpoint.told else [])
    named, said = _labels(names, counts, file)
    torch.manual_seed(config.seed)
    network = build(config, skeleton, channels, named)
    match = _match(network, given, ignored)
    if (match.missing or match.other_size) and not partial:
        raise BundleError(
            f"{file}: does not fit model.kind={config.model.kind} and task.kind={config.task.kind}: "
            f"{'; '.join(match.lines())}; give the settings it was made with, or --partial"
        )
    if not match.taken:
        raise BundleError(f"{file}: no weight fits model.kind={config.model.kind}; {'; '.join(match.lines())}")
    _refuse_non_finite(match.taken, file)
    network.load_state_dict(match.taken, strict=False)
    origin = {"file": file.name, "sha256": store.sha256(file), "partial": partial}
    bundle = Bundle(config, skeleton, named, channels, network.eval(), {"imported": origin})
    return bundle, [f"taken: {len(match.taken)} of {len(network.state_dict())} weights", *match.lines(), said]


# ---------------------------------------------------------------- names and sizes


def renamed(name: str, config: Config) -> str:
    """A published name as a recogniser's, by the first pattern of the model's `PUBLISHED` that it has; empty for what
    is computed anew.
    """
    module = kind_module("model", config.model.kind)
    rules = module.published(config.model) if hasattr(module, "published") else getattr(module, "PUBLISHED", {})
    for pattern, replacement in rules.items():
        if re.search(pattern, name):
            return re.sub(pattern, replacement, name, count=1)
    return name


def _renamed(
    weights: dict[str, torch.Tensor], config: Config, ignore: tuple[str, ...]
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The weights by a recogniser's names, and those ignored: that name -> the file's. Names that are a recogniser's
    already stay.
    """
    own = all(name.startswith(("encoder.", "task.")) for name in weights)
    given, ignored = {}, {}
    for name, value in weights.items():
        ours = name if own else renamed(name, config)
        if any(is_part(name, pattern) or is_part(ours, pattern) for pattern in ignore):
            ignored[ours] = name
        elif ours:
            given[ours] = value
    return given, ignored


def _sized(config: Config, shapes: Shapes) -> Config:
    """The config with the sizes that a file does not say but its shapes do, where the kind of model can tell."""
    module = kind_module("model", config.model.kind)
    if not hasattr(module, "sizes"):
        return config
    told = {**config.model.model_dump(), **module.sizes(shapes)}
    return config.model_copy(update={"model": validated(module.Options, told, "model.")})


def _counts(config: Config, skeleton, channels: tuple[str, ...], given: Shapes) -> tuple[int | None, int | None]:
    """How many glosses and categories the weights are for; None where no weight's size tells.

    Whatever the task: a size that grows by one with each gloss is compared with that of the file.
    """

    def sizes(glosses: int, categories: int) -> Shapes:
        labels = Labels([str(i) for i in range(glosses)], [str(i) for i in range(categories)])
        return foreign.shapes(build(config, skeleton, channels, labels).state_dict())

    few = sizes(2, 2)
    found = []
    for more in (sizes(3, 2), sizes(2, 3)):
        growing = [name for name in few if more[name] != few[name] and given.get(name)]
        found.append(max(1, 2 + given[growing[0]][0] - few[growing[0]][0]) if growing else None)
    return found[0], found[1]


def _labels(names: Labels, counts: tuple[int | None, int | None], file: Path) -> tuple[Labels, str]:
    """Labels of as many glosses and categories as the weights are for, and what to say of them."""
    glosses, categories = counts
    if glosses is None and not names.glosses:
        raise ConfigError(f"{file}: no weight tells how many glosses there are; give --labels FILE")
    for what, given, wanted in (("glosses", names.glosses, glosses), ("categories", names.categories, categories)):
        if given and wanted is not None and len(given) != wanted:
            raise ConfigError(f"{file}: found {len(given)} names of {what}, expected {wanted}; give --labels FILE")
    named = Labels(
        names.glosses or [f"class_{i}" for i in range(glosses or 0)],
        names.categories or [f"category_{i}" for i in range(categories or 0)],
    )
    nameless = "" if names.glosses else ", which have no names: give --labels FILE"
    more = f" and {len(named.categories)} categories" if named.categories else ""
    return named, f"labels: {len(named.glosses)} glosses{more}{nameless}"


# ---------------------------------------------------------------- values


def _match(network: Recogniser, given: dict[str, torch.Tensor], ignored: dict[str, str]) -> Match:
    """Each weight with its name in the network, seen in its shape; they may differ by axes of one place alone."""
    own = network.state_dict()
    match = Match(unexpected=sorted(set(given) - set(own)), ignored=sorted(ignored.values()))
    for name, value in own.items():
        if name in given and _long_axes(given[name]) == _long_axes(value):
            match.taken[name] = given[name].reshape(value.shape)
        elif name in given:
            match.other_size.append(f"{name} {_by(given[name])}, expected {_by(value)}")
        elif name not in ignored and not name.endswith("num_batches_tracked"):
            match.missing.append(name)
    return match


def _refuse_non_finite(weights: dict[str, torch.Tensor], file: Path) -> None:
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise BundleError(f"{file}: {name} holds numbers that are not finite; take an earlier checkpoint")


def _long_axes(value: torch.Tensor) -> list[int]:
    """The shape without axes of one place, which say nothing: a kernel of one by one is a matrix."""
    return [size for size in value.shape if size > 1]


def _by(value: torch.Tensor) -> str:
    return "x".join(map(str, value.shape)) or "one number"
