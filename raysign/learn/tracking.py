"""MLflow's record of a training: one run in the project's experiment, told by the driver alone.

What is to be told lies on disk first (`metrics.csv` of the training's directory), and a thread sends what the run does
not have yet. While the server is away training goes on; what it missed is sent when it answers again, at the latest by
the same command typed again. `mlflow.json` beside the metrics says which run it is and whether it was told all.
"""

import json
import logging
import math
import threading
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from raysign import config, store
from raysign.errors import StoreError
from raysign.learn import mlflow_server
from raysign.learn.history import FILE, read_metrics
from raysign.learn.provenance import environment, flat

log = logging.getLogger(__name__)
NOTE = "mlflow.json"
MOST = 1000  # metrics that MLflow takes at once
PAUSE = 2.0  # seconds between two tries while the server is away
PATIENCE = 60.0  # seconds that the end of a training waits for the server


class Tracker:
    """The MLflow run of one training or search; does nothing when `mlflow.enabled` is off.

    No method waits for the server but `wait` and `finish`, for a while; none raises.
    """

    told: float = math.inf  # epochs that need no telling: what `metrics.csv` lists is sent without

    def __init__(self, settings: config.Config, directory: Path, tags: dict[str, str], parent: Path | None = None):
        """Begin the run of `directory`, or go on with it. parent: the directory whose run it is shown below."""
        self.settings, self.directory, self.uri = settings, Path(directory), mlflow_server.uri_of(settings)
        self.tags, self.parent = {**environment(), **tags}, parent
        self.note = note_of(self.directory, self.uri) or {"uri": self.uri, "ticket": uuid.uuid4().hex, "began": _now()}
        self.given: dict[int, tuple[int, dict[str, float]]] = {}
        self.last: tuple[str, Path | None, dict[str, float]] = ("", None, {})
        self.client: Any = None
        self.sent, self.kept, self.away = 0, False, False
        # something is to be told; the training has ended; nobody waits for the thread any more
        self.wake, self.closing, self.left = (threading.Event() for _ in range(3))
        self.thread: threading.Thread | None = None
        if settings.mlflow.enabled:
            self._note(finished=False)
            mlflow_server.prepare()
            self.wake.set()
            self.thread = threading.Thread(target=self._run, name="raysign-mlflow", daemon=True)
            self.thread.start()

    def log(self, epoch: int, metrics: dict[str, float]) -> None:
        """An epoch has ended. Its metrics are those of `metrics.csv`, or these where that does not list it."""
        self.given[epoch] = (_now(), metrics)
        self.wake.set()

    def finish(self, status: str, bundle: Path | None = None, best: dict[str, float] | None = None) -> None:
        """Close the run as FINISHED, FAILED or KILLED, with the bundle as an artifact and the best epoch's metrics."""
        self.end(status, bundle, best)
        self.wait()

    def end(self, status: str, bundle: Path | None = None, best: dict[str, float] | None = None) -> None:
        """`finish` that waits for nothing; `wait` is to follow."""
        self.last = (status, bundle, best or {})
        self.closing.set()
        self.wake.set()

    def wait(self, until: float = math.inf) -> None:
        """Give the server a while to hear of the end, no longer than `until`, by the clock time.monotonic()."""
        if not self.thread:
            return
        status = self.last[0]
        patience = 5.0 if self.away and status != "FINISHED" else PATIENCE
        self.thread.join(min(patience, max(0.0, until - time.monotonic())))
        self.left.set()
        if status == "FINISHED" and not self.note["finished"]:
            log.warning(
                "mlflow.uri %s: was not told all of %s; the same command tells the rest", self.uri, self.directory
            )

    # ---------------------------------------------------------------- in the thread

    def _run(self) -> None:
        closing = False
        while not closing:
            self.wake.wait()
            self.wake.clear()
            closing = self.closing.is_set()
            self._try()
            if self.away:
                self.closing.wait(PAUSE)

    def _try(self) -> None:
        """Tell all that is to be told. What fails is told again next time: nothing counts double, see `_connect`."""
        try:
            self._tell()
        except Exception as error:  # any of a server's, database's or network's own errors
            self.client = None
            if not self.away:
                what = "training goes on without it, and what it misses is sent when it is back"
                log.warning("mlflow.uri %s: %s; %s", self.uri, mlflow_server.reason(error), what)
            self.away = True
            return
        if self.away:
            log.warning("mlflow.uri %s: is back and was told what it missed", self.uri)
        self.away = False

    def _tell(self) -> None:
        closing, (status, bundle, best) = self.closing.is_set(), self.last
        client = self.client or self._connect()
        clock, placed = self._metrics(client), self._placed(client)
        if not self.kept:
            client.log_text(self.note["run_id"], self.settings.to_yaml(), "config.yaml")
            self.kept = True
        if closing:
            figures = {f"best/{name}": value for name, value in best.items()}
            mlflow_server.send(client, self.note["run_id"], [(0, clock, figures)])
            if bundle is not None:
                client.log_artifacts(self.note["run_id"], str(bundle), "bundle")
            client.set_terminated(self.note["run_id"], status, _ended(self.directory))
            self._note(finished=status == "FINISHED" and placed)
        self.client = client

    def _placed(self, client: Any) -> bool:
        """Whether the run is below its parent's, which may have begun later when the server was away."""
        if self.parent and (parent := note_of(self.parent, self.uri).get("run_id")):
            client.set_tag(self.note["run_id"], "mlflow.parentRunId", parent)
            self.parent = None
        return self.parent is None

    def _metrics(self, client: Any) -> int:
        """Send the epochs that the run does not have; returns the time of the last one.

        An epoch's time is that of the training's beginning and the seconds it has trained since: the same whenever it
        is told, so that MLflow takes an epoch that comes twice for one.
        """
        clock, epochs = self.note["began"], []
        for row in read_metrics(self.directory):
            clock += round(1000 * row.get("seconds", 0))
            epochs.append((int(row["epoch"]), clock, {name: row[name] for name in row if name != "epoch"}))
        listed = {epoch for epoch, *_ in epochs}
        epochs += [(epoch, *given) for epoch, given in sorted(self.given.items()) if epoch not in listed]
        left = [epoch for epoch in epochs if epoch[0] > self.sent]
        together = MOST // max([1, *(len(metrics) for *_, metrics in left)])
        for first in range(0, len(left), together):
            mlflow_server.send(client, self.note["run_id"], left[first : first + together])
            self.sent = left[: first + together][-1][0]
        return clock

    def _connect(self) -> Any:
        """A client of a server that has the run, with what a run begins with, and `sent` as the server has it."""
        client = mlflow_server.client_of(self.uri)
        if self.left.is_set():
            raise TimeoutError("the server answered too late")
        experiment = mlflow_server.experiment_of(client, self.settings)
        run = self._known(client, experiment) or client.create_run(
            experiment, self.note["began"], {"raysign.ticket": self.note["ticket"]}, self._name()
        )  # fmt: skip
        run_id = run.info.run_id
        if "run_id" not in self.note:
            self._begin(client, run_id)
        client.log_batch(run_id, tags=mlflow_server.tags(self.tags))
        client.update_run(run_id, status="RUNNING")
        history = client.get_metric_history(run_id, "train/loss")
        self.sent = max((metric.step for metric in history), default=0)
        return client

    def _known(self, client: Any, experiment: str) -> Any:
        """The run this training began in, when the store still has it. It is searched for by its ticket where a kill
        or a lost answer left its id unknown.
        """
        from mlflow.exceptions import MlflowException

        if "run_id" not in self.note:
            ticket = f"tags.`raysign.ticket` = '{self.note['ticket']}'"
            return next(iter(client.search_runs([experiment], ticket)), None)
        try:
            run = client.get_run(self.note["run_id"])
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            run = None
        if run is None or run.info.lifecycle_stage != "active":  # deleted, or another store at the same place
            self.note = {**self.note, "ticket": uuid.uuid4().hex}
            del self.note["run_id"]
            return None
        return run

    def _begin(self, client: Any, run_id: str) -> None:
        """A run's parameters, which cannot be changed later, and the data it is of."""
        from mlflow.entities import Dataset, DatasetInput, Param

        settings = flat(self.settings.model_dump(mode="json"))
        params = [Param(name, value[:6000]) for name, value in settings.items()]
        for first in range(0, len(params), 100):
            client.log_batch(run_id, params=params[first : first + 100])
        if key := self.tags.get("raysign.clips"):
            source = json.dumps({"landmarks": self.tags.get("raysign.landmarks")})
            client.log_inputs(run_id, [DatasetInput(Dataset("clips", key[:36], "raysign", source))])
        self.note["run_id"] = run_id
        self._note(finished=False)

    def _name(self) -> str:
        return f"{self.settings.name}-{self.directory.name[:8]}"

    def _note(self, finished: bool) -> None:
        self.note["finished"] = finished
        store.write_json(self.directory / NOTE, self.note)


