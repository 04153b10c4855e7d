"""The recognisers that an ensemble is made of: what each differs in from the config, and their trainings."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import get_args

from raysign import remote, store
from raysign.clips.streams import Stream
from raysign.config import Config
from raysign.errors import ConfigError, nearest
from raysign.learn import distribute, search
from raysign.learn.ensemble import require_mean, require_same_labels
from raysign.learn.job import Job, directory_of
from raysign.learn.space import applied
from raysign.learn.tracking import Tracker
from raysign.trees import merged

SECTIONS = ("prepare", "augment", "model", "task", "train", "seed")  # what members may differ in
SEEDS = 3  # of members that differ in nothing else


@dataclass(frozen=True)
class Member:
    """name: what it differs in, as it is typed. config: of its training. recipe: the config that its clips follow
    from, whose seed, and so whose splits, are the same for all members.
    """

    name: str
    config: Config
    recipe: Config


def of(config: Config) -> list[Member]:
    """The members that a config names; else one for each stream of its recipe, and where that has none SEEDS seeds.
    ConfigError when they cannot be, or when their answers would have no mean.
    """
    told = config.ensemble.members
    if told is None and hasattr(config.prepare, "stream"):
        told = tuple({"prepare.stream": stream} for stream in get_args(Stream))
    elif told is None:
        told = tuple({"seed": config.seed + i} for i in range(SEEDS))
    found = [_member(config, overrides) for overrides in told]
    if len(found) < 2:
        raise ConfigError(f"ensemble.members: found {len(found)}, expected 2 or more")
    for one in found:
        require_mean(one.config, "ensemble.members")
        if one.config.train.restart:
            step = f"leave it out; delete {remote.shown(config.answers / 'train')} to train all anew"
            raise ConfigError(f"train.restart: an ensemble goes on with the trainings that are there; {step}")
    return found


def _member(config: Config, overrides: dict) -> Member:
    """overrides: values by dotted path."""
    for path in overrides:
        if (section := str(path).partition(".")[0]) not in SECTIONS:
            known = f"one of {', '.join(SECTIONS)}{nearest(section, SECTIONS)}"
            raise ConfigError(f"ensemble.members: found {path}, expected a setting of {known}; all else they share")
    tree = reduce(merged, (_tree(str(path), value) for path, value in overrides.items()), {})
    own = applied(config, merged(tree, {"evaluate": {"bundle": None}, "ensemble": {"members": None}}))
    name = ", ".join(f"{path}={value}" for path, value in overrides.items()) or "the config as it is"
    return Member(name, own, own.model_copy(update={"seed": config.seed}))


def _tree(path: str, value: object) -> dict:
    return reduce(lambda leaf, part: {part: leaf}, reversed(path.split(".")), value)  # pyright: ignore[reportReturnType]


def jobs_of(members: list[Member], clips: list[Path]) -> list[Job]:
    """The trainings of members, each on its own clips. ConfigError when two are one, BundleError when they would not
    tell the same glosses, as the recipe of one makes nothing of some clips.
    """
    require_same_labels([(store.read_card(place) or {})["labels"] for place in clips], clips[0].parent)
    pairs = list(zip(members, clips, strict=True))
    jobs = [Job(i, own.config, of, directory_of(own.config, of)) for i, (own, of) in enumerate(pairs)]
    names: dict[Path, str] = {}
    for job, member in zip(jobs, members, strict=True):
        if twin := names.get(job.directory):
            raise ConfigError(f"ensemble.members: {member.name} trains the same as {twin}; members must differ")
        names[job.directory] = member.name
    return jobs


def train(config: Config, members: list[Member], jobs: list[Job], place: Path, say: Callable[[str], None]) -> None:
    """Carry out the members' trainings: several at a time on the cluster, or with train.workers=0 one after the other
    in this process. Those that are done are not done again. TrainError for the first that failed.

    place: the folder of MLflow's run that theirs are shown below.
    """

    def record(job: Job) -> Tracker:
        told = distribute.tags(job.config, store.read_card(job.clips) or {}, job.directory)
        return Tracker(job.config, job.directory, told | {"raysign.member": members[job.number].name}, place)

    if config.train.most > 0:
        search.all_trained(config, place, jobs, record, lambda line: say(f"ensemble: {line}"))
        return
    for job in jobs:
        tracker = None if job.finished else record(job)
        distribute.train(job.config, job.clips, job.directory.parent, tracker)
        say(f"ensemble: {job.number + 1}/{len(jobs)} members are trained ({members[job.number].name})")
