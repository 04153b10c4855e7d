"""An exported network answers as its bundle does, whatever it is of and whoever is asked together."""

import copy
import io
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pyarrow.compute as pc
import pytest
import torch
from click.testing import CliRunner, Result
from made_bundles import CHANNELS, LABELS, SKELETON, settings
from torch import nn

from raysign import schema, store
from raysign.cli import main
from raysign.errors import ExportError, SourceError
from raysign.infer import evaluate as scoring
from raysign.infer import export as exporting
from raysign.infer import parity, registry
from raysign.infer.predictor import Predictor
from raysign.kinds import kind_module, kinds
from raysign.learn import bundle as bundles
from raysign.learn.labels import Labels
from raysign.learn.recogniser import build
from raysign.skeleton import LAYOUTS

X = ("x", "persons", "frames", "points", "channels")
SMALL = {
    "stgcn": ["model.channels=8", "model.num_blocks=1", "model.width=16"],
    "conv_transformer": ["model.dim=16", "model.layers=1"],
    "transformer": ["model.emb_dim=16", "model.n_heads=2"],
    "st_gcn": ["model.widths=[8,16]", "model.motion=true"],
    "st_gcn_pp": ["model.widths=[8,16]"],
    "bilstm": ["model.hidden=8", "model.layers=2"],
}
NAMES = Labels(LABELS, ["one", "two"])
TOLERANCE = 1e-4


def untrained(kind: str, task: str = "classification", skeleton=SKELETON) -> bundles.Bundle:
    """A small recogniser whose normalisation has seen something, so that nothing in it is 0 or 1."""
    torch.manual_seed(0)
    tree = settings(f"model.kind={kind}", f"task.kind={task}", *SMALL.get(kind, []))
    network = build(tree, skeleton, CHANNELS, NAMES)
    for name, value in network.state_dict().items():
        if "running" in name or "bias" in name:
            value.add_(0.1 * torch.rand_like(value))
    return bundles.Bundle(tree, skeleton, NAMES, CHANNELS, network.eval(), {"extractor": "made up"})


