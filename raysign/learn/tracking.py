"""The one door to MLflow. Only the driver comes through it, so that a fresh database is never created by two at once.

The run's id lies beside the training (`mlflow.json`), and a training that goes on goes on in the same run. Trouble with
MLflow is told once and never stops a training.
"""

import functools
import logging
import math
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raysign import __version__, config, store
from raysign.errors import StoreError

log = logging.getLogger(__name__)
NOTE = "mlflow.json"


def uri_of(settings: config.Config) -> str:
    """The tracking server or database: as configured, else a sqlite file beside the folder of results."""
    return settings.mlflow.uri or f"sqlite:///{settings.home.parent / 'mlflow.db'}"


def _survives(method: Callable) -> Callable:
    """An MLflow call whose failure is told once and switches tracking off."""

    @functools.wraps(method)
    def call(self: "Tracker", *arguments: Any) -> None:
        if self.client is None and method.__name__ != "_start":
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                method(self, *arguments)
        except Exception as error:  # any of a server's, database's or network's own errors
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            log.warning("mlflow.uri %s: %s; training goes on without it", self.uri, first)
            self.client = None

    return call


class Tracker:
    """The MLflow run of one training; does nothing when `mlflow.enabled` is off."""

    def __init__(self, settings: config.Config, directory: Path, tags: dict[str, str], parent: str = ""):
        """Create the store, the experiment and the run, or find the run of `directory` again.

        parent: id of the run it is shown below.
        """
        self.settings, self.directory, self.uri = settings, directory, uri_of(settings)
        self.client: Any = None
        self.run_id, self.told = "", math.inf  # epochs that need no telling
        if settings.mlflow.enabled:
            self._start({**tags, **({"mlflow.parentRunId": parent} if parent else {})})

    @_survives
    def _start(self, tags: dict[str, str]) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param, RunTag

        quiet()
        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        all_tags = [RunTag(name, value) for name, value in {**environment(), **tags}.items()]
        client = MlflowClient(self.uri)
        self.told = 0
        known = self._known(client)
        self.run_id = known or self._created(client)
        # a run's parameters cannot be changed; those of a training that goes on differ in what does not matter to it
        params = (
            []
            if known
            else [Param(name, value[:6000]) for name, value in flat(self.settings.model_dump(mode="json")).items()]
        )
        client.update_run(self.run_id, status="RUNNING")
        for first in range(0, len(params), 100):
            client.log_batch(self.run_id, params=params[first : first + 100])
        client.log_batch(self.run_id, tags=all_tags)
        store.write_json(self.directory / NOTE, {"uri": self.uri, "run_id": self.run_id})
        self.client = client

    def _known(self, client: Any) -> str:
        """The run this training began in, when the store still has it; `told` becomes its last epoch."""
        try:
            note = store.read_json(self.directory / NOTE)
        except StoreError:
            return ""
        if note.get("uri") != self.uri:
            return ""
        try:
            run = client.get_run(note["run_id"])
        except Exception:  # deleted, or of another store at the same place: a new run then
            return ""
        if run.info.lifecycle_stage != "active":
            return ""
        history = client.get_metric_history(run.info.run_id, "train/loss")
        self.told = max((metric.step for metric in history), default=0)
        return run.info.run_id

    def _created(self, client: Any) -> str:
        name = self.settings.mlflow.experiment or self.settings.name
        found = client.get_experiment_by_name(name)
        artifacts = self.settings.home.parent / "mlartifacts" / name
        local = artifacts.as_uri() if self.uri.startswith("sqlite:") else None
        experiment = found.experiment_id if found else client.create_experiment(name, artifact_location=local)
        return client.create_run(experiment, run_name=f"{self.settings.name}-{self.directory.name[:8]}").info.run_id

    @_survives
    def log(self, epoch: int, metrics: dict[str, float]) -> None:
        """The metrics of an epoch, once each."""
        from mlflow.entities import Metric

        if epoch <= self.told:
            return
        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, metrics=[Metric(name, value, now, epoch) for name, value in metrics.items()])
        self.told = epoch

    @_survives
    def artifact(self, path: Path) -> None:
        """Keep a file with the run."""
        self.client.log_artifact(self.run_id, str(path))

    @_survives
    def finish(self, status: str, bundle: Path | None = None, best: dict[str, float] | None = None) -> None:
        """Close the run as FINISHED, FAILED or KILLED, with the bundle as an artifact and the best epoch's metrics."""
        for name, value in (best or {}).items():
            self.client.log_metric(self.run_id, f"best/{name}", value)
        if bundle is not None:
            self.client.log_artifacts(self.run_id, str(bundle), "bundle")
        self.client.set_terminated(self.run_id, status)


def flat(tree: dict, prefix: str = "") -> dict[str, str]:
    """A tree of settings as dotted names and text: the same names that override settings on the command line."""
    found = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = str(value)
    return found


def environment() -> dict[str, str]:
    """Versions and, when the working directory is a git checkout, the commit."""
    import platform

    import torch

    found = {"raysign.version": __version__, "torch": torch.__version__, "python": platform.python_version()}
    try:
        git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:  # there is no git
        return found
    return found | ({"git.commit": git.stdout.strip()} if git.returncode == 0 else {})


def quiet() -> None:
    """MLflow and its database migrations without their chatter."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
