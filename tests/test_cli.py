"""The command line: help at once, one line and exit code 1 for what a user can mend."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from raysign import __version__
from raysign.cli import main

pytestmark = pytest.mark.usefixtures("cluster")
SMALL = [
    "source.kind=synthetic",
    "source.glosses=3",
    "source.signers=3",
    "source.takes=3",
    "split.kind=signer",
    "train.epochs=3",
    "train.workers=0",
    "split.val_signers=[signer1]",
    "split.test_signers=[signer2]",
]


def raysign(*words: str):
    return CliRunner().invoke(main, [str(word) for word in words])


def refusal(*words) -> str:
    """The one line that a mistake is answered with."""
    result = raysign(*words)
    assert result.exit_code == 1, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    lines = [line for line in result.stderr.splitlines() if line.startswith("raysign: ")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_help_imports_nothing_heavy():
    heavy = "{'ray', 'torch', 'mlflow', 'numpy', 'mediapipe'}"
    code = f"import sys, raysign.cli; print(sorted({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_folder_that_is_called_raysign_is_not_taken_for_the_program(tmp_path):
    (tmp_path / "raysign").mkdir()  # where a clone was made
    command = [sys.executable, "-c", "import raysign; print(raysign.__version__)"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    said = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert said.stdout.strip() == __version__, said.stderr


@pytest.mark.parametrize("verb", main.commands)
def test_every_verb_explains_itself(verb):
    result = raysign(verb, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5


def test_an_empty_folder_is_refused(tmp_path):
    assert str(tmp_path) in refusal("extract", "source.kind=video_folder", f"source.path={tmp_path}")


def test_a_path_that_is_nothing_known_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no video")
    assert "source.kind=KIND" in refusal("run", tmp_path)


def test_the_wrong_verb_for_a_source_names_the_right_one(tmp_path):
    assert "raysign import" in refusal("extract", *SMALL, f"out={tmp_path}")
    assert "raysign extract" in refusal(
        "import", "source.kind=video_folder", f"source.path={tmp_path}", f"out={tmp_path}"
    )


def test_an_empty_folder_is_called_empty_by_a_run(tmp_path):
    (tmp_path / "new").mkdir()
    assert "an empty folder" in refusal("run", tmp_path / "new")


def test_a_typo_is_named_though_something_else_is_missing():
    assert "did you mean 'train'" in refusal("config", "trian.epochs=3")


def test_the_defaults_are_printed_without_a_config():
    result = raysign("config")
    assert result.exit_code == 0
    assert "epochs: 60" in result.output


def test_too_few_clips_to_test_on_are_told_before_the_training(tmp_path):
    few = ("source.kind=synthetic", "source.takes=1", "source.signers=1", "source.glosses=2", "ray.cpus=1")
    said = refusal("run", *few, "train.workers=0", "name=few", f"out={tmp_path}")
    assert "found no clip in 'test', only in train (2)" in said
    assert not list(tmp_path.rglob("weights.pt"))


def test_what_lessens_a_figure_is_said_beside_it(tmp_path):
    import numpy as np

    x = np.random.default_rng(0).random((24, 5, 75 * 3))
    np.savez(tmp_path / "d.npz", x=x, label=np.array(["a", "b"] * 12))
    words = ("source.kind=npz", f"source.path={tmp_path}/d.npz", "source.gloss=label", "ray.cpus=1")
    small = ("model.channels=4", "model.width=8", "train.epochs=1", "train.workers=0", "mlflow.enabled=false")
    result = raysign("run", *words, *small, f"out={tmp_path}/out")
    assert result.exit_code == 0, result.output
    assert "note: No signer is named: the same people may train and be tested on." in result.output


def test_predicting_without_a_bundle_is_refused(tmp_path):
    assert "raysign train" in refusal("predict", tmp_path, tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a small run from made-up signers to a report."""
    out = tmp_path_factory.mktemp("run") / "out"
    result = raysign("run", *SMALL, f"out={out}")
    assert result.exit_code == 0, result.output
    assert "top-1" in result.output
    return out


def test_a_run_leaves_every_stage_with_its_card(finished):
    metrics = json.loads((finished / "evaluation" / "metrics.json").read_text())
    assert {"top1", "top5", "macro_f1", "per_class", "count"} <= metrics.keys()
    assert metrics["count"] == 9
    assert (finished / "evaluation" / "report.html").stat().st_size > 10_000
    for pattern in ("landmarks", "clips/*", "bundle"):
        assert len(list(finished.glob(f"{pattern}/card.json"))) == 1


def test_a_second_run_does_nothing_again(finished):
    def stamps():
        kept = [p for stage in ("landmarks", "clips", "train") for p in (finished / stage).rglob("*")]
        return {p: p.stat().st_mtime_ns for p in kept if p.name.startswith("shard-") or p.suffix == ".pt"}

    before = stamps()
    assert raysign("run", *SMALL, f"out={finished}").exit_code == 0
    assert stamps() == before


