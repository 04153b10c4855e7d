"""The page on MLflow: its commands run in their order, and leave in MLflow what the page says."""

import re
import shlex
from pathlib import Path
from typing import Any

import click
import mlflow
import pytest
from test_docs_systems import ROOT, commands, raysign

from raysign import store
from raysign.learn import tracking
from raysign.report.results import LOOKED_AT

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own
PAGE = ROOT / "docs" / "mlflow.md"
SMALL = ["train.epochs=2", "train.workers=0", "ray.cpus=2", "source.takes=2", "model.channels=8", "model.num_blocks=1"]


def asked_of_mlflow(words: list[str]) -> None:
    """Run a command of MLflow's that ends; look at the options of those that do not."""
    from mlflow.cli import cli

    command: Any = cli
    while hasattr(command, "commands"):
        name, *words = words
        command = command.get_command(click.Context(command), name)
    with command.make_context(name, words) as context:
        if name == "download":
            command.invoke(context)


@pytest.fixture
def project(tmp_path, monkeypatch, cluster) -> Path:  # noqa: ARG001 - made-up landmarks take the cluster
    monkeypatch.chdir(tmp_path)
    Path("configs").symlink_to(ROOT / "configs")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")  # set by one of them
    return tmp_path


def test_the_commands_of_the_page_leave_in_mlflow_what_it_says(project, capsys):
    for program, *words in commands(PAGE):
        if program == "mlflow":
            asked_of_mlflow(words)
        elif program == "raysign":
            done = raysign(*words, *(SMALL if words[0] == "run" else ()))
            assert done.exit_code == 0, f"{shlex.join([program, *words])}\n{done.output}"
        else:
            assert program == "export"
    (python,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    try:
        exec(python, {})
    finally:
        mlflow.set_tracking_uri(None)  # pyright: ignore - set there; later tests have others
    assert "probabilities" in capsys.readouterr().out

    client = mlflow.MlflowClient(f"sqlite:///{project / 'runs' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("demo").experiment_id])  # pyright: ignore
    figures = store.read_json(project / "runs" / "demo" / "evaluation" / "metrics.json")
    assert run.data.metrics["test/top1"] == figures["top1"] <= run.data.metrics["test/top1_high"]
    assert {"raysign.landmarks", "raysign.extractor"} <= set(run.data.tags)
    kept = {file.path for file in client.list_artifacts(run.info.run_id, "evaluation")}
    assert kept == {f"evaluation/{name}" for name in LOOKED_AT}
    assert client.get_model_version_by_alias("signs", "champion").run_id == run.info.run_id
    assert not tracking.owes(tracking.config.load(["configs/demo.yaml"]), Path(run.data.tags["raysign.directory"]))
