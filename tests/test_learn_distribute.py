"""Ray Train: the same training on any number of workers, and through the loss of one."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from made_clips import settings, write

from raysign.errors import TrainError
from raysign.learn import bundle, distribute
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


def test_all_cpus_are_shared_out(tmp_path):
    assert distribute.resources(settings(tmp_path, "train.workers=1", "train.device=cpu").train) == (2, False)
    assert distribute.resources(settings(tmp_path, "train.workers=2", "train.device=cpu").train) == (1, False)
