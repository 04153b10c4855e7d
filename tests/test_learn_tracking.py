"""MLflow: what is recorded, that a training which goes on stays one run, and that trouble stops nothing."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_clips import settings, write
from made_servers import run_of
from mlflow import MlflowClient

from raysign import store
from raysign.learn import bundle, distribute, mlflow_server, provenance, search, tracking
from raysign.learn.job import place_of
from raysign.learn.study import Study

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own


class Killed(BaseException):
    """Ends a training as a kill would."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("clips"))


def runs(config) -> list:
    client = MlflowClient(mlflow_server.uri_of(config))
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
    client = MlflowClient(mlflow_server.uri_of(config))
    assert run.info.status == "FINISHED"
    assert run.data.params["train.lr"] == "0.001"
    assert run.data.tags["raysign.clips"] == store.read_json(clips / "card.json")["key"]
    known = {"raysign.version", "torch", "ray", "python", "platform", "cpus", "raysign.training", "raysign.recipe"}
    assert known <= set(run.data.tags)
    assert [data.dataset.digest for data in run.inputs.dataset_inputs] == [run.data.tags["raysign.clips"]]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"bundle", "config.yaml"}
    assert [m.step for m in client.get_metric_history(run.info.run_id, "train/loss")] == [1, 2, 3, 4]
    copy = client.download_artifacts(run.info.run_id, "bundle", str(tmp_path))
    assert bundle.load(Path(copy)).labels == bundle.load(made).labels


def test_a_store_that_cannot_be_reached_does_not_stop_a_training(clips, tmp_path, caplog):
    config = settings(tmp_path, "mlflow.enabled=true", "train.epochs=1", "mlflow.uri=sqlite:////proc/none/mlflow.db")
    assert bundle.load(distribute.train(config, clips, tmp_path / "train")).labels
    assert caplog.text.count("training goes on without it") == 1


def test_what_a_store_missed_is_told_by_the_same_command(clips, tmp_path, caplog):
    config = settings(tmp_path, "mlflow.enabled=true", "train.epochs=3")
    place = tmp_path / "runs" / "mlflow.db"
    place.mkdir(parents=True)  # no database can be there
    made = distribute.train(config, clips, tmp_path / "train")
    assert "same command tells the rest" in caplog.text
    written = (made / "card.json").stat().st_mtime_ns
    place.rmdir()
    for _ in range(2):
        assert distribute.train(config, clips, tmp_path / "train") == made
    (run,) = runs(config)
    client = MlflowClient(mlflow_server.uri_of(config))
    assert run.info.status == "FINISHED"
    assert [m.step for m in client.get_metric_history(run.info.run_id, "val/loss")] == [1, 2, 3]
    assert len(client.get_metric_history(run.info.run_id, "best/val/top1")) == 1
    assert len(client.list_artifacts(run.info.run_id, "bundle")) == 4
    assert (made / "card.json").stat().st_mtime_ns == written


def test_a_lost_answer_makes_no_second_run_and_tells_no_epoch_twice(clips, tmp_path):
    config = settings(tmp_path, "mlflow.enabled=true", "train.epochs=3")
    made = distribute.train(config, clips, tmp_path / "train")
    note = store.read_json(made.parent / tracking.NOTE)
    store.write_json(made.parent / tracking.NOTE, {name: note[name] for name in ("uri", "ticket", "began", "finished")})
    tracker = tracking.Tracker(config, made.parent, {})  # as if it never heard that its run was made
    assert run_of(tracker) == note["run_id"]
    tracker.sent = 0  # nor that its metrics were taken
    tracker.finish("FINISHED")
    (run,) = runs(config)
    for name in ("train/loss", "seconds"):
        history = MlflowClient(mlflow_server.uri_of(config)).get_metric_history(run.info.run_id, name)
        assert [m.step for m in history] == [1, 2, 3]


def test_trials_are_shown_below_their_search(tmp_path):
    config = settings(tmp_path, "mlflow.enabled=true")
    place = tmp_path / "search"
    early = tracking.Tracker(config, tmp_path / "early", {}, parent=place)  # than the search's own run
    early.finish("FINISHED")
    assert tracking.owes(config, early.directory)
    search = tracking.Tracker(config, place, {"raysign.search": "made"})
    search.log(1, {"best": 0.5})
    search.finish("FINISHED")
    late = tracking.Tracker(config, tmp_path / "late", {}, parent=place)
    again = tracking.Tracker(config, early.directory, {}, parent=place)
    for trial in (late, again):
        trial.finish("FINISHED")
        assert not tracking.owes(config, trial.directory)
    found = {run.info.run_id: run for run in runs(config)}
    whole = search.note["run_id"]
    assert found.keys() == {whole, late.note["run_id"], early.note["run_id"]}
    assert [found[trial.note["run_id"]].data.tags["mlflow.parentRunId"] for trial in (late, again)] == [whole] * 2
    assert found[whole].data.metrics == {"best": 0.5}


