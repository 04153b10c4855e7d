"""Trials of a search on a cluster: the one door to Ray Tune, which runs what `study` asks for and reports to it.

A trial is the ordinary training loop in a process of its own, or, with several workers, a Ray Train run of its own. Its
training lies where `raysign train` of the same settings looks for it. A trial that raises an error is over; one whose
process dies is run again, from its training's checkpoint. Trouble with the place that all of them write to ends the
search, and is no trial's. No state of Ray Tune's own is ever used again.
"""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout
from ray import tune
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from raysign import engine, remote, store
from raysign.clips import prepare
from raysign.config import Config, load
from raysign.errors import ConfigError, RaysignError, StoreError, TrainError
from raysign.learn import distribute, mlflow_server, tracking
from raysign.learn.study import Job, Study, is_begun, place_of
from raysign.learn.tracking import Tracker

# of the driver: Ray Tune neither writes logs of its own nor catches Ctrl-C, and its snapshots are not wanted
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_DISABLE_SIGINT_HANDLER": "1", "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0", "RAY_AIR_NEW_OUTPUT": "0",
}  # fmt: skip
# of the trials: memory that a process keeps, as Ray Train's workers have it
ENVIRONMENT = {
    **distribute.ENVIRONMENT, "RAY_CHDIR_TO_TRIAL_DIR": "0", "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
}  # fmt: skip


class Trials(Protocol):
    """What Ray Tune is to run: a study, or a list of trainings."""

    def next(self) -> Job | None:
        """One to run; None when all have been handed out."""

    def report(self, number: int, epoch: int, metrics: dict[str, float]) -> bool:
        """An epoch has ended. True when the training is to end early."""
        ...

    def done(self, number: int) -> None:
        """Its process is at its end."""

    def failed(self, number: int, error: str) -> None:
        """It cannot be trained."""


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """No other process is at the search in this folder meanwhile. TrainError when one is."""
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise TrainError(f"{place}: another process is at this search; wait for it or end it") from None
    try:
        yield
    finally:
        lock.release()


def run(config: Config, clips: Path, resume: bool = False, say: Callable[[str], None] = print) -> Study:
    """The config's search, on these clips or on what other recipes make of their landmarks, to its end.

    say: is told a line on each trial. resume: ConfigError when no search has begun. Raises ConfigError for a space that
    cannot be, TrainError when the cluster holds no trial, StoreError when the place of its results cannot be used. Its
    folder is to be had `alone`.
    """
    _check(config, clips)
    place = place_of(config, clips)
    if resume and not is_begun(place):
        raise ConfigError(f"--resume: found no search of these settings in {place.parent}; leave it out to begin one")
    place.mkdir(parents=True, exist_ok=True)
    if config.tune.restart:
        (place / "study.journal").unlink(missing_ok=True)
    study = Study(config, _clips_of(config, clips), place, say)
    if begun := sum(trial.state != "running" for trial in study.trials()):
        say(f"{begun} of {study.most} trials are done" + "; the search goes on" * (not study.over))
    own = [trial for trial in study.trials() if trial.same_as is None]
    untold = [study.job(t.number) for t in own if t.directory and tracking.owes(config, t.directory)]
    owing = [job for job in untold if job.finished]
    if study.over and not owing and not tracking.owes(config, place):
        study.best()  # there must be one
        return study
    parent = Tracker(config, place, {"raysign.search": place.name})
    status = "KILLED"
    try:
        record = partial(_record, study, parent.run_id, False)
        _tell(owing, record)
        if not study.over:
            carried_out(study, study, study.most, record)
        best = study.best()
        parent.finish("FINISHED", study.job(best.number).directory / "bundle", {study.metric: best.value or 0.0})
        status = ""
    except RaysignError:
        status = "FAILED"
        raise
    finally:
        if status:
            parent.finish(status)
    return study


