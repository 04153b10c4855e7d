"""A registered bundle answers as the bundle does, elsewhere: without raysign installed, without pickles."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from made_bundles import LABELS
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from PIL import Image

from raysign import config, schema, store
from raysign.cli import main
from raysign.clips import form
from raysign.errors import ConfigError
from raysign.infer import registry
from raysign.infer.files import predict
from raysign.infer.predictor import Predictor, top
from raysign.kinds import kinds
from raysign.learn import bundle as bundles
from raysign.learn.labels import Labels
from raysign.learn.recogniser import build
from raysign.skeleton import LAYOUTS, NO_POINTS

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own

# what raysign depends on and MLflow does not: a machine that serves the model need not have it
ELSEWHERE = ("av", "mediapipe", "platformdirs", "psutil", "rapidfuzz", "ray")
ASK = f"""
import sys
class Missing:
    def find_spec(self, name, *_):
        if name.split(".")[0] in {ELSEWHERE}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import mlflow, pyarrow.compute, pyarrow.parquet
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
rows = pyarrow.parquet.read_table(sys.argv[3], filters=pyarrow.compute.field("error").is_null()).to_pandas()
import raysign
answers = model.predict(rows, params={{"top": -1}})
print(answers.assign(code=raysign.__file__).to_json(orient="records", double_precision=15))
"""


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


def registered(bundle_dir, uri, *words):
    return CliRunner().invoke(main, ["register", str(bundle_dir), f"mlflow.uri={uri}", *words])


def test_a_registered_bundle_answers_as_the_bundle_does(bundle, bundle_dir, landmarks_dir, uri):
    done = registered(bundle_dir, uri, "--name", "signs", "--alias", "champion")
    assert done.exit_code == 0, done.output
    assert "models:/signs@champion" in done.output
    shard = store.shards(landmarks_dir)[1]  # with a row in quarantine
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    asked = [sys.executable, "-W", "ignore", "-c", ASK, uri, "models:/signs@champion", shard]
    said = subprocess.run(asked, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    answers = json.loads(said.stdout.splitlines()[-1])
    table = store.read_table(shard)
    table = table.filter(pc.field("error").is_null())
    expected = Predictor(bundle).predict(list(schema.landmarks_of(table)))
    assert len(answers) == len(expected) > 3
    for answer, row in zip(answers, expected, strict=True):
        names, shares = zip(*top(row, LABELS), strict=True)
        assert answer["glosses"] == list(names)
        np.testing.assert_allclose(answer["probabilities"], shares, atol=1e-6)
        assert answer["error"] is None
        assert answer["code"].startswith(str(os.sep)) and "/model/code/" in answer["code"]


def test_registering_again_is_the_same_version_and_another_bundle_the_next_one(bundle, bundle_dir, uri, tmp_path):
    other = replace(bundle, network=build(bundle.config, bundle.skeleton, bundle.channels, Labels(LABELS)).eval())
    other.save(tmp_path / "other")
    for folder in (bundle_dir, tmp_path / "other", bundle_dir, tmp_path / "other"):
        assert registered(folder, uri, "--name", "twice", "--alias", "champion").exit_code == 0
    client = MlflowClient(uri)
    versions = {found.version: found for found in client.search_model_versions("name = 'twice'")}
    assert sorted(versions) == [1, 2]
    assert str(client.get_model_version_by_alias("twice", "champion").version) == "2"


def test_a_server_that_is_not_there_is_one_line(bundle_dir):
    done = registered(bundle_dir, "http://127.0.0.1:1")
    assert done.exit_code == 1
    assert done.output == "raysign: mlflow.uri http://127.0.0.1:1: does not answer (NewConnectionError)\n"


@pytest.mark.parametrize("recipe", kinds("prepare"))
def test_the_input_example_of_every_recipe_is_answered(recipe, tmp_path):
    tree = config.load([f"prepare.kind={recipe}", "model.kind=bilstm", "source.kind=synthetic"])
    made = _bundle(tree)
    made.save(tmp_path)
    (answer,) = asked(tmp_path, registry.example(made))
    assert answer["error"] is None
    assert len(answer["glosses"]) == len(answer["probabilities"]) == 3


def _bundle(tree: config.Config, layouts=(NO_POINTS.name, *LAYOUTS)) -> bundles.Bundle:
    """An untrained recogniser of clips of the first layout that the recipe takes."""
    for name in layouts:
        try:
            skeleton, channels = form.of_layouts([name], tree)
        except ConfigError:
            continue
        network = build(tree, skeleton, channels, Labels(LABELS)).eval()
        return bundles.Bundle(tree, skeleton, Labels(LABELS), channels, network)
    raise AssertionError(f"{tree.prepare.kind} takes no layout")


def asked(bundle_dir, rows: pd.DataFrame | None) -> list[dict]:
    from raysign.infer import pyfunc  # MLflow warns as it is imported

    model, context = pyfunc.Recogniser(), type("Context", (), {"artifacts": {"bundle": str(bundle_dir)}})
    model.load_context(context)
    return model.predict(context, rows).to_dict("records")  # pyright: ignore


def test_a_row_that_cannot_be_used_says_why_and_costs_no_other(bundle, bundle_dir):
    good = registry.example(bundle)
    assert good is not None
    bad = [good.assign(frames=7), good.assign(layout="holistic_74"), good.assign(values=None), good.assign(frames=0)]
    answers = asked(bundle_dir, pd.concat([good, *bad, good], ignore_index=True))
    assert [answer["error"] is None for answer in answers] == [True, False, False, False, False, True]
    assert "did you mean 'holistic_75'" in answers[2]["error"]
    assert answers[0]["probabilities"] == pytest.approx(answers[-1]["probabilities"], abs=1e-6)


def test_what_answers_needs_nothing_that_is_not_required_of_its_machine():
    rooms = [f"raysign.{package}.{kind}" for family, package in (("prepare", "clips.recipes"), ("model", "models"),
             ("task", "learn.tasks")) for kind in kinds(family)]  # fmt: skip
    code = ASK.partition("import mlflow")[0] + f"import {', '.join([*rooms, 'raysign.infer.predictor'])}"
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr


# ---------------------------------------------------------------- videos and images


@pytest.fixture(scope="module")
def media_model(bundle_dir, uri):
    """A registered bundle that may be asked with files."""
    done = registered(bundle_dir, uri, "--name", "media", "--media")
    if "model bundle" in done.output:
        pytest.skip(f"no model files: {done.output}")
    assert done.exit_code == 0, done.output
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)  # not by MLflow, which would leave it set for all later tests
        yield mlflow.pyfunc.load_model("models:/media/1")


@pytest.mark.models
def test_a_model_for_files_is_another_version_and_says_what_it_needs(media_model, bundle_dir, uri):
    assert registered(bundle_dir, uri, "--name", "media", "--media").output.startswith("registered: models:/media/1 ")
    assert registered(bundle_dir, uri, "--name", "media").output.startswith("registered: models:/media/2 ")
    folder = download_artifacts("models:/media/1")
    wanted = Path(folder, "requirements.txt").read_text()
    assert all(f"{name}==" in wanted for name in (*registry.NEEDS, *registry.MEDIA_NEEDS))
    assert sorted(file.name for file in Path(folder, "artifacts").glob("*/*.task")) == [
        "hand_landmarker.task",
        "holistic_landmarker.task",
    ]
    assert not [column.name for column in media_model.metadata.get_input_schema() if column.required]


@pytest.mark.models
def test_only_media_in_the_folder_that_the_server_names_are_read(media_model, bundle, tmp_path, monkeypatch):
    folder, secret = tmp_path / "media", tmp_path / "secret.png"
    folder.mkdir()
    Image.new("RGB", (64, 64)).save(folder / "black.png")
    shutil.copyfile(folder / "black.png", secret)
    (folder / "link.png").symlink_to(secret)
    (folder / "words.txt").write_text("secret")
    (folder / "words.png").write_text("secret")

    def errors(*paths: object) -> list[str]:
        return list(media_model.predict(pd.DataFrame({"path": [str(path) for path in paths]}))["error"])

    monkeypatch.delenv("RAYSIGN_MEDIA", raising=False)
    assert "RAYSIGN_MEDIA" in errors(folder / "black.png")[0]
    monkeypatch.setenv("RAYSIGN_MEDIA", str(folder))
    outside = [secret, "../secret.png", "link.png", "words.txt", "none.png", "/etc/passwd", "\0.png", "x" * 9999, "."]
    assert set(errors(*outside)) == {"path: found no video or image of that name in the folder that this server reads"}
    black, text = errors("black.png", "words.png")
    assert black == "black.png: no person or hand found in 1 frames"
    assert text.startswith("words.png: ") and "secret" not in text and str(tmp_path) not in text
    assert list(media_model.predict(registry.example(bundle))["error"]) == [None]  # landmarks as ever


@pytest.mark.models
@pytest.mark.real_data
def test_a_photo_is_answered_as_predict_answers_it(media_model, bundle_dir, real_data, monkeypatch):
    photos = sorted((real_data / "mediapipe_gesture_images" / "call").glob("*.jpg"))[:2]
    monkeypatch.setenv("RAYSIGN_MEDIA", str(real_data))
    answers = media_model.predict(pd.DataFrame({"path": [str(photo) for photo in photos]})).to_dict("records")
    for answer, row in zip(answers, predict(bundle_dir, photos), strict=True):
        assert (answer["error"], answer["glosses"]) == (None, [name for name, _ in row["top"]])
        np.testing.assert_allclose(answer["probabilities"], [share for _, share in row["top"]], atol=1e-4)


def test_a_model_that_was_not_registered_for_files_reads_none(bundle_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIGN_MEDIA", str(tmp_path))
    (answer,) = asked(bundle_dir, pd.DataFrame({"path": ["a.mp4"]}))
    assert "register it with --media" in answer["error"]


@pytest.mark.parametrize(("recipe", "name"), [("centered", "ntu_25"), ("stored_features", NO_POINTS.name)])
def test_a_bundle_of_other_landmarks_than_mediapipes_is_not_registered_for_files(recipe, name, tmp_path, uri):
    tree = config.load([f"prepare.kind={recipe}", "model.kind=bilstm", "source.kind=synthetic"])
    _bundle(tree, (name,)).save(tmp_path)
    done = registered(tmp_path, uri, "--media")
    assert done.exit_code == 1
    assert "expected some that MediaPipe's landmarks alone make" in done.output
