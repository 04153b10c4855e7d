"""Several bundles that answer together: a folder with theirs, the weight of each, and a card that is written last.

Files: members/0, members/1 ... (bundles) and card.json, which knows the checksum of each member's card.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from raysign import __version__, remote, store
from raysign.config import Config
from raysign.errors import BundleError, ConfigError, RaysignError
from raysign.kinds import kind_module
from raysign.learn import bundle as bundles
from raysign.learn.bundle import Bundle

_CARD = "card.json"


@dataclass(frozen=True)
class Ensemble:
    """Bundles of the same labels, whose answer is the weighted mean of their probabilities.

    weights: of each, from 0 on, 1 in all. names: of each, what it differs in. card: figures, versions.
    """

    members: tuple[Bundle, ...]
    weights: tuple[float, ...]
    names: tuple[str, ...]
    card: dict = field(default_factory=dict)

    @property
    def config(self) -> Config:
        """The first member's: what all share of it holds for all."""
        return self.members[0].config

    @property
    def labels(self) -> list[str]:
        """The glosses, in the order of the probabilities."""
        return self.members[0].labels


AnyBundle = Bundle | Ensemble


def save(directory: Path, places: Sequence[Path], names: Sequence[str], weights: Sequence[float], about: dict) -> None:
    """Copy the bundles at `places` into an ensemble; about: what else its card is to say."""
    directory.mkdir(parents=True, exist_ok=True)
    store.unlink(directory / _CARD)
    store.remove_tree(directory / "members")  # an ensemble that was here may have had more
    rows = []
    for i, (place, name, weight) in enumerate(zip(places, names, weights, strict=True)):
        for file in (*bundles.FILES, _CARD):
            store.write_bytes(member(directory, i) / file, remote.pull(place / file).read_bytes())
        rows.append({"name": name, "weight": weight, "sha256": store.sha256(member(directory, i) / _CARD)})
    store.write_json(directory / _CARD, {"raysign": __version__, **about, "members": rows})


def member(directory: Path, number: int) -> Path:
    """Where a member of the ensemble in a directory lies."""
    return directory / "members" / str(number)


def load(directory: Path) -> Bundle | Ensemble:
    """The bundle or the ensemble in a directory. BundleError when it is missing, torn or wrong."""
    directory = Path(directory)
    try:
        card = store.read_json(directory / _CARD)
    except RaysignError:
        card = {}
    if not isinstance(card, dict) or "members" not in card:
        return bundles.load(directory)
    try:
        rows = card["members"]
        names, known = [str(row["name"]) for row in rows], [row["sha256"] for row in rows]
        weights = [float(row["weight"]) for row in rows]
        sums = [store.sha256(member(directory, i) / _CARD) for i in range(len(known))]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{directory}: not a whole ensemble ({error}); copy or make it again") from None
    if sums != known or not weights or not np.isclose(sum(weights), 1) or min(weights) < 0:
        raise BundleError(f"{directory}: found other members or weights than its card knows; copy or make it again")
    members = tuple(bundles.load(member(directory, i)) for i in range(len(known)))
    require_same_labels([one.labels for one in members], directory)
    return Ensemble(members, tuple(weights), tuple(names), card)


def require_same_labels(labels: list[list[str]], place: Path) -> None:
    """BundleError when members do not tell the same glosses in the same order."""
    if any(other != labels[0] for other in labels):
        step = "train them on one split, by recipes that can use clips of each"
        raise BundleError(f"{place}: found members of other glosses, expected the same in all; {step}")


def require_mean(config: Config, place: str) -> None:
    """ConfigError when what the config's task tells is more than probabilities of glosses."""
    kind = config.task.kind
    if hasattr(kind_module("task", kind).Task, "told"):
        raise ConfigError(f"{place}: task.kind={kind} tells more than a gloss, of which there is no mean; leave it out")