def seeded(study: Study, numbers: list[int], seeds: int, say: Callable[[str], None] = print) -> list[list[Job]]:
    """The settings of some trials of a search, each trained with so many other seeds on its own clips, whose splits
    stay as they are. Returns the trainings of each. TrainError for the first that failed.
    """
    told = [study.job(number, study.config.seed + 1 + i) for number in numbers for i in range(seeds)]
    each = {job.directory: job for job in told}  # the best may be the first trial itself
    jobs = [replace(job, number=i) for i, job in enumerate(each.values())]
    search = tracking.note_of(study.place, mlflow_server.uri_of(study.config)).get("run_id", "")
    record = partial(_record, study, search, True)
    _tell([job for job in jobs if tracking.owes(job.config, job.directory) and job.finished], record)
    listed = _Listed(jobs, say)
    if todo := len(listed.todo):
        carried_out(study, listed, todo, record)
    if listed.errors:
        raise TrainError(listed.errors[0])
    return [told[i : i + seeds] for i in range(0, len(told), seeds)]


def _record(study: Study, parent: str, seed: bool, job: Job) -> Tracker:
    """MLflow's run of a trial, or of a training with another seed, below the search's. Clips that are not there yet
    will be of the landmarks that the config's own are of.
    """
    own = store.read_card(study.clips_of(study.config)) or {}
    card = store.read_card(job.clips) or {**own, "key": job.clips.name}
    tag = {"raysign.seed": str(job.config.seed)} if seed else {"raysign.trial": str(job.number)}
    return Tracker(job.config, job.directory, distribute.tags(job.config, card, job.directory) | tag, parent)


def _tell(jobs: list[Job], record: Callable[[Job], Tracker]) -> None:
    """Tell MLflow what it missed of trainings that have ended."""
    trackers = {job.directory: record(job) for job in jobs}
    for directory, tracker in trackers.items():
        tracker.end("FINISHED", None, _best(directory))
    tracking.wait(trackers.values())


def _best(directory: Path) -> dict[str, float]:
    return store.read_json(directory / "bundle" / "card.json")["metrics"]


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
        self.say(f"confirm: {done}/{len(self.all)} trainings are done (seed {job.config.seed})")

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


# ---------------------------------------------------------------- Ray Tune


def carried_out(study: Study, trials: Trials, most: int, record: Callable[[Job], Tracker]) -> None:
    """Run trials, of the study or of its settings, at most so many, as many at a time as fit, until there are no more.

    record: begins MLflow's run of one. TrainError when the cluster has no room for one, StoreError for trouble that is
    no trial's own: those under way are left as they are.
    """
    config, place = study.config, study.place
    os.environ.update(QUIET)
    engine.connect(config.ray, dashboard=True, environment=ENVIRONMENT)
    slots, each = room(config)
    driver = _Driver(trials, record)
    store.remove_tree(place / "ray")  # of a driver that was killed
    files, storage = remote.where(place / "ray") or (None, str(place / "ray"))
    tuner = tune.Tuner(
        tune.with_resources(_trial, each),
        tune_config=tune.TuneConfig(
            search_alg=driver, num_samples=most, max_concurrent_trials=min(slots, config.tune.concurrent or slots),
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=uuid.uuid4().hex, storage_path=storage, storage_filesystem=files, stop=driver, verbose=0,
            failure_config=tune.FailureConfig(max_failures=config.train.max_failures),
        ),
    )  # fmt: skip
    try:
        tuner.fit()
    finally:
        driver.close()
        store.remove_tree(place / "ray")
    if driver.fault:
        raise driver.fault