def test_an_evaluation_that_must_train_says_so_and_one_that_need_not_does_not(finished, tmp_path, caplog):
    out = shutil.copytree(finished, tmp_path / "out")
    bundle = out / "bundle" / "card.json"
    before = bundle.read_bytes()
    others = ("train.epochs=1", "mlflow.enabled=false")
    for settings, said in ((), False), (others, True), (others, False), ((), False):
        caplog.clear()
        assert raysign("evaluate", *SMALL, f"out={out}", *settings).exit_code == 0
        assert ("found no bundle of these settings" in caplog.text) == said
        assert (bundle.read_bytes() == before) == (not settings)


def test_an_evaluation_of_other_clips_leaves_that_of_test_clips_alone(finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    before = (out / "evaluation" / "metrics.json").read_bytes()
    assert raysign("evaluate", *SMALL, f"out={out}", "evaluate.split=val").exit_code == 0
    assert (out / "evaluation" / "metrics.json").read_bytes() == before
    assert json.loads((out / "evaluation-val" / "metrics.json").read_text())["split"] == "val"


def test_predict_names_the_likeliest_glosses_of_a_landmark_table(finished):
    shard = next((finished / "landmarks").glob("shard-*.parquet"))
    result = raysign("predict", finished / "bundle", shard, "--json", "--top", "2")
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows) > 1
    assert all(len(row["top"]) == 2 and row["top"][0][1] >= row["top"][1][1] for row in rows)


def test_curves_are_of_the_trainings_of_the_settings_a_smoke_test_apart(finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    settings = [*SMALL, f"out={out}", "mlflow.enabled=false", "train.ignore=[" + ", ".join(["encoder"] * 99) + "]"]
    assert "3 of 3 epochs" in raysign("analyze", *settings).output
    assert raysign("train", *SMALL, f"out={out}", "mlflow.enabled=false", "train.smoke=true").exit_code == 0
    smoked = raysign("analyze", *settings, "train.smoke=true")
    assert smoked.exit_code == 0 and "1 of 1 epochs" in smoked.output and "3 of 3" not in smoked.output
    assert str(tmp_path) in refusal("analyze", *settings, "--out", out / "bundle" / "card.json" / "curves.png")


def test_what_trains_on_the_cpu_is_scored_there(finished, tmp_path, monkeypatch):
    out = shutil.copytree(finished, tmp_path / "out")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)  # a GPU that torch here cannot use
    scored = raysign("evaluate", *SMALL, f"out={out}", f"evaluate.bundle={out / 'bundle'}", "train.device=cpu")
    assert scored.exit_code == 0, scored.output


def test_a_number_of_glosses_that_names_none_is_refused(finished):
    result = raysign("predict", finished / "bundle", finished, "--top", "0")
    assert (result.exit_code, "0 is not in the range x>=1" in result.output) == (2, True)


def test_landmarks_are_converted_from_their_directory_and_from_a_config_and_read_back(finished, tmp_path):
    result = raysign("convert", finished / "landmarks", tmp_path / "tree", "to=gesture_parquet")
    assert result.exit_code == 0, result.output
    assert "27 clips" in result.output and "are lost" in result.output
    told = result.stdout.splitlines()[-1].split("raysign import ")[1].split()
    assert raysign("import", *told, f"out={tmp_path}/again").exit_code == 0
    small = [word for word in SMALL if word.startswith("source.")]
    result = raysign("convert", small[0], tmp_path / "one", "to=pyskl_pickle", "to.float32=true", *small[1:],
                     f"out={tmp_path}/made", "extract.workers=1")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert (tmp_path / "one" / "annotations.pkl").stat().st_size > 100_000


def test_a_conversion_that_cannot_be_is_refused(finished, tmp_path):
    landmarks = finished / "landmarks"
    assert "did you mean 'stgcn_npy'" in refusal("convert", landmarks, tmp_path / "out", "to=stgcn_npz")
    assert "expected one of" in refusal("convert", landmarks, tmp_path / "out")
    assert "to.frame: unknown key" in refusal("convert", landmarks, tmp_path / "out", "to=stgcn_npy", "to.frame=9")
    assert "holds landmarks already" in refusal("convert", landmarks, tmp_path / "out", "to=npz", "seed=1")
    assert "holds fsl_78, holistic_543; found holistic_75" in refusal(
        "convert", landmarks, tmp_path / "out", "to=fsl_npz"
    )
    assert "raysign extract" in refusal("convert", next((finished / "clips").iterdir()), tmp_path / "out", "to=npz")
    assert not list(tmp_path.iterdir())


def test_a_gloss_only_in_the_test_split_is_refused_by_name(tmp_path):
    import numpy as np

    labels = np.array(["a", "b"] * 6 + ["lonely"])
    signers = np.array(["s1"] * 12 + ["s2"])
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).random((13, 5, 75 * 3)), label=labels, signer=signers)
    words = [
        "prepare",
        "source.kind=npz",
        f"source.path={tmp_path}/d.npz",
        "source.gloss=label",
        "source.signer=signer",
        "split.kind=signer",
        "split.test_signers=[s2]",
        f"out={tmp_path}/out",
    ]
    assert "lonely" in refusal(*words)
