"""MLflow's server or database: how it is reached, and what is said to it in a run's name."""

import logging
import os
import re
import sqlite3
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from raysign import config

SQLITE = "sqlite:///"


def uri_of(settings: config.Config) -> str:
    """The tracking server or database: as configured, else MLFLOW_TRACKING_URI, else a sqlite file beside `out`."""
    told = settings.mlflow.uri or os.environ.get("MLFLOW_TRACKING_URI")
    return told or f"{SQLITE}{settings.home.parent / 'mlflow.db'}"


def prepare() -> None:
    """MLflow without its chatter, and without its minutes of patience with a server that does not answer."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for name in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="mlflow|alembic|sqlalchemy")


def client_of(uri: str) -> Any:
    """A client whose store is ready for use. Raises whatever its server, database or network raise."""
    from mlflow import MlflowClient

    with _alone(uri):
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Only one process at a time: two that make the same sqlite database destroy it."""
    if not uri.startswith(SQLITE):
        yield
        return
    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        sqlite3.connect(path).close()  # MLflow tries for minutes what cannot be opened
        yield


def experiment_of(client: Any, settings: config.Config) -> str:
    """Id of the project's experiment, made where there is none."""
    from mlflow.exceptions import MlflowException

    uri, name = uri_of(settings), settings.mlflow.experiment or settings.name
    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    beside = Path(uri.removeprefix(SQLITE)).absolute() if uri.startswith(SQLITE) else settings.home
    artifacts = None if uri.startswith("http") else (beside.parent / "mlartifacts" / name).as_uri()
    try:
        return client.create_experiment(name, artifact_location=artifacts)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another training was faster
            raise
    return client.get_experiment_by_name(name).experiment_id


def reason(error: Exception) -> str:
    """What an error of MLflow's says, in a line."""
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    unheard = re.search(r"Max retries exceeded with url: .*Caused by (\w+)", first)
    return f"does not answer ({unheard[1]})" if unheard else first[:300]


def send(client: Any, run_id: str, epochs: Iterable[tuple[int, int, dict[str, float]]]) -> None:
    """Send metrics. epochs: (step, time in ms, metrics)."""
    from mlflow.entities import Metric

    client.log_batch(
        run_id,
        [Metric(name, float(value), at, step) for step, at, metrics in epochs for name, value in metrics.items()],
    )


def tags(tags: dict[str, str]) -> list:
    from mlflow.entities import RunTag

    return [RunTag(name, str(value)[:5000]) for name, value in tags.items()]