def room(config: Config) -> tuple[int, dict[str, float]]:
    """(Trials that the cluster holds at a time, what Ray Tune is to reserve for each).

    A trial has `train.cpus_per_worker` CPUs, by default one, and a GPU where there are any: more trials at once are
    faster than more threads. Of a trial with several workers Ray Train reserves what they need, Ray Tune nothing.
    Machines that an autoscaler may start count. TrainError when there would never be room for one.
    """
    workers = config.train.workers if config.train.most > 1 else 1
    given = {"workers": workers, "cpus_per_worker": config.train.cpus_per_worker or 1}
    train = config.train.model_copy(update=given)
    cpus, gpu = distribute.resources(train)
    fit = distribute.room(engine.machines(), cpus, gpu)
    if train.most > 1:
        return max(1, fit // train.most), {"CPU": 0, "memory": 1}
    return fit, {"CPU": cpus, **({"GPU": 1} if gpu else {})}


class _Driver(Searcher, Stopper):
    """Between Ray Tune and the trials, in the driver's process."""

    def __init__(self, trials: Trials, record: Callable[[Job], Tracker]):
        super().__init__()
        self.trials, self.record = trials, record
        self.jobs: dict[str, tuple[Job, Tracker]] = {}  # under way, by Ray Tune's name of the trial
        self.ended: list[Tracker] = []
        self.stopped: set[str] = set()
        self.fault: RaysignError | None = None  # what ends the search

    def suggest(self, trial_id: str) -> Any:
        with self._watched():
            if job := self.trials.next():
                job.directory.mkdir(parents=True, exist_ok=True)
                self.jobs[trial_id] = job, self.record(job)
                return {"config": json.dumps(job.config.model_dump(mode="json")), "clips": str(job.clips),
                        "directory": str(job.directory)}  # fmt: skip
        return Searcher.FINISHED

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        job, tracker = self.jobs[trial_id]
        with self._watched():
            if "fault" in result:
                raise StoreError(f"{job.directory}: {result['fault']}; the same command goes on where it stopped")
            if "error" in result:
                self.trials.failed(job.number, result["error"])
            if "epoch" not in result or result.get("done"):
                return False
            tracker.log(result["epoch"], result["metrics"])
            if self.trials.report(job.number, result["epoch"], result["metrics"]):
                self.stopped.add(trial_id)
        return trial_id in self.stopped

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:  # noqa: ARG002
        job, tracker = self.jobs.pop(trial_id)
        status, best = "KILLED" if trial_id in self.stopped or self.fault else "FAILED", None
        with self._watched():
            if not self.fault:
                self.trials.done(job.number)
            if job.finished:
                status, best = "FINISHED", _best(job.directory)
        tracker.end(status, None, best)
        self.ended.append(tracker)

    def close(self) -> None:
        """End the runs of trials that are left off, and wait for MLflow's server, once for all of them."""
        for _, tracker in self.jobs.values():
            tracker.end("KILLED")
            self.ended.append(tracker)
        tracking.wait(self.ended)

    def stop_all(self) -> bool:
        return self.fault is not None

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Errors in here end the search, once Ray Tune asks `stop_all`; raised in its loop they would be lost."""
        try:
            yield
        except RaysignError as error:
            self.fault = self.fault or error
        except OSError as error:
            self.fault = self.fault or StoreError(f"{error}; the same command goes on where it stopped")

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is on disk."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""

    def __getstate__(self) -> dict:
        return {}  # Ray Tune keeps a copy that nobody reads


# ---------------------------------------------------------------- in a trial's process


class _Reports:
    """Tells Ray Tune how the training goes."""

    told: float = 0

    def log(self, epoch: int, metrics: dict[str, float]) -> None:
        tune.report({"epoch": epoch, "metrics": metrics})

    def finish(self, status: str, bundle: Path | None = None, best: dict[str, float] | None = None) -> None:
        """Told by `_trial`."""


def _trial(told: dict[str, str]) -> None:
    """Prepare the clips if it is the first of their recipe, and train. An error is reported: again it would come. So is
    trouble with the place, by another name.
    """
    try:
        train(load(base=json.loads(told["config"])), Path(told["clips"]), Path(told["directory"]))
        tune.report({"ended": True})  # of a training that was there already nothing else is
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        plain = isinstance(error, RaysignError)
        line = text.splitlines()[0] if plain else f"{type(error).__name__}: {text.splitlines()[-1]}"
        tune.report({"fault" if isinstance(error, OSError | StoreError) else "error": line})


def train(config: Config, clips: Path, directory: Path) -> None:
    """One trial's training, in this process unless it has several workers; a second one of the same waits."""
    if store.read_card(clips) is None:
        _prepare(config, clips.parent)
    cpus = config.train.cpus_per_worker or 1
    alone = {"workers": 0} if config.train.most < 2 else {}
    config = config.model_copy(update={"train": config.train.model_copy(update={"cpus_per_worker": cpus, **alone})})
    with FileLock(directory / "lock"):  # a killed driver's trials outlive it for some seconds
        distribute.train(config, clips, directory.parent, tracker=_Reports())


def _prepare(config: Config, clips_root: Path) -> None:
    """The clips of a trial's own recipe. TrainError when it leaves too few of them."""
    try:
        prepare.here(config.landmarks_dir, clips_root, config)
    except StoreError as error:
        if prepare.plan(config.landmarks_dir, clips_root, config).units:
            raise  # they could not all be written
        raise TrainError(str(error)) from None
