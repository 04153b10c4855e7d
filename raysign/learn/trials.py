"""Trainings on a cluster, many at a time: the one door to Ray Tune, which runs what it is given and reports to it.

A trial is the ordinary training loop in a process that it has for itself, or, with several workers, a Ray Train run of
its own. Its training lies where `raysign train` of the same settings looks for it. A trial that raises an error is
over; one whose process dies is run again, from its training's checkpoint. Trouble with the place that all of them write
to ends the search, and is no trial's. No state of Ray Tune's own is ever used again.
"""

import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock
from ray import tune
from ray.tune import Callback
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from raysign import engine, remote, store
from raysign.clips import prepare
from raysign.config import Config, load
from raysign.errors import RaysignError, StoreError, TrainError
from raysign.learn import distribute, tracking
from raysign.learn.job import Job
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
    """What Ray Tune is to run: a study, or a list of trainings. `say` is told a line on each."""

    say: Callable[[str], None]

    def next(self) -> Job | None:
        """One to run; None when all have been handed out."""

    def report(self, number: int, epoch: int, metrics: dict[str, float]) -> bool:
        """An epoch has ended. True when the training is to end early."""
        ...

    def done(self, number: int) -> None:
        """Its process is at its end."""

    def failed(self, number: int, error: str) -> None:
        """It cannot be trained."""


def carried_out(config: Config, place: Path, trials: Trials, most: int, record: Callable[[Job], Tracker]) -> None:
    """Run trials, at most so many, as many at a time as fit, until there are no more.

    config: says what the cluster and a trial's share of it are. place: a folder to work in. record: begins MLflow's run
    of one. TrainError when the cluster has no room for one, StoreError for trouble that is no trial's own: those under
    way are left as they are.
    """
    os.environ.update(QUIET)
    logging.getLogger("ray.tune.execution.tune_controller").setLevel(logging.CRITICAL)  # a traceback for each loss
    engine.connect(config.ray, dashboard=True, environment=ENVIRONMENT)
    slots, each = room(config)
    # loading torch takes longer than many a training on a CPU; on a GPU an error can spoil its process for the next one
    again = each.keys() == {"CPU"}
    driver = _Driver(trials, record)
    store.remove_tree(place / "ray")  # of a driver that was killed
    files, storage = remote.where(place / "ray") or (None, str(place / "ray"))
    tuner = tune.Tuner(
        tune.with_resources(_trial, each),
        tune_config=tune.TuneConfig(
            search_alg=driver, num_samples=most, max_concurrent_trials=min(slots, config.tune.concurrent or slots),
            trial_dirname_creator=lambda trial: trial.trial_id, reuse_actors=again,
        ),
        run_config=tune.RunConfig(
            name=uuid.uuid4().hex, storage_path=storage, storage_filesystem=files, stop=driver, verbose=0,
            failure_config=tune.FailureConfig(max_failures=config.train.max_failures), callbacks=[_Losses(driver)],
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
                status, best = "FINISHED", job.best()
        tracker.end(status, None, best)
        self.ended.append(tracker)

    def lost(self, trial_id: str) -> None:
        """Its process died, and another one takes it up."""
        self.trials.say(f"trial {self.jobs[trial_id][0].number}: its process died; it goes on from its last checkpoint")

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


class _Losses(Callback):
    """Ray Tune tells a searcher of no trial that is to be run again."""

    def __init__(self, driver: _Driver):
        self.driver = driver

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:  # noqa: ARG002
        self.driver.lost(trial.trial_id)


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
