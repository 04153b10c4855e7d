"""A search as it stands: which trials there were, what they came to, which one is next. The one door to Optuna.

All of it is `study.journal`, lines of JSON, each written before the next thing happens: a search whose driver was
killed goes on from there, and its unfinished trials from their trainings' own checkpoints. Runs nothing.
"""

import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import TrialState

from raysign import store
from raysign.clips.batch import seed_of
from raysign.config import Config
from raysign.errors import ClipError, ConfigError, TrainError
from raysign.kinds import kind_module
from raysign.learn import best, space
from raysign.learn.history import read_metrics
from raysign.learn.job import Job, Trial, directory_of

NAME = "raysign"
STATES = {
    TrialState.COMPLETE: "finished", TrialState.PRUNED: "stopped", TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}  # fmt: skip
optuna.logging.set_verbosity(optuna.logging.ERROR)


class Study:
    """The trials of one search. `say` is told a line on each one that ends."""

    def __init__(self, config: Config, clips_of: Callable[[Config], Path], place: Path, say: Callable[[str], None]):
        """Begin a search in the folder `place`, or go on with the one there.

        clips_of: the directory of the clips of a config, whether they are there yet or not.
        """
        self.config, self.clips_of, self.place, self.say = config, clips_of, place, say
        self.space, self.metric = space.checked(config), config.train.best
        self.sign = best.sign(kind_module("task", config.task.kind).Task, self.metric)
        self.points = _points(self.space, config) if config.tune.search == "grid" else None
        self.held = space.held(self.space, config.model_dump(mode="json"))
        self.study = _opened(place / "study.journal", self.sign, _pruner(config))
        running = [trial for trial in self.study.get_trials() if trial.state == TrialState.RUNNING]
        self.left = [trial.number for trial in running]  # by a driver that was killed
        self.live: dict[int, tuple[optuna.Trial, Job]] = {}
        self.most = min(config.tune.trials, len(self.points) + 1) if self.points else config.tune.trials
        self.began, self.ended = time.monotonic(), 0
        self.twins: dict[int, list[optuna.Trial]] = {}  # number -> trials of the same settings that wait for it

    @property
    def over(self) -> bool:
        """Whether every trial has ended."""
        return not self.left and len(self.study.get_trials(deepcopy=False)) >= self.most

    # ------------------------------------------------------------ what is next

    def next(self) -> Job | None:
        """A trial to run; None when all have been handed out. Those that need no run are told at once.

        StoreError and OSError for trouble with the place, which is no trial's own: it stays to be run.
        """
        while (trial := self._asked()) is not None:
            try:
                job = self._job(trial)
            except (ConfigError, TrainError, ClipError) as error:  # each of its settings can be, but not together
                self._fail(trial, str(error))
                continue
            if job:
                self.live[trial.number] = trial, job
                return job
        return None

    def _asked(self) -> optuna.Trial | None:
        number = self.left.pop(0) if self.left else len(self.study.get_trials(deepcopy=False))
        known = number < len(self.study.get_trials(deepcopy=False))
        if not known and number >= self.most:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Optuna calls experimental
            self.study.sampler = self._sampler(number)
            return optuna.Trial(self.study, _id(self.study, number)) if known else self.study.ask()

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Anew for each trial: what a trial draws is the same whether the search was killed before or not."""
        seed = seed_of(self.config.seed, 7, number) % 2**32
        if self.points is not None:
            point = self.points[number - 1] if number else {}
            return optuna.samplers.PartialFixedSampler(point, optuna.samplers.RandomSampler(seed))
        if self.config.tune.search == "random":
            return optuna.samplers.RandomSampler(seed)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=8)

    def _job(self, trial: optuna.Trial) -> Job | None:
        if trial.number:
            space.sample(self.space, trial)
        job = self.job(trial.number)
        trial.set_user_attr("training", job.directory.name)
        if (first := self._first_of(job.directory.name)) < trial.number:
            trial.set_user_attr("same_as", first)
            if first in self.live:
                self.twins.setdefault(first, []).append(trial)
            else:
                self._copy(first, trial)
            return None
        if job.finished:  # by a driver that was killed before it knew, or by another one
            self._finished(trial, job.directory)
            return None
        return job

    def _first_of(self, key: str) -> int:
        trials = self.study.get_trials(deepcopy=False)
        return next(trial.number for trial in trials if trial.user_attrs.get("training") == key)

    # ------------------------------------------------------------ what trials tell

    def report(self, number: int, epoch: int, metrics: dict[str, float]) -> bool:
        """Note the best value so far at an epoch's end; True when the trial is to end early. The first never is."""
        trial, job = self.live[number]
        self._note(trial, epoch, metrics)
        if epoch >= job.config.train.epochs or not trial.should_prune() or number == 0:
            return False
        self._end(trial, TrialState.PRUNED, f"stopped after epoch {epoch}")
        return True

    def _note(self, trial: optuna.Trial, epoch: int, metrics: dict[str, float]) -> None:
        before = _frozen(self.study, trial.number).intermediate_values
        if self.metric in metrics and epoch not in before:  # an epoch may be trained again after a loss
            trial.report(
                self.sign * max(self.sign * value for value in (metrics[self.metric], *before.values())), epoch
            )

    def done(self, number: int) -> None:
        """The trial's process is at its end: its training is finished, or it failed without a word."""
        if number not in self.live:  # was told of already
            return
        trial, job = self.live[number]
        if job.finished:
            self._finished(trial, job.directory)
        else:
            self._fail(trial, "its process died")

    def failed(self, number: int, error: str) -> None:
        """The trial cannot be trained."""
        if number in self.live:
            self._fail(self.live[number][0], error)

    def _finished(self, trial: optuna.Trial, directory: Path) -> None:
        metrics = store.read_json(directory / "bundle" / "card.json")["metrics"]
        if self.metric not in metrics:
            self._fail(trial, f"no {self.metric}: its clips have none to validate on")
            return
        for row in read_metrics(directory):
            self._note(trial, row["epoch"], row)
        self._end(trial, TrialState.COMPLETE, "", metrics[self.metric])

    def _fail(self, trial: optuna.Trial, error: str) -> None:
        trial.set_user_attr("error", error)
        self._end(trial, TrialState.FAIL, f"failed: {error}")

    def _end(self, trial: optuna.Trial, state: TrialState, how: str, value: float | None = None) -> None:
        self.study.tell(trial.number, value, state=state)
        self.live.pop(trial.number, None)
        self.say(self._line(trial.number, how))
        for twin in self.twins.pop(trial.number, []):
            self._copy(trial.number, twin)

    def _copy(self, number: int, twin: optuna.Trial) -> None:
        """End a trial as the one of the same settings ended."""
        first = _frozen(self.study, number)
        for epoch, value in first.intermediate_values.items():
            if epoch not in _frozen(self.study, twin.number).intermediate_values:
                twin.report(value, epoch)
        if error := first.user_attrs.get("error"):
            twin.set_user_attr("error", error)
        value = first.value if first.state == TrialState.COMPLETE else None
        self._end(twin, first.state, f"the same as trial {number}", value)

    def _line(self, number: int, how: str) -> str:
        trial = self._trial(_frozen(self.study, number))
        value = f"{self.metric} {trial.value:.4f}" if trial.value is not None else ""
        leader = next(iter(self.ranked()), None)
        leads = f"best {leader.value:.4f} (trial {leader.number})" if leader else ""
        params = " ".join(f"{name}={_short(value)}" for name, value in trial.params.items())
        params = params if number else "(the config as it is)"
        ended = sum(trial.state.is_finished() for trial in self.study.get_trials(deepcopy=False))
        self.ended += 1
        left = (time.monotonic() - self.began) / self.ended * (self.most - ended)
        so_far = f"{ended}/{self.most}, {left:.0f} s left"
        return "  ".join(filter(None, [f"trial {number}", value, how, leads, so_far, params]))

    # ------------------------------------------------------------ what there is

    def trials(self) -> list[Trial]:
        """All of them, by number."""
        return [self._trial(trial) for trial in self.study.get_trials(deepcopy=False)]

    def _trial(self, frozen: optuna.trial.FrozenTrial) -> Trial:
        key = frozen.user_attrs.get("training")
        directory = self.config.answers / "train" / key if key else None
        params = frozen.params if frozen.number else self.held
        return Trial(
            frozen.number, STATES.get(frozen.state, "running"), frozen.value, params, directory,
            frozen.user_attrs.get("error", ""), frozen.user_attrs.get("same_as"),
        )  # fmt: skip

    def ranked(self) -> list[Trial]:
        """The finished ones, the best first; of equals the first."""
        finished = [trial for trial in self.trials() if trial.state == "finished"]
        return sorted(finished, key=lambda trial: (-self.sign * (trial.value or 0.0), trial.number))

    def best(self) -> Trial:
        """The best of the finished ones. TrainError when none finished."""
        if not (ranked := self.ranked()):
            errors = [trial.error for trial in self.trials() if trial.error]
            raise TrainError(f"{self.place}: no trial finished; the first failed with: {errors[0] if errors else '?'}")
        return ranked[0]

    def job(self, number: int, seed: int | None = None) -> Job:
        """The training of a trial, or what it would be with another seed on the same clips."""
        overrides = space.sample(self.space, _frozen(self.study, number)) if number else {}
        config = space.applied(self.config, overrides)
        clips = self.clips_of(config)
        if seed is not None:
            config = config.model_copy(update={"seed": seed})
        return Job(number, config, clips, directory_of(config, clips))


