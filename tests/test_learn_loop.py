"""The training loop: it learns, goes on after a kill as if nothing had been, and says what is wrong."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from made_clips import TRAININGS, settings, write

from raysign import store
from raysign.errors import BundleError, ConfigError, RaysignError, StoreError, TrainError
from raysign.learn import bundle, checkpoint, distribute
from raysign.learn.history import read_metrics
from raysign.learn.labels import Labels
from raysign.learn.tasks import classification

CPU = torch.device("cpu")
TIMED = {"clips_per_second", "seconds"}


class Silent:
    """A reporter that ends the training after some epoch, as a kill would."""

    def __init__(self, last: int = 0):
        self.last = last

    def report(self, metrics, saved):  # noqa: ARG002 - the protocol
        if metrics["epoch"] == self.last:
            raise KeyboardInterrupt


def fit(config, clips: Path, directory: Path, last: int = 0) -> list[dict]:
    """Train in this process; the metrics of each epoch, without times."""
    directory.mkdir(exist_ok=True)
    try:
        distribute.work(config, clips, directory, Silent(last), CPU)
    except KeyboardInterrupt:
        assert last
    return [{k: v for k, v in row.items() if k not in TIMED} for row in read_metrics(directory)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("clips"))


def test_a_training_learns(clips, tmp_path):
    rows = fit(settings(tmp_path, "train.epochs=25", "train.lr=0.01"), clips, tmp_path / "t")
    assert [row["epoch"] for row in rows] == list(range(1, 26))
    assert rows[-1]["val/top1"] > 0.8
    assert rows[-1]["train/loss"] < rows[0]["train/loss"]


def test_mixed_clips_are_learnt_from_and_change_the_training(clips, tmp_path):
    rows = fit(settings(tmp_path, "train.epochs=25", "train.lr=0.01", "train.mixup=0.2"), clips, tmp_path / "t")
    assert rows[-1]["val/top1"] > 0.8
    plain = fit(settings(tmp_path, "train.epochs=25", "train.lr=0.01"), clips, tmp_path / "plain", last=1)
    assert rows[0]["train/loss"] != plain[0]["train/loss"]


def test_the_same_seed_gives_the_same_metrics_and_another_one_others(clips, tmp_path):
    first, second = (fit(settings(tmp_path), clips, tmp_path / name) for name in "ab")
    assert first == second
    assert fit(settings(tmp_path, "seed=1"), clips, tmp_path / "c") != first


@pytest.mark.parametrize(("kind", "killed_after"), [("plain", 1), ("plain", 4), ("sgd", 3), ("plateau", 3)])
def test_killed_and_resumed_gives_the_metrics_of_an_unbroken_run(clips, tmp_path, kind, killed_after):
    config = settings(tmp_path, *TRAININGS[kind])
    unbroken = fit(config, clips, tmp_path / "a")
    assert len(fit(config, clips, tmp_path / "b", last=killed_after)) == killed_after < len(unbroken)
    assert fit(config, clips, tmp_path / "b") == unbroken
    one, other = (checkpoint.newest(tmp_path / name) for name in "ab")
    assert one and other and one["ended"] == other["ended"] != ""
    for name, value in one["best"]["weights"].items():
        assert torch.equal(value, other["best"]["weights"][name])


def test_a_torn_checkpoint_costs_only_the_epochs_since_the_one_before(clips, tmp_path):
    unbroken = fit(settings(tmp_path), clips, tmp_path / "a")
    fit(settings(tmp_path), clips, tmp_path / "b", last=5)
    newest = checkpoint.saved(tmp_path / "b")[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    assert checkpoint.newest(tmp_path / "b")["epoch"] == 2  # pyright: ignore[reportOptionalSubscript]
    assert fit(settings(tmp_path), clips, tmp_path / "b") == unbroken


def test_clips_that_do_not_fit_are_streamed_and_learnt_from(clips, tmp_path):
    small = ("train.memory_gb=1e-6", "train.epochs=25", "train.lr=0.01")
    rows = fit(settings(tmp_path, *small), clips, tmp_path / "t")
    assert rows[-1]["val/top1"] > 0.8


def test_without_validation_clips_the_last_epoch_is_kept(tmp_path):
    clips = write(tmp_path / "clips", val=0)
    rows = fit(settings(tmp_path, "train.epochs=3"), clips, tmp_path / "t")
    state = checkpoint.newest(tmp_path / "t")
    assert state and state["best"]["epoch"] == 3
    assert not any(name.startswith("val/") for name in rows[-1])


def test_the_best_epoch_is_the_one_its_metric_names(clips, tmp_path):
    rows = fit(settings(tmp_path, "train.best=val/loss"), clips, tmp_path / "t")
    state = checkpoint.newest(tmp_path / "t")
    assert state and state["best"]["epoch"] == min(rows, key=lambda row: row["val/loss"])["epoch"]


def test_a_loss_that_is_no_number_ends_the_training_with_advice(clips, tmp_path):
    with pytest.raises(TrainError, match=r"lower train\.lr"):
        fit(settings(tmp_path, "train.lr=1e30", "train.clip_norm=0", "train.warmup=0"), clips, tmp_path / "t")


def test_an_unknown_best_metric_is_answered_with_the_nearest(clips, tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'val/loss'"):
        fit(settings(tmp_path, "train.best=val/los"), clips, tmp_path / "t")


def test_half_precision_on_a_cpu_is_refused(clips, tmp_path):
    with pytest.raises(ConfigError, match=r"train\.amp"):
        fit(settings(tmp_path, "train.amp=fp16"), clips, tmp_path / "t")


def test_bfloat16_trains_on_a_cpu(clips, tmp_path):
    rows = fit(settings(tmp_path, "train.amp=bf16", "train.epochs=2"), clips, tmp_path / "t")
    assert all(np.isfinite(value) for value in rows[-1].values())


# ---------------------------------------------------------------- from clips to a bundle, in this process


def test_a_bundle_gives_the_logits_of_its_best_epoch_and_is_not_trained_twice(clips, tmp_path):
    config = settings(tmp_path)
    made = distribute.train(config, clips, tmp_path / "train")
    loaded = bundle.load(made)
    assert loaded.labels == ["sign0", "sign1", "sign2"]
    assert loaded.config == config
    assert loaded.skeleton.points == 59
    assert loaded.card["metrics"]["val/top1"] >= 0
    state = checkpoint.newest(made.parent)
    assert state and all(torch.equal(v, state["best"]["weights"][k]) for k, v in loaded.network.state_dict().items())
    written = store.stamp(made / "weights.pt")
    assert distribute.train(settings(tmp_path, "train.checkpoint_every=3"), clips, tmp_path / "train") == made
    assert store.stamp(made / "weights.pt") == written
    assert distribute.train(settings(tmp_path, "train.restart=true"), clips, tmp_path / "train") == made
    assert store.stamp(made / "weights.pt") != written


@pytest.mark.parametrize(
    "change", ["train.lr=0.002", "augment.noise=0", "model.width=8", "seed=5", "task.dropout=0", "train.memory_gb=1"]
)
def test_what_changes_the_result_changes_the_training(tmp_path, change):
    assert distribute.key_of(settings(tmp_path), "k") != distribute.key_of(settings(tmp_path, change), "k")


@pytest.mark.parametrize("change", ["train.workers=4", "train.compile=true", "evaluate.split=val", "name=other"])
def test_what_does_not_change_the_result_finds_the_training_again(tmp_path, change):
    assert distribute.key_of(settings(tmp_path), "k") == distribute.key_of(settings(tmp_path, change), "k")


@pytest.mark.parametrize("name", ["weights.pt", "labels.json", "config.yaml", "card.json"])
@pytest.mark.parametrize("harm", ["torn", "missing"])
def test_a_bundle_that_is_not_whole_is_refused(clips, tmp_path, name, harm):
    made = distribute.train(settings(tmp_path, "train.epochs=1"), clips, tmp_path / "train")
    (made / name).write_bytes((made / name).read_bytes()[:10]) if harm == "torn" else (made / name).unlink()
    with pytest.raises(BundleError, match="bundle"):
        bundle.load(made)


def test_a_pickle_in_a_bundle_is_not_run(clips, tmp_path):
    made = distribute.train(settings(tmp_path, "train.epochs=1"), clips, tmp_path / "train")
    torch.save({"code": subprocess.run}, made / "weights.pt")
    card = store.read_json(made / "card.json")
    card["sha256"]["weights.pt"] = store.sha256(made / "weights.pt")
    store.write_json(made / "card.json", card)
    with pytest.raises(BundleError):
        bundle.load(made)


def test_clips_that_were_never_finished_are_refused(tmp_path):
    with pytest.raises(StoreError, match="raysign prepare"):
        distribute.train(settings(tmp_path), tmp_path, tmp_path / "train")


def test_a_single_gloss_is_refused(tmp_path):
    with pytest.raises(TrainError, match="expected 2 or more"):
        distribute.train(settings(tmp_path), write(tmp_path / "clips", glosses=1), tmp_path / "train")


def test_a_training_that_its_task_refuses_is_refused_each_time(tmp_path):
    clips = write(tmp_path / "clips")
    for path in store.shards(clips):  # sentences of a gloss a frame, of which the model makes one of two
        table = store.read_table(path)
        words = [[f"sign{i % 3}" for i in range(frames)] for frames in table["frames"].to_pylist()]
        place = table.column_names.index("gloss")
        store.write_table(path, table.set_column(place, table.schema.field(place), pa.array(words)))
    config = settings(tmp_path, "task.kind=ctc", "train.epochs=1")
    for _ in range(2):
        with pytest.raises(TrainError, match="fewer frames than their glosses need"):
            distribute.train(config, clips, tmp_path / "train")


def test_a_gloss_without_training_clips_is_named():
    with pytest.raises(TrainError, match="'tea' has no training clip"):
        classification.targets(pa.table({"gloss": [["tea"]]}), Labels(["water"]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_an_answer_not_a_crash(clips, tmp_path):
    with pytest.raises(RaysignError, match=r"train\.device=auto"):
        distribute.train(settings(tmp_path, "train.device=cuda"), clips, tmp_path / "train")


SCRIPT = """
import sys; from pathlib import Path; from made_clips import settings; from raysign.learn import distribute
distribute.train(settings(Path(sys.argv[1]), "train.epochs=12"), Path(sys.argv[2]), Path(sys.argv[1]) / "train")
"""


def test_a_training_whose_process_is_killed_goes_on_where_it_was(clips, tmp_path):
    unbroken = fit(settings(tmp_path, "train.epochs=12"), clips, tmp_path / "a")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(clips)]
    process = subprocess.Popen(command, cwd=Path(__file__).parent, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("train/*/checkpoints/epoch_00004.pt")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    made = distribute.train(settings(tmp_path, "train.epochs=12"), clips, tmp_path / "train")
    rows = [{k: v for k, v in row.items() if k not in TIMED} for row in read_metrics(made.parent)]
    assert json.dumps(rows[:4]) == json.dumps(unbroken[:4])  # before and after the kill the same, up to threads' order
    assert [row["train/loss"] for row in rows] == pytest.approx([row["train/loss"] for row in unbroken], rel=1e-4)
