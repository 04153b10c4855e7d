"""A search on a cluster: ended early, diverged, killed, gone on with; and what it leaves behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from click.testing import CliRunner
from made_clips import settings, write

from raysign import config, pipeline, store
from raysign.cli import main
from raysign.errors import StoreError, TrainError
from raysign.learn import bundle, distribute, search, trials

SMALL = [
    "source.kind=synthetic", "source.glosses=3", "source.signers=3", "source.takes=2", "split.val_signers=[signer1]",
    "split.test_signers=[signer2]", "model={kind: bilstm, hidden: 8}", "train.epochs=4", "train.checkpoint_every=1",
    "train.repeat=10",  # else a good learning rate is no better than none at the first rung
    "train.lr=0.01", "train.best=val/loss", "tune.trials=5", "tune.grace=2", "tune.reduction=2", "tune.search=grid",
    "tune.space={train.lr: [1e-9, 1e30], prepare.scale: [none, shoulders]}", "ray.cpus=2", "mlflow.enabled=false",
]  # fmt: skip


COMMAND = [sys.executable, "-c", "from raysign.cli import main; main()", "tune", *SMALL]


def bundles(home: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in home.glob("train/*/bundle/card.json")}


def environments() -> list[dict[str, str]]:
    """Of the processes of trials on this process's cluster."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::ImplicitFunc"):
                found.append(process.environ())
    return found


@pytest.fixture(scope="module")
def told(cluster, tmp_path_factory) -> dict:  # noqa: ARG001 - it is joined
    """Of a search whose driver was killed when a trial had finished, and that the same command went on with."""
    import ray

    home = tmp_path_factory.mktemp("search") / "out"
    address = ray.get_runtime_context().gcs_address
    environment = {**os.environ, "RAY_ADDRESS": address, "RAY_AUTH_MODE": "token"}
    process = subprocess.Popen([*COMMAND, f"out={home}"], env=environment, start_new_session=True)
    deadline = time.time() + 300
    seen: list[dict[str, str]] = []
    while not bundles(home) and process.poll() is None and time.time() < deadline:
        seen = seen or environments()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    kept = bundles(home)
    assert kept, "no trial was finished before"
    done = CliRunner().invoke(main, ["tune", *SMALL, f"out={home}", "--resume"])
    assert done.exit_code == 0, done.output
    return {"home": home, "kept": kept, "seen": seen, "out": done.stdout, "err": done.stderr}


@pytest.fixture(scope="module")
def home(told) -> Path:
    return told["home"]


def test_after_a_kill_no_finished_trial_is_redone(home, told):
    assert told["kept"].items() <= bundles(home).items()
    ended = [line.split()[1] for line in told["err"].splitlines() if line.startswith("trial ")]
    assert len(ended) == len(set(ended))


def test_trials_of_a_search_that_prepared_its_clips_first_keep_their_memory(told):
    assert told["seen"]
    assert all(environment.items() >= trials.ENVIRONMENT.items() for environment in told["seen"])


def test_a_diverging_trial_is_recorded_a_bad_one_ends_early_and_the_best_is_named(home, told):
    lines = [line for line in told["out"].splitlines() if line]
    assert "2 failed" in told["out"]
    assert any(word in told["out"] for word in ("2 stopped early", "1 stopped early"))
    assert lines[0].split()[:2] == ["trial", "val/loss"]
    page = (home / "search" / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 2
    assert "is nan; lower train.lr" in page
    assert "http" not in page.replace("http-equiv", "")


def test_clips_of_each_recipe_are_prepared_once(home):
    cards = [store.read_json(path) for path in home.glob("clips/*/card.json")]
    assert sorted(card["config"]["prepare"]["scale"] for card in cards) == ["none", "shoulders"]


def test_the_best_settings_are_trained_at_once_and_are_the_published_bundle(home):
    before, best = bundles(home), str(home / "search" / "best.yaml")
    done = CliRunner().invoke(main, ["train", best])
    assert done.exit_code == 0, done.output
    assert bundles(home) == before
    settings = config.load([best])
    published = bundle.load(home / "bundle").config.train
    assert published.model_dump(exclude=distribute.FREE) == settings.train.model_dump(exclude=distribute.FREE)
    figures = pipeline.evaluate(settings)
    assert figures["training"] == bundle.load(home / "bundle").card["training"]
    assert bundles(home) == before


def test_a_finished_search_ends_at_once_and_one_that_never_began_cannot_be_resumed(home, tmp_path):
    words = [*SMALL, f"out={home}"]
    before = bundles(home)
    done = CliRunner().invoke(main, ["tune", *words, "--resume"])
    assert done.exit_code == 0, done.output
    assert bundles(home) == before
    failed = CliRunner().invoke(main, ["tune", *words, "tune.reduction=4", "--resume"])
    assert failed.exit_code == 1
    assert "--resume: found no search" in failed.output
    failed = CliRunner().invoke(main, ["tune", *SMALL, f"out={tmp_path}", "--resume"])
    assert failed.exit_code == 1
    assert "--resume: found no search" in failed.output
    failed = CliRunner().invoke(main, ["tune", *SMALL, f"out={tmp_path}", "tune.space.train.lrr=[1]"])
    assert failed.exit_code == 1
    assert "did you mean 'lr'" in failed.output
    assert not list(tmp_path.iterdir())


def test_trouble_with_the_place_ends_the_search_and_fails_no_trial(cluster, tmp_path):  # noqa: ARG001 - it is joined
    clips = write(tmp_path / "clips")
    told = settings(tmp_path, "train.epochs=1", "tune.trials=1")
    shard = clips / "shard-0.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(b"")
    with pytest.raises(StoreError, match="the same command goes on where it stopped"):
        search.run(told, clips)
    shard.write_bytes(whole)
    assert search.run(told, clips).best().number == 0


def test_machines_that_an_autoscaler_may_start_have_room_for_trials(cluster, tmp_path, monkeypatch):  # noqa: ARG001
    big = settings(tmp_path, "train.cpus_per_worker=4", "train.device=cpu")
    with pytest.raises(TrainError, match="the cluster has"):
        trials.room(big)
    monkeypatch.setenv("HOME", str(tmp_path))
    kinds = {"head": {"resources": {"CPU": 2}, "max_workers": 0}, "big": {"resources": {"CPU": 8}, "max_workers": 3}}
    machines = {"max_workers": 3, "head_node_type": "head", "available_node_types": kinds}
    (tmp_path / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(machines))
    assert trials.room(big) == (6, {"CPU": 4})


def test_one_process_at_a_time_is_at_a_search(tmp_path):
    for _ in range(2):
        with search.alone(tmp_path), pytest.raises(TrainError, match="is at work here"), search.alone(tmp_path):
            pass


def test_a_trial_of_two_workers_is_a_training_of_two_workers(cluster, tmp_path):  # noqa: ARG001 - it is joined
    clips = write(tmp_path / "clips")
    told = settings(tmp_path, "train.epochs=1", "train.workers=2", "train.cpus_per_worker=1", "tune.trials=1")
    trial = search.run(told, clips).best()
    assert trial.directory
    assert bundle.load(trial.directory / "bundle").config.train.workers == 2  # 0 of one that needs no others