def note_of(directory: Path, uri: str | None = None) -> dict:
    """What is known of the run of a directory: uri, run_id, ticket, began, finished. Empty when there is none, or none
    at the store `uri`.
    """
    try:
        note = store.read_json(directory / NOTE)
    except StoreError:
        return {}
    whole = isinstance(note, dict) and {"uri", "ticket", "began", "finished"} <= set(note)
    return note if whole and uri in (None, note["uri"]) else {}


def wait(trackers: Iterable[Tracker]) -> None:
    """Wait for the server to hear of the ends of many, no longer than for one."""
    until = time.monotonic() + PATIENCE
    for tracker in trackers:
        tracker.wait(until)


def owes(settings: config.Config, directory: Path) -> bool:
    """Whether a training that has ended was not told to MLflow to its end, for the server was away."""
    return settings.mlflow.enabled and note_of(directory).get("finished") is False


def evaluated(settings: config.Config, training: Path, split: str, figures: dict, files: Iterable[Path]) -> None:
    """Tell the run of a training what its bundle was found to be worth: numbers as metrics, files as artifacts.

    Trouble is told and raises nothing. A figure that the run has already is not told again.
    """
    uri = mlflow_server.uri_of(settings)
    run_id = note_of(training, uri).get("run_id")
    if not run_id:
        log.warning("mlflow.uri %s: has no run of %s; the evaluation is not recorded", uri, training)
        return
    kind = split if split == "test" else f"evaluation/{split}"  # train/ and val/ are those of training, by epoch
    numbers = {f"{kind}/{name}": float(value) for name, value in figures.items() if isinstance(value, int | float)}
    try:
        mlflow_server.prepare()
        client = mlflow_server.client_of(uri)
        known = client.get_run(run_id).data.metrics
        fresh = {name: value for name, value in numbers.items() if known.get(name) != value}
        mlflow_server.send(client, run_id, [(0, _now(), fresh)])
        for file in files:
            client.log_artifact(run_id, str(file), config.of_split("evaluation", split))
    except Exception as error:
        log.warning("mlflow.uri %s: %s; the same command records the evaluation", uri, mlflow_server.reason(error))


def _now() -> int:
    return round(time.time() * 1000)


def _ended(directory: Path) -> int:
    """When the last epoch ended, in ms; now where there are no epochs."""
    path = directory / FILE
    return round(path.stat().st_mtime * 1000) if path.exists() else _now()