def test_the_end_of_a_run_waits_for_no_server_until_it_is_asked_to(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes what is sent and never answers
        config = settings(tmp_path, "mlflow.enabled=true", f"mlflow.uri=http://127.0.0.1:{silent.getsockname()[1]}")
        tracker = tracking.Tracker(config, tmp_path / "training", {})
        tracker.end("FINISHED")
        assert tracker.thread and tracker.thread.is_alive()
        tracker.wait(until=time.monotonic())
        assert tracker.thread.is_alive()
    tracker.thread.join()
    assert tracking.owes(config, tmp_path / "training")


def test_of_a_search_that_is_over_the_same_command_tells_what_a_store_missed(clips, tmp_path):
    config = settings(tmp_path, "mlflow.enabled=true", "tune.trials=1", "train.epochs=1")
    database, place = tmp_path / "runs" / "mlflow.db", place_of(config, clips)
    database.mkdir(parents=True)  # no database can be there
    study = Study(config, lambda _: clips, place, print)
    trial, seeded = study.next(), study.job(0, config.seed + 1)
    assert trial
    for job in (trial, seeded):
        distribute.train(job.config, clips, config.answers / "train")
    study.done(0)
    assert study.over
    database.rmdir()
    for _ in range(2):
        search.seeded(search.run(config, clips), [0], seeds=1)
    whole, *below = (tracking.note_of(path)["run_id"] for path in (place, trial.directory, seeded.directory))
    found = {run.info.run_id: run for run in runs(config)}
    assert found.keys() == {whole, *below}
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    client = MlflowClient(mlflow_server.uri_of(config))
    assert [len(client.list_artifacts(run, "bundle")) for run in (whole, *below)] == [4, 0, 0]
    for run, tag in zip(below, ({"raysign.trial": "0"}, {"raysign.seed": "1"}), strict=True):
        tags = found[run].data.tags
        of_all = {"mlflow.parentRunId": whole, "raysign.clips": store.read_json(clips / "card.json")["key"]}
        assert tags.items() >= {**of_all, **tag}.items()
        assert len(tags.keys() & {"raysign.trial", "raysign.seed"}) == 1
        assert [data.dataset.digest for data in found[run].inputs.dataset_inputs] == [tags["raysign.clips"]]


def test_an_evaluation_is_told_to_the_run_of_its_training_once(clips, tmp_path):
    config = settings(tmp_path, "mlflow.enabled=true", "train.epochs=1")
    training = distribute.train(config, clips, tmp_path / "train").parent
    (tmp_path / "metrics.json").write_text("{}")
    for split, top1 in (("test", 0.5), ("test", 0.5), ("test", 0.25), ("val", 1)):
        figures = {"top1": top1, "split": split, "per_class": {"a": {"f1": 1}}, "warnings": []}
        tracking.evaluated(config, training, split, figures, [tmp_path / "metrics.json"])
    (run,) = runs(config)
    client = MlflowClient(mlflow_server.uri_of(config))
    assert [m.value for m in client.get_metric_history(run.info.run_id, "test/top1")] == [0.5, 0.25]
    assert run.data.metrics["evaluation/val/top1"] == 1
    assert [m.step for m in client.get_metric_history(run.info.run_id, "val/top1")] == [1]
    assert run.info.status == "FINISHED"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} > {"evaluation", "evaluation-val"}


FIRST = (
    "from raysign.learn import mlflow_server as t; import sys; t.client_of(sys.argv[1]).create_experiment(sys.argv[2])"
)


def test_processes_that_make_the_same_database_at_once_do_not_destroy_it(tmp_path):
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    all_at_once = [subprocess.Popen([sys.executable, "-c", FIRST, uri, f"{i}"]) for i in range(4)]
    assert [process.wait() for process in all_at_once] == [0] * 4
    assert {found.name for found in MlflowClient(uri).search_experiments()} == {"Default", "0", "1", "2", "3"}


def test_without_git_all_but_the_commit_is_recorded(clips, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    config = settings(tmp_path, "mlflow.enabled=true", "train.epochs=1")
    distribute.train(config, clips, tmp_path / "train")
    (run,) = runs(config)
    assert run.info.status == "FINISHED"
    assert "train/loss" in run.data.metrics
    assert "raysign.version" in run.data.tags and "git.commit" not in run.data.tags


def test_dotted_names_of_params_are_those_of_overrides():
    assert provenance.flat({"train": {"lr": 0.1}, "name": "a"}) == {"train.lr": "0.1", "name": "a"}
