"""Weights of another program, from the command line to figures: imported, scored, used and summed up."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from raysign.cli import main

pytestmark = pytest.mark.usefixtures("cluster")
MODEL = ["model.channels=4", "model.num_blocks=1", "model.width=8"]
DATA = ["source.kind=synthetic", "source.glosses=3", "source.signers=3", "source.takes=2", "ray.cpus=2",
        "split.kind=signer", "split.val_signers=[signer1]", "split.test_signers=[signer2]"]  # fmt: skip


def raysign(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The results of a training."""
    out = tmp_path_factory.mktemp("trained")
    done = raysign("run", *DATA, *MODEL, "train.epochs=2", "train.workers=0", "mlflow.enabled=false", f"out={out}")
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def foreign(trained) -> Path:
    """Its weights alone, as another program would keep them."""
    weights = torch.load(trained / "bundle" / "weights.pt", weights_only=True)
    glosses = json.loads((trained / "bundle" / "labels.json").read_text())["glosses"]
    named = {f"module.{name}": value for name, value in weights.items()}
    torch.save({"epoch": 2, "model_state_dict": named, "label_mapping": dict(enumerate(glosses))}, trained / "a.pt")
    return trained / "a.pt"


def test_a_folder_with_something_in_it_is_left_as_it_is(trained, foreign):
    before = (trained / "bundle" / "card.json").read_bytes()
    done = raysign("import-weights", foreign, *DATA, *MODEL, f"out={trained}", "--out", trained / "bundle")
    assert done.exit_code == 1
    assert "expected a new one" in done.output
    assert (trained / "bundle" / "card.json").read_bytes() == before


def test_imported_weights_score_as_those_they_are(trained, foreign, tmp_path):
    done = raysign("import-weights", foreign, *DATA, *MODEL, f"out={trained}", "--out", tmp_path / "bundle")
    assert done.exit_code == 0, done.output
    assert "labels: 3 glosses" in done.output
    home = [*DATA, *MODEL, f"out={tmp_path}", f"landmarks={trained / 'landmarks'}"]
    scored = raysign("evaluate", *home, f"evaluate.bundle={tmp_path / 'bundle'}", "mlflow.enabled=false")
    assert scored.exit_code == 0, scored.output
    assert not (tmp_path / "train").exists()
    wanted, found = (json.loads((place / "evaluation" / "metrics.json").read_text()) for place in (trained, tmp_path))
    assert all(found[name] == pytest.approx(wanted[name]) for name in ("top1", "macro_f1", "count"))
    assert f"elsewhere: {foreign.name}" in (tmp_path / "evaluation" / "report.html").read_text()
    shard = next((trained / "landmarks").glob("shard-*.parquet"))
    assert raysign("predict", tmp_path / "bundle", shard).exit_code == 0


def test_what_does_not_fit_is_one_line_and_leaves_no_bundle(foreign, tmp_path):
    other = [*MODEL, "model.width=9"]
    done = raysign("import-weights", foreign, *DATA, *other, "--layout", "holistic_75", "--out", tmp_path / "bundle")
    assert done.exit_code == 1
    assert "of another size" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "bundle").exists()


def test_a_network_is_summed_up_without_data():
    done = raysign("models", "summary", *MODEL, "--layout", "holistic_75", "--frames", 8, "--batch", 2, "--glosses", 5)
    assert done.exit_code == 0, done.output
    for word in ("encoder.readout", "parameters:", "GFLOP a clip", "MiB of weights", "clips/s"):
        assert word in done.output
    lost = raysign("models", "summary", *MODEL, "prepare.kind=centered")
    assert lost.exit_code == 1 and "--layout" in lost.stderr