class EveryTask(nn.Module):
    """All tasks on one encoder, so that it is exported once; each is given what it is given alone."""

    def __init__(self, width: int):
        super().__init__()
        made = [(kind_module("task", kind), {"kind": kind}) for kind in kinds("task")]
        self.tasks: Any = nn.ModuleList(module.Task(module.Options(**tree), width, NAMES) for module, tree in made)
        self.OUTPUTS = {f"{i}_{name}": "" for i, task in enumerate(self.tasks) for name in task.OUTPUTS}

    def forward(self, h: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
        return [task(h, mask) for task in self.tasks]

    def outputs(self, logits: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return tuple(value for task, found in zip(self.tasks, logits, strict=True) for value in task.outputs(found))


def asked(batch: int, persons: int, frames: int, points: int) -> tuple[torch.Tensor, ...]:
    """Clips of all lengths up to `frames`, some points unseen, and beyond their ends anything."""
    generator = torch.Generator().manual_seed(batch)
    x = torch.randn(batch, persons, frames, points, len(CHANNELS), generator=generator)
    x[:, :, :, ::5] = 0
    lengths, most = (torch.randint(1, top + 1, (batch,), generator=generator) for top in (frames, persons))
    lengths[0], most[0] = frames, persons
    return x, lengths, most


@pytest.mark.parametrize("kind", kinds("model"))
def test_every_model_with_every_task_answers_the_same_in_any_company(kind):
    bundle = untrained(kind, skeleton=LAYOUTS["hands_42"])
    bundle.network.task = EveryTask(bundle.network.encoder.width).eval()
    traced = exporting.trace(bundle)
    answers = {
        "onnx": parity.of_onnx(exporting._onnx(traced, bundle)),
        "pt2": parity.of_pt2(exporting._pt2(traced), exporting._least_frames(traced)),
    }
    for shape in ((1, 1, 1), (2, 1, 30), (5, 3, 2), (1, 2, 13), (4, 1, 3), (2, 2, 8)):
        inputs = asked(*shape, bundle.skeleton.points)
        with torch.inference_mode():
            wanted = exporting.Answering(bundle.network)(*inputs)
            for program, answer in answers.items():
                for name, found, value in zip(bundle.network.task.OUTPUTS, answer(*inputs), wanted, strict=True):
                    frames = value.shape[1]  # of a sentence: torch's padding makes more of them
                    assert torch.allclose(found[:, :frames], value, atol=TOLERANCE), (program, shape, name)


# ---------------------------------------------------------------- one folder, one answer


@pytest.fixture(scope="module")
def landmarks(landmarks_dir) -> list[schema.Landmarks]:
    """Of all clips that can be used, in the order of their rows."""
    tables = [table.filter(pc.field("error").is_null()) for _, table in store.tables(landmarks_dir)]
    return [clip for table in tables for clip in schema.landmarks_of(table)]


def exported(bundle_dir: Path, out: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["export", str(bundle_dir), str(out), "rounds=2", *words])


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # MLflow's own
@pytest.mark.parametrize("task", kinds("task"))
def test_evaluation_registered_model_and_export_tell_what_the_predictor_tells(task, clips_dir, landmarks, tmp_path):
    untrained("stgcn", task).save(tmp_path / "bundle")
    bundle = bundles.load(tmp_path / "bundle")
    clips = [x for _, table in store.tables(clips_dir) for x in schema.arrays(table, *X)]
    wanted = Predictor(bundle).probabilities(clips)

    done = exported(tmp_path / "bundle", tmp_path / "out", f"clips={clips_dir}", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["agreement"]["model.onnx"]["top1"] == 1
    ours = parity.predictor_of(bundle, parity.of_onnx(str(tmp_path / "out" / "model.onnx")))
    np.testing.assert_allclose(ours.probabilities(clips), wanted, atol=TOLERANCE)

    ids = [name for _, table in store.tables(clips_dir, ["id"]) for name in table["id"].to_pylist()]
    for split in ("train", "val", "test"):
        scoring.evaluate(tmp_path / "bundle", clips_dir, split, tmp_path / split)
        told = store.read_table(tmp_path / split / "predictions.parquet")
        rows = [wanted[ids.index(name)] for name in told["id"].to_pylist()]
        np.testing.assert_allclose(np.array(told["probabilities"].to_pylist()), rows, atol=TOLERANCE)

    rows = pd.concat([registry.row_of(clip) for clip in landmarks], ignore_index=True)
    wanted = Predictor(bundle).predict(landmarks)
    for answer, row in zip(asked_of_mlflow(tmp_path / "bundle", rows), wanted, strict=True):
        found = dict(zip(answer["glosses"], answer["probabilities"], strict=True))
        np.testing.assert_allclose([found[label] for label in LABELS], row, atol=TOLERANCE)


def asked_of_mlflow(bundle_dir: Path, rows: pd.DataFrame) -> list[dict]:
    from raysign.infer import pyfunc  # MLflow warns as it is imported

    model, context = pyfunc.Recogniser(), type("Context", (), {"artifacts": {"bundle": str(bundle_dir)}})
    model.load_context(context)
    return model.predict(context, rows, {"top": 0}).to_dict("records")  # pyright: ignore


def test_the_card_knows_the_files_and_what_goes_in_and_comes_out(bundle, bundle_dir, clips_dir, tmp_path):
    done = exported(bundle_dir, tmp_path, f"clips={clips_dir}", "count=5")
    assert done.exit_code == 0, done.output
    assert f"checked on: clips {clips_dir.name}" in done.output
    card = store.read_json(tmp_path / "card.json")
    assert card["sha256"] == {name: store.sha256(tmp_path / name) for name in ("model.onnx", "model.pt2", "labels.txt")}
    assert (tmp_path / "labels.txt").read_text().split() == card["labels"] == LABELS
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model)
    assert [one.name for one in model.graph.input] == list(card["inputs"])
    assert [one.name for one in model.graph.output] == list(card["outputs"])
    axes = [axis.dim_param or axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    assert axes == ["batch", "persons", "frames", bundle.skeleton.points, len(bundle.channels)]
    assert card["clips"] == 5
    assert all(found["difference"] <= TOLERANCE for found in card["agreement"].values())
    exporting._require_own(tmp_path)  # it may be made again


def test_nothing_but_tensors_and_text_is_in_a_pt2_file(bundle):
    with zipfile.ZipFile(io.BytesIO(exporting._pt2(exporting.trace(bundle)))) as archive:
        samples = [name for name in archive.namelist() if name.endswith((".pt", ".pkl"))]
        torch.load(io.BytesIO(archive.read(samples[0])), weights_only=True)  # what was traced with
    assert len(samples) == 1


def test_the_clips_of_its_own_training_are_found_and_those_of_another_are_not(bundle, clips_dir, tmp_path):
    about = {"extractor": "made up", "clips": clips_dir.name}
    replace(bundle, card=about).save(tmp_path / "bundle")
    assert parity.clips_of(bundle, tmp_path / "bundle", None, (), 4)[1] == "a made-up clip"
    shutil.copytree(clips_dir, tmp_path / "clips" / clips_dir.name)
    found, whose = parity.clips_of(bundles.load(tmp_path / "bundle"), tmp_path / "bundle", None, (), 4)
    assert (len(found), whose) == (4, f"clips {clips_dir.name}")


def test_files_are_checked_with_and_those_that_cannot_be_used_are_counted(bundle, bundle_dir, landmarks_dir, tmp_path):
    shard = landmarks_dir / "shard-1.parquet"
    found, whose = parity.clips_of(bundle, bundle_dir, None, [shard, tmp_path / "none.mp4"], 64)
    assert len(found) == len(store.read_table(shard)) - 1
    assert whose == "2 file(s), of which 2 clip(s) could not be used"
    with pytest.raises(SourceError, match="no such file"):
        parity.clips_of(bundle, bundle_dir, None, [tmp_path / "none.mp4"], 64)


def test_what_answers_otherwise_than_the_bundle_is_not_written(bundle_dir, tmp_path, monkeypatch):
    trace = exporting.trace

    def of_other_weights(bundle):
        network = copy.deepcopy(bundle.network)
        with torch.no_grad():
            network.task.head[-1].bias += torch.tensor([0.1, 0.0, 0.0])
        return trace(replace(bundle, network=network))

    monkeypatch.setattr(exporting, "trace", of_other_weights)
    done = exported(bundle_dir, tmp_path / "out")
    assert done.exit_code == 1
    assert "off the bundle's on a made-up clip, expected at most 0.001; nothing was written" in done.output
    assert not (tmp_path / "out").exists()


def test_a_network_that_torch_cannot_export_is_one_line(bundle):
    class Counts(nn.Module):
        width = bundle.network.encoder.width

        def forward(self, x, mask):
            return x.flatten(2)[..., : self.width] * float(mask.sum()), mask

    network = copy.deepcopy(bundle.network)
    network.encoder = Counts()
    with pytest.raises(
        ExportError, match=r"model\.kind=stgcn with task\.kind=classification: torch .* cannot export it"
    ):
        exporting.trace(replace(bundle, network=network))


@pytest.mark.parametrize(("words", "said"), [
    (["cilps=x"], "did you mean 'clips'"), (["count=0"], "count"), (["clips=/nowhere"], "found no clips"),
])  # fmt: skip
def test_what_is_asked_wrongly_is_one_line(bundle_dir, tmp_path, words, said):
    done = exported(bundle_dir, tmp_path / "out", *words)
    assert done.exit_code == 1
    assert said in done.output
    assert done.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(bundle_dir):
    before = {file.name: file.read_bytes() for file in bundle_dir.iterdir()}
    done = exported(bundle_dir, bundle_dir)
    assert done.exit_code == 1
    assert "found config.yaml in it, expected a new folder or an earlier export" in done.output
    assert {file.name: file.read_bytes() for file in bundle_dir.iterdir()} == before
