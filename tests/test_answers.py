"""The verbs robustness and ensemble, typed as a user does, on landmarks and clips that are there: no cluster starts."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_bundles import settings

from raysign import config, pipeline, schema, store
from raysign.cli import main
from raysign.clips import prepare
from raysign.infer import robustness
from raysign.learn import members
from raysign.sources import synthetic

SMALL = ("prepare.kind=centered", "prepare.layout=top_body_59", "prepare.frames=uniform", "prepare.max_frames=16",
         "split.val_signers=[signer1]", "split.test_signers=[signer2]", "train.epochs=1", "train.workers=0",
         "mlflow.enabled=false", "ensemble.members=[{prepare.stream: joint}, {prepare.stream: bone}]")  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Path:
    """A config whose landmarks and clips are made."""
    root = tmp_path_factory.mktemp("answers")
    tree = settings(*SMALL, f"out={root / 'out'}")
    refs = synthetic.clips(tree.source)
    rows = [schema.landmarks_row(ref, "made up", synthetic.read(ref, tree.source)) for ref in refs]
    store.write_table(tree.landmarks_dir / "shard-0.parquet", schema.to_table(rows, schema.LANDMARKS))
    about = {"config": pipeline.sections(tree), "counts": {"clips": len(rows)}, "dropped": {}, "seconds": 0}
    store.write_card(tree.landmarks_dir, "landmarks", "made", **about)
    for member in members.of(tree):
        prepare.here(tree.landmarks_dir, tree.home / "clips", member.recipe)
    (root / "config.yaml").write_text(tree.to_yaml(), encoding="utf-8")
    return root / "config.yaml"


def typed(*words: object) -> str:
    found = CliRunner().invoke(main, [str(word) for word in words])
    assert found.exit_code == 0, found.output
    return found.output


def stamps(folder: Path) -> dict[str, str]:
    return {str(path): store.stamp(path) for path in folder.rglob("*.p*t*")}


def test_a_bundle_is_asked_about_damage_once(told):
    said = typed("robustness", told, "--only", "hand_loss", "--only", "tilt")
    worst = r"(worst: (hand_loss|tilt) [\d.]+ \(.*\): |no stressor costs anything$)"
    assert re.search(rf"^test: [01]\.\d{{3}} right on 6 clips; {worst}", said, re.MULTILINE)
    out = config.load([str(told)]).home / "robustness"
    found, page = json.loads((out / "robustness.json").read_text()), (out / "robustness.html").read_text("utf-8")
    assert list(found["stressors"]) == ["hand_loss", "tilt"]
    assert "tiny: robustness on test clips" in page
    before = stamps(out)
    assert said.endswith(typed("robustness", told, "--only", "hand_loss", "--only", "tilt"))
    assert before == stamps(out)


def test_an_ensemble_is_trained_once_and_evaluated_as_a_bundle_is(told):
    said, home = typed("ensemble", told), config.load([str(told)]).home
    assert "all, fitted weights" in said
    found = json.loads((home / "ensemble" / "ensemble.json").read_text())
    assert [row["name"] for row in found["members"]] == ["prepare.stream=joint", "prepare.stream=bone"]
    before = stamps(home / "train")
    assert typed("ensemble", told).endswith(said[said.index("weight  test") :])
    assert before == stamps(home / "train")
    typed("evaluate", told, f"evaluate.bundle={home / 'ensemble' / 'bundle'}")
    scored = json.loads((home / "evaluation" / "metrics.json").read_text())
    assert round(scored["top1"], 4) == found["fitted"]["accuracy"]
    assert "prepare.stream=bone, weight" in (home / "evaluation" / "report.html").read_text("utf-8")


def test_an_ensemble_has_a_run_that_its_evaluation_goes_to_and_its_members_runs_lie_below(told, tmp_path):
    from mlflow import MlflowClient

    home, uri = config.load([str(told)]).home, f"sqlite:///{tmp_path / 'mlflow.db'}"
    to = ("mlflow.enabled=true", f"mlflow.uri={uri}", "train.lr=0.003")
    typed("ensemble", told, *to)
    typed("evaluate", told, f"evaluate.bundle={home / 'ensemble' / 'bundle'}", *to)
    client = MlflowClient(uri)
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    (whole,) = (run for run in runs if "raysign.ensemble" in run.data.tags)
    below = [run.data.tags["raysign.member"] for run in runs
             if run.data.tags.get("mlflow.parentRunId") == whole.info.run_id]  # fmt: skip
    assert sorted(below) == ["prepare.stream=bone", "prepare.stream=joint"]
    assert {"test/ensemble/accuracy", "test/ensemble/nll", "test/top1"} <= set(whole.data.metrics)


def test_views_are_told_in_the_report_of_an_evaluation(told):
    typed("evaluate", told, "evaluate.clips=3", "evaluate.mirror=true")
    page = (config.load([str(told)]).home / "evaluation" / "report.html").read_text("utf-8")
    assert "mean of those to 3 samplings of a clip and their mirror images" in page


def test_a_misspelt_stressor_is_told_before_anything_is_made(tmp_path):
    found = CliRunner().invoke(main, ["robustness", "source.kind=synthetic", f"out={tmp_path / 'x'}", "--only", "tlt"])
    assert found.exit_code == 1
    assert "did you mean 'tilt'" in found.output
    assert not (tmp_path / "x").exists()


@pytest.mark.usefixtures("cluster")
def test_workers_of_a_cluster_find_what_one_process_finds(told, monkeypatch):
    asked, out = (
        ("robustness", told, "--only", "jitter", "--only", "shift"),
        config.load([str(told)]).home / "robustness",
    )
    typed(*asked)
    alone = (out / "robustness.json").read_bytes()
    for shard in out.rglob("shard-*"):
        shard.unlink()
    monkeypatch.setattr(robustness, "LARGE", 1)
    typed(*asked)
    assert (out / "robustness.json").read_bytes() == alone
    assert list(out.rglob("shard-*"))


@pytest.mark.usefixtures("cluster")
def test_members_are_trained_on_a_cluster_and_found_again_without_one(told):
    home = config.load([str(told)]).home
    assert "all, fitted weights" in typed("ensemble", told, "train.lr=0.002", "train.workers=1")
    before = stamps(home / "train")
    typed("ensemble", told, "train.lr=0.002", "train.workers=0")
    assert stamps(home / "train") == before
    assert not list((home / "ensemble").rglob("ray"))
