"""Trials of a search on a cluster: the one door to Ray Tune, which runs what `study` asks for and reports to it.

A trial is the ordinary training loop in a process of its own, or, with several workers, a Ray Train run of its own. Its
training lies where `raysign train` of the same settings looks for it. A trial that raises an error is over; one whose
process dies is run again, from its training's checkpoint. No state of Ray Tune's own is ever used again.
"""

import json
import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import ray
from filelock import FileLock, Timeout
from ray import tune
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from raysign import engine, remote, store
from raysign.clips import prepare
from raysign.config import Config, load
from raysign.errors import ConfigError, RaysignError, TrainError
from raysign.learn import distribute
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


def run(config: Config, clips: Path, resume: bool = False, say: Callable[[str], None] = print) -> Study:
    """The config's search, on these clips or on what other recipes make of their landmarks, to its end.

    say: is told a line on each trial. resume: ConfigError when no search has begun. Raises ConfigError for a space that
    cannot be, TrainError when the cluster holds no trial or another process is at the same search.
    """
    _check(config, clips)
    place = place_of(config, clips)
    if resume and not is_begun(place):
        raise ConfigError(f"--resume: found no search of these settings in {place.parent}; leave it out to begin one")
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise TrainError(f"{place}: another process is at this search; wait for it or end it") from None
    with lock:
        if config.tune.restart:
            (place / "study.journal").unlink(missing_ok=True)
        study = Study(config, _clips_of(config, clips), place, say)
        if begun := sum(trial.state != "running" for trial in study.trials()):
            say(f"{begun} of {study.most} trials are done" + "; the search goes on" * (not study.over))
        if study.over:
            study.best()  # there must be one
            return study
        parent = Tracker(config, place, {"raysign.search": place.name})
        status = "KILLED"
        try:
            carried_out(config, study, study.most, place, parent.run_id)
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
    listed = _Listed(jobs, say)
    if todo := sum(not job.finished for job in jobs):
        carried_out(study.config, listed, todo, study.place)
    if listed.errors:
        raise TrainError(listed.errors[0])
    return [told[i : i + seeds] for i in range(0, len(told), seeds)]


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


def carried_out(config: Config, trials: Trials, most: int, place: Path, parent: str = "") -> None:
    """Run trials, at most so many, as many at a time as fit, until there are no more.

    parent: MLflow's run that theirs are shown below. TrainError when the cluster has no room for one.
    """
    os.environ.update(QUIET)
    engine.connect(config.ray, dashboard=True, environment=ENVIRONMENT)
    slots, each = room(config)
    driver = _Driver(trials, parent)
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


def room(config: Config) -> tuple[int, dict[str, float]]:
    """(Trials that the cluster holds at a time, what Ray Tune is to reserve for each).

    A trial has `train.cpus_per_worker` CPUs, by default one, and a GPU where there are any: more trials at once are
    faster than more threads. Of a trial with several workers Ray Train reserves what they need, Ray Tune nothing.
    """
    train, nodes = config.train, [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpu = train.device != "cpu" and any(node.get("GPU", 0) >= 1 for node in nodes)
    cpus, workers = train.cpus_per_worker or 1, max(1, train.most)
    fit = sum(min(node.get("CPU", 0) // cpus, node.get("GPU", 0) if gpu else node.get("CPU", 0)) for node in nodes)
    if fit < workers:
        wanted = f"{workers} x {cpus} CPUs" + " and as many GPUs" * gpu
        raise TrainError(f"a trial wants {wanted}, but the cluster has no room; lower train.workers or cpus_per_worker")
    if workers > 1:
        return int(fit // workers), {"CPU": 0, "memory": 1}
    return int(fit), {"CPU": cpus, **({"GPU": 1} if gpu else {})}


class _Driver(Searcher, Stopper):
    """Between Ray Tune and the trials, in the driver's process."""

    def __init__(self, trials: Trials, parent: str):
        super().__init__()
        self.trials, self.parent = trials, parent
        self.jobs: dict[str, tuple[Job, Tracker]] = {}  # under way, by Ray Tune's name of the trial
        self.stopped: set[str] = set()

    def suggest(self, trial_id: str) -> Any:
        job = self.trials.next()
        if job is None:
            return Searcher.FINISHED
        job.directory.mkdir(parents=True, exist_ok=True)
        tags = {"raysign.trial": str(job.number), "raysign.training": job.directory.name}
        self.jobs[trial_id] = job, Tracker(job.config, job.directory, tags, parent=self.parent)
        return {"config": json.dumps(job.config.model_dump(mode="json")), "clips": str(job.clips),
                "directory": str(job.directory)}  # fmt: skip

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        job, tracker = self.jobs[trial_id]
        if "error" in result:
            self.trials.failed(job.number, result["error"])
        if "epoch" not in result or result.get("done"):
            return False
        tracker.log(result["epoch"], result["metrics"])
        stop = self.trials.report(job.number, result["epoch"], result["metrics"])
        if stop:
            self.stopped.add(trial_id)
        return stop

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:  # noqa: ARG002
        job, tracker = self.jobs.pop(trial_id)
        self.trials.done(job.number)
        if job.finished:
            tracker.finish("FINISHED", None, store.read_json(job.directory / "bundle" / "card.json")["metrics"])
        else:
            tracker.finish("KILLED" if trial_id in self.stopped else "FAILED")

    def close(self) -> None:
        """End the runs of trials that are left off."""
        for _, tracker in self.jobs.values():
            tracker.finish("KILLED")

    def stop_all(self) -> bool:
        return False

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
    """Prepare the clips if it is the first of their recipe, and train. An error is reported: again it would come."""
    try:
        train(load(base=json.loads(told["config"])), Path(told["clips"]), Path(told["directory"]))
        tune.report({"ended": True})  # of a training that was there already nothing else is
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        plain = isinstance(error, RaysignError)
        tune.report({"error": text.splitlines()[0] if plain else f"{type(error).__name__}: {text.splitlines()[-1]}"})


def train(config: Config, clips: Path, directory: Path) -> None:
    """One trial's training, in this process unless it has several workers; a second one of the same waits."""
    if store.read_card(clips) is None:
        prepare.here(config.landmarks_dir, clips.parent, config)
    cpus = config.train.cpus_per_worker or 1
    alone = {"workers": 0} if config.train.most < 2 else {}
    config = config.model_copy(update={"train": config.train.model_copy(update={"cpus_per_worker": cpus, **alone})})
    with FileLock(directory / "lock"):  # a killed driver's trials outlive it for some seconds
        distribute.train(config, clips, directory.parent, tracker=_Reports())
