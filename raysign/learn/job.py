"""The trainings of a search: what each is to be, where it lies, and what it came to. Knows neither Ray nor Optuna."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from raysign import remote, store
from raysign.config import Config
from raysign.errors import StoreError
from raysign.learn import bundle, distribute, space
from raysign.learn.history import read_metrics


@dataclass(frozen=True)
class Job:
    """A training that is to be done: of these settings and clips, in this directory."""

    number: int
    config: Config
    clips: Path
    directory: Path

    @property
    def finished(self) -> bool:
        """Whether its bundle is there, and whole. StoreError when the object store cannot be asked."""
        place = self.directory / "bundle"
        if not remote.pull(place / "card.json").exists():
            return False
        try:
            known = store.read_json(place / "card.json")["sha256"]
            return all(store.sha256(place / name) == known[name] for name in bundle.FILES)
        except (StoreError, FileNotFoundError, KeyError, TypeError):  # torn by a power cut
            return False

    def best(self) -> dict[str, float]:
        """The metrics of the best epoch, once it is finished."""
        return store.read_json(self.directory / "bundle" / "card.json")["metrics"]


@dataclass(frozen=True)
class Trial:
    """What a trial came to.

    state: finished, stopped (early), failed or running. value: of the metric, at the best epoch so far. params: by
    dotted path; of the first trial what the config has by itself. error: why it failed.
    same_as: the trial before it that had the same settings, whose training is its own too.
    """

    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    directory: Path | None
    error: str = ""
    same_as: int | None = None

    @cached_property
    def rows(self) -> list[dict]:
        """Its epochs, as they were when first asked for."""
        return read_metrics(self.directory) if self.directory else []

    @property
    def seconds(self) -> float:
        """Of its epochs."""
        return 0.0 if self.same_as is not None else sum(row["seconds"] for row in self.rows)


def place_of(config: Config, clips: Path) -> Path:
    """The folder of the config's search on these clips, named by what its trials follow from but for their number."""
    tune, training = config.tune, directory_of(config, clips).name
    rule = [tune.search, tune.scheduler, tune.grace, tune.reduction]
    return config.answers / "search" / store.fingerprint([training, space.checked(config), *rule])


def directory_of(config: Config, clips: Path) -> Path:
    """Where a training lies. Clips that are not there yet will lie in a directory called by their key."""
    key = (store.read_card(clips) or {"key": clips.name})["key"]
    return config.answers / "train" / distribute.key_of(config, key)


def is_begun(place: Path) -> bool:
    """Whether a search has begun in a folder."""
    return (place / "study.journal").exists()
