"""Ray Train: the same training on any number of workers, and through the loss of one."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from made_clips import settings, write

from raysign import config, engine
from raysign.errors import TrainError
from raysign.learn import bundle, distribute, history, reporters
from raysign.learn.history import read_metrics

pytestmark = pytest.mark.usefixtures("cluster")
TOLERANCE = 2e-3  # 1 and 2 workers add the same numbers in another order; the difference grows from step to step


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    # of these no validation clip comes nearer than 0.03 to a tie between two classes in any epoch (others come to
    # 0.002, and fall either way): ten times what the order of sums can do
    return write(tmp_path_factory.mktemp("clips"), train=9, seed=24)


def metrics(made: Path) -> list[dict]:
    return read_metrics(made.parent)


def test_one_and_two_workers_and_none_give_the_same_metrics(clips, tmp_path):
    rows = {}
    for workers in (0, 1, 2):
        config = settings(tmp_path, f"train.workers={workers}", "train.mixup=0.4")
        made = distribute.train(config, clips, tmp_path / f"train{workers}")
        assert bundle.load(made).labels == ["sign0", "sign1", "sign2"]
        rows[workers] = metrics(made)
    for workers in (1, 2):
        assert [row["epoch"] for row in rows[workers]] == [row["epoch"] for row in rows[0]]
        for row, expected in zip(rows[workers], rows[0], strict=True):
            assert row["val/loss"] == pytest.approx(expected["val/loss"], abs=TOLERANCE)
            assert row["train/loss"] == pytest.approx(expected["train/loss"], abs=TOLERANCE)
            assert row["val/top1"] == expected["val/top1"]


def kill_a_worker(directory: Path, killed: list[int]) -> None:
    """SIGKILL a training worker among this process's own descendants, once `directory` has a checkpoint."""
    while not list(directory.glob("*/checkpoints/epoch_*.pt")):
        time.sleep(0.02)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any("RayTrainWorker" in part for part in process.cmdline()):
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)
                return


def test_a_lost_worker_costs_only_the_epochs_since_the_last_checkpoint(clips, tmp_path):
    config = settings(tmp_path, "train.workers=1", "train.epochs=60")
    killed: list[int] = []
    killer = threading.Thread(target=kill_a_worker, args=(tmp_path / "train", killed), daemon=True)
    killer.start()
    made = distribute.train(config, clips, tmp_path / "train")
    killer.join(5)
    assert len(killed) == 1
    unbroken = distribute.train(settings(tmp_path, "train.epochs=60"), clips, tmp_path / "alone")
    assert [row["epoch"] for row in metrics(made)] == list(range(1, 61))
    for row, expected in zip(metrics(made)[:10], metrics(unbroken)[:10], strict=True):
        assert row["val/loss"] == pytest.approx(expected["val/loss"], abs=TOLERANCE)


def test_an_error_meant_for_the_user_comes_back_from_a_worker(clips, tmp_path):
    with pytest.raises(TrainError, match=r"lower train\.lr"):
        distribute.train(settings(tmp_path, "train.workers=1", "train.lr=1e30", "train.clip_norm=0", "train.warmup=0"),
                         clips, tmp_path / "train")  # fmt: skip


def test_more_than_the_cluster_has_is_refused_at_once(clips, tmp_path):
    for override in ("train.workers=64", "train.cpus_per_worker=64"):
        with pytest.raises(TrainError, match="the cluster has"):
            distribute.train(settings(tmp_path, "train.workers=1", override), clips, tmp_path / "train")


def test_a_range_of_workers_shares_out_the_cpus_among_the_most_that_there_is_room_for(tmp_path):
    def shared(workers: str) -> tuple[int, bool]:
        return distribute.resources(settings(tmp_path, f"train.workers={workers}", "train.device=cpu").train)

    assert shared("{min: 1, max: 4}") == (1, False)
    assert shared("{max: 2}") == (1, False)
    assert shared("{max: 1}") == (2, False)
    with pytest.raises(TrainError, match="found 3 workers of 1 CPUs, but the cluster has 2 CPUs"):
        shared("{min: 3, max: 4}")


def test_machines_that_an_autoscaler_may_start_are_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    cluster = {
        "max_workers": 3, "head_node_type": "head",
        "available_node_types": {
            "head": {"resources": {"CPU": 2}, "max_workers": 0},
            "big": {"resources": {"CPU": 8}, "max_workers": 2},
            "small": {"resources": {"CPU": 4}},
        },
    }  # fmt: skip
    (tmp_path / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(cluster))
    for workers, cpus in ((1, 8), (2, 8), (3, 4), (4, 4), (6, 2)):
        told = settings(tmp_path, f"train.workers={workers}", "train.device=cpu").train
        assert distribute.resources(told) == (cpus, False)
    assert engine.cpus(config.Ray(address=None)) == 2 + 8 + 8 + 4  # pyright: ignore[reportCallIssue]


def test_a_run_that_is_over_writes_no_more(clips, tmp_path):
    (tmp_path / "train").mkdir()
    before = history.begin(tmp_path / "train")
    history.begin(tmp_path / "train")
    with pytest.raises(TrainError, match="another run of the same training has taken over"):
        distribute.work(settings(tmp_path), clips, tmp_path / "train", reporters.Local(1), torch.device("cpu"), before)
    assert {path.name for path in (tmp_path / "train").iterdir()} == {"run"}


def test_all_cpus_are_shared_out(tmp_path):
    assert distribute.resources(settings(tmp_path, "train.workers=1", "train.device=cpu").train) == (2, False)
    assert distribute.resources(settings(tmp_path, "train.workers=2", "train.device=cpu").train) == (1, False)
