"""A search for better settings: the trials that its study asks for, carried out, and told to MLflow. The best and the
first are trained with other seeds where that is asked for.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from raysign import store
from raysign.clips import prepare
from raysign.config import Config
from raysign.errors import ConfigError, TrainError
from raysign.learn import distribute, reporters, tracking, trials
from raysign.learn.job import Job, is_begun, place_of
from raysign.learn.study import Study
from raysign.learn.tracking import Tracker


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """No other process is at the search, or the ensemble, in this folder meanwhile. TrainError when one is."""
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise TrainError(f"{place}: another process is at work here; wait for it or end it") from None
    try:
        yield
    finally:
        lock.release()


def resumable(config: Config) -> None:
    """ConfigError when no search at all has begun where the config's would lie. Looks at no clips, as `run` does."""
    if not any(is_begun(place) for place in (config.answers / "search").glob("*")):
        raise _none_in(config.answers / "search")


def _none_in(folder: Path) -> ConfigError:
    return ConfigError(f"--resume: found no search of these settings in {folder}; leave it out to begin one")


def run(config: Config, clips: Path, resume: bool = False, say: Callable[[str], None] = print) -> Study:
    """The config's search, on these clips or on what other recipes make of their landmarks, to its end.

    say: is told a line on each trial. resume: ConfigError when no search has begun. Raises ConfigError for a space that
    cannot be, TrainError when the cluster holds no trial, StoreError when the place of its results cannot be used. Its
    folder is to be had `alone`.
    """
    _check(config, clips)
    place = place_of(config, clips)
    if resume and not is_begun(place):
        raise _none_in(place.parent)
    place.mkdir(parents=True, exist_ok=True)
    if config.tune.restart:
        (place / "study.journal").unlink(missing_ok=True)
    study = Study(config, _clips_of(config, clips), place, say)
    if study.points and study.most <= len(study.points):
        some = f"{study.most - 1} of {len(study.points)} points of the grid"
        say(f"tune.trials={study.most}: the config as it is and {some}")
    if begun := sum(trial.state != "running" for trial in study.trials()):
        say(f"{begun} of {study.most} trials are done" + "; the search goes on" * (not study.over))
    own = [trial for trial in study.trials() if trial.same_as is None]
    untold = [study.job(t.number) for t in own if t.directory and tracking.owes(config, t.directory)]
    owing = [job for job in untold if job.finished]
    if study.over and not owing and not tracking.owes(config, place):
        study.best()  # there must be one
        return study
    parent = Tracker(config, place, {"raysign.search": place.name})
    with reporters.told_of_its_end(parent):
        record = partial(_record, study, False)
        _tell(owing, record)
        if not study.over:
            trials.carried_out(config, place, study, study.most, record)
        best = study.best()
        parent.finish("FINISHED", study.job(best.number).directory / "bundle", {study.metric: best.value or 0.0})
    return study


def seeded(study: Study, numbers: list[int], seeds: int, say: Callable[[str], None] = print) -> list[list[Job]]:
    """The settings of some trials of a search, each trained with so many other seeds on its own clips, whose splits
    stay as they are. Returns the trainings of each. TrainError for the first that failed.
    """
    told = [study.job(number, study.config.seed + 1 + i) for number in numbers for i in range(seeds)]
    each = {job.directory: job for job in told}  # the best may be the first trial itself
    jobs = [replace(job, number=i) for i, job in enumerate(each.values())]
    all_trained(study.config, study.place, jobs, partial(_record, study, True), lambda line: say(f"confirm: {line}"))
    return [told[i : i + seeds] for i in range(0, len(told), seeds)]


def all_trained(
    config: Config, place: Path, jobs: list[Job], record: Callable[[Job], Tracker], say: Callable[[str], None]
) -> None:
    """Trainings for their own sake, numbered by their places, several at a time. What is done is not done again.

    place: a folder to work in. record: begins MLflow's run of one. say: is told a line on each. TrainError for the
    first that failed, once the others are done.
    """
    _tell([job for job in jobs if tracking.owes(job.config, job.directory) and job.finished], record)
    listed = _Listed(jobs, say)
    if todo := len(listed.todo):
        trials.carried_out(config, place, listed, todo, record)
    if listed.errors:
        raise TrainError(listed.errors[0])


def _record(study: Study, seed: bool, job: Job) -> Tracker:
    """MLflow's run of a trial, or of a training with another seed, below the search's. Clips that are not there yet
    will be of the landmarks that the config's own are of.
    """
    own = store.read_card(study.clips_of(study.config)) or {}
    card = store.read_card(job.clips) or {**own, "key": job.clips.name}
    tag = {"raysign.seed": str(job.config.seed)} if seed else {"raysign.trial": str(job.number)}
    return Tracker(job.config, job.directory, distribute.tags(job.config, card, job.directory) | tag, study.place)


def _tell(jobs: list[Job], record: Callable[[Job], Tracker]) -> None:
    """Tell MLflow what it missed of trainings that have ended."""
    told = [(job, record(job)) for job in jobs]
    for job, tracker in told:
        tracker.end("FINISHED", None, job.best())
    tracking.wait(tracker for _, tracker in told)


class _Listed:
    """Trainings for their own sake, in a list."""

    def __init__(self, jobs: list[Job], say: Callable[[str], None]):
        self.all, self.todo, self.say = jobs, [job for job in jobs if not job.finished], say
        self.errors: list[str] = []

    def next(self) -> Job | None:
        return self.todo.pop(0) if self.todo else None

    def report(self, number: int, epoch: int, metrics: dict[str, float]) -> bool:  # noqa: ARG002 - as of Trials
        return False

    def done(self, number: int) -> None:
        job = self.all[number]
        if not job.finished:
            self.failed(number, "not finished; the same command goes on")
        done = sum(job.finished for job in self.all)
        self.say(f"{done}/{len(self.all)} trainings are done (seed {job.config.seed})")

    def failed(self, number: int, error: str) -> None:
        self.errors.append(f"{self.all[number].directory}: {error}")


def _check(config: Config, clips: Path) -> None:
    if not config.train.best.startswith("val/"):
        raise ConfigError(f"train.best: found {config.train.best!r}, expected one of validation clips, val/...")
    if config.train.restart:
        raise ConfigError("train.restart: a search begins anew with tune.restart=true")
    counts = (store.read_card(clips) or {}).get("counts", {}).get("split", {"val": 1})
    if not counts.get("val"):
        raise ConfigError("split: no validation clips to choose the best trial by; set split.val or split.val_signers")


def _clips_of(config: Config, clips: Path) -> Callable[[Config], Path]:
    """Where the clips of a trial are: of the config's own recipe those that are there, of another where they belong."""
    places = {config.prepare.model_dump_json(): clips}

    def place(trial: Config) -> Path:
        recipe = trial.prepare.model_dump_json()
        if recipe not in places:
            places[recipe] = prepare.plan(trial.landmarks_dir, clips.parent, trial).directory
        return places[recipe]

    return place
