"""MLflow: what is recorded, that a training which goes on stays one run, and that trouble stops nothing."""

from pathlib import Path

import pytest
from made_clips import settings, write
from mlflow import MlflowClient

from raysign import store
from raysign.learn import bundle, distribute, tracking

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own


class Killed(BaseException):
    """Ends a training as a kill would."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("clips"))


def runs(config) -> list:
    client = MlflowClient(tracking.uri_of(config))
    return client.search_runs([client.get_experiment_by_name(config.name).experiment_id])  # pyright: ignore


def test_a_training_is_one_run_with_params_metrics_tags_and_bundle(clips, tmp_path, monkeypatch):
    config = settings(tmp_path, "mlflow.enabled=true", "train.epochs=4", "train.checkpoint_every=1")
    told = tracking.Tracker.log

    def stop(self, epoch, metrics):
        told(self, epoch, metrics)
        if epoch == 2:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(tracking.Tracker, "log", stop)
        distribute.train(config, clips, tmp_path / "train")
    assert [run.info.status for run in runs(config)] == ["KILLED"]

    # the settings that may change between the two halves of a training do not part it from its run
    config = settings(tmp_path, "mlflow.enabled=true", "train.epochs=4", "train.checkpoint_every=2")
    made = distribute.train(config, clips, tmp_path / "train")
    (run,) = runs(config)
    client = MlflowClient(tracking.uri_of(config))
    assert run.info.status == "FINISHED"
    assert run.data.params["train.lr"] == "0.001"
    assert run.data.tags["raysign.clips"] == store.read_json(clips / "card.json")["key"]
    assert {"raysign.version", "torch", "raysign.training"} <= set(run.data.tags)
    assert [m.step for m in client.get_metric_history(run.info.run_id, "train/loss")] == [1, 2, 3, 4]
    copy = client.download_artifacts(run.info.run_id, "bundle", str(tmp_path))
    assert bundle.load(Path(copy)).labels == bundle.load(made).labels


def test_a_store_that_cannot_be_reached_does_not_stop_a_training(clips, tmp_path, caplog):
    config = settings(tmp_path, "mlflow.enabled=true", "train.epochs=1", "mlflow.uri=sqlite:////proc/none/mlflow.db")
    assert bundle.load(distribute.train(config, clips, tmp_path / "train")).labels
    assert caplog.text.count("training goes on without it") == 1


def test_without_git_all_but_the_commit_is_recorded(clips, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    config = settings(tmp_path, "mlflow.enabled=true", "train.epochs=1")
    distribute.train(config, clips, tmp_path / "train")
    (run,) = runs(config)
    assert run.info.status == "FINISHED"
    assert "train/loss" in run.data.metrics
    assert "raysign.version" in run.data.tags and "git.commit" not in run.data.tags


def test_dotted_names_of_params_are_those_of_overrides():
    assert tracking.flat({"train": {"lr": 0.1}, "name": "a"}) == {"train.lr": "0.1", "name": "a"}
