"""A team's MLflow: a server on PostgreSQL that eight trainings write to at once, and that goes away in the middle."""

import multiprocessing
import time
from pathlib import Path

import pytest
from made_clips import settings, write
from made_servers import Mlflow, postgres, postgres_programs, run_of
from mlflow import MlflowClient

from raysign.learn import distribute, tracking
from raysign.learn.history import read_metrics

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # MLflow's own
    pytest.mark.skipif(postgres_programs() is None, reason="PostgreSQL is not installed"),
]
WRITERS = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with postgres() as database:
        server = Mlflow(database, tmp_path_factory.mktemp("artifacts"))
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("clips"))


def runs(uri: str, experiment: str) -> tuple[MlflowClient, list]:
    client = MlflowClient(uri)
    return client, client.search_runs([client.get_experiment_by_name(experiment).experiment_id])  # pyright: ignore


def assert_told_once(client: MlflowClient, run) -> None:
    """All that is in metrics.csv, and nothing twice."""
    rows = read_metrics(Path(run.data.tags["raysign.directory"]))
    assert {name for name in run.data.metrics if not name.startswith("best/")} == set(rows[0]) - {"epoch"}
    for name in set(rows[0]) - {"epoch"}:
        told = [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]
        assert sorted(told) == [(row["epoch"], row[name]) for row in rows], name


def test_a_server_that_goes_away_in_mid_training_misses_nothing(server, clips, tmp_path, monkeypatch, caplog):
    config = settings(tmp_path, "name=away", "mlflow.enabled=true", f"mlflow.uri={server.uri}", "train.epochs=6")
    told, seen = tracking.Tracker.log, []

    def log(self, epoch, metrics):
        told(self, epoch, metrics)
        seen.append(run_of(self))
        if epoch == 2:
            server.stop()
        if epoch == 5:
            end = time.monotonic() + 60
            while not self.away:
                assert time.monotonic() < end
                time.sleep(0.1)
            server.start()

    monkeypatch.setattr(tracking.Tracker, "log", log)
    distribute.train(config, clips, tmp_path / "train")
    client, (run,) = runs(server.uri, "away")
    assert {run.info.run_id} == set(seen)
    assert run.info.status == "FINISHED"
    assert_told_once(client, run)
    assert len(client.list_artifacts(run.info.run_id, "bundle")) == 4
    assert (caplog.text.count("goes on without it"), caplog.text.count("is back and was told")) == (1, 1)


def train(uri: str, home: Path, clips: Path, seed: int) -> None:
    """A training in a process of its own."""
    small = ("name=team", "mlflow.enabled=true", f"mlflow.uri={uri}", f"seed={seed}", "train.epochs=4")
    distribute.train(settings(home, *small), clips, home / "train")


def test_what_eight_trainings_tell_at_once_arrives_once(server, clips, tmp_path):
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["raysign.learn.distribute", "mlflow"])  # imported once and not eight times
    writers = [processes.Process(target=train, args=(server.uri, tmp_path / str(i), clips, i)) for i in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    client, found = runs(server.uri, "team")
    assert sorted(run.data.params["seed"] for run in found) == [str(i) for i in range(WRITERS)]
    for run in found:
        assert run.info.status == "FINISHED"
        assert_told_once(client, run)
        assert len(client.list_artifacts(run.info.run_id, "bundle")) == 4