# ---------------------------------------------------------------- Optuna


def _opened(path: Path, sign: int, pruner: optuna.pruners.BasePruner) -> optuna.Study:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)  # a killed driver's; the search has a lock of its own
    if path.exists():  # a line that was being written when the power went
        text = path.read_bytes()
        if not text.endswith(b"\n"):
            store.write_bytes(path, text[: text.rfind(b"\n") + 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage = JournalStorage(JournalFileBackend(str(path)))
        direction = "maximize" if sign > 0 else "minimize"
        return optuna.create_study(
            storage=storage, pruner=pruner, study_name=NAME, direction=direction, load_if_exists=True
        )


def _pruner(config: Config) -> optuna.pruners.BasePruner:
    tune = config.tune
    if tune.scheduler == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=tune.grace, reduction_factor=tune.reduction)
    if tune.scheduler == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=tune.grace)
    return optuna.pruners.NopPruner()


def _points(tree: dict, config: Config) -> list[dict]:
    """The grid's points in an order that follows from the seed: of a grid too large for the trials, a fair part."""
    points = space.grid(tree)
    random.Random(config.seed).shuffle(points)
    return points


def _id(study: optuna.Study, number: int) -> int:
    return _frozen(study, number)._trial_id


def _frozen(study: optuna.Study, number: int) -> optuna.trial.FrozenTrial:
    return study.get_trials(deepcopy=False)[number]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
