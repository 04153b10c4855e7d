"""The page on exports: its commands run, its example answers as the bundle does."""

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import made_bundles
import numpy as np
import pytest
from test_docs_systems import ROOT, commands, raysign

from raysign import schema, store
from raysign.cli import main
from raysign.infer import export as exporting
from raysign.infer import parity
from raysign.infer.predictor import Predictor, top
from raysign.kinds import kind_module, kinds
from raysign.learn import bundle as bundles

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own
PAGE = ROOT / "docs" / "export.md"


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """What a run leaves that the page begins with."""
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "runs" / "demo"
    made_bundles.stored(home / "landmarks")
    clips = made_bundles.prepared(home / "landmarks", home / "clips")
    bundle = made_bundles.untrained()
    replace(bundle, card={**bundle.card, "clips": clips.name}).save(home / "bundle")
    return home


def test_the_commands_of_the_page_run_and_its_example_answers_as_the_bundle_does(project, capsys):
    (clips,) = (project / "clips").iterdir()
    for program, *words in commands(PAGE):
        if program == "raysign" and words[0] == "export" and not (project / "exported").exists():
            done = raysign(*words, "rounds=2")
            assert done.exit_code == 0, f"{shlex.join(words)}\n{done.output}"
        elif program == "raysign" and words[0] == "export":  # the same once more, of other clips
            told = [word.replace("<hash>", clips.name) for word in words[3:] if "=" in word]
            options, bundle = exporting.options(told), bundles.load(project / "bundle")
            assert len(parity.clips_of(bundle, project / "bundle", options.clips, options.files, options.count)[0]) > 5
        elif program == "raysign":  # it needs MediaPipe's model files: test_infer_registry
            command: Any = main.commands[words[0]]
            command.make_context(words[0], words[1:])
        elif program == "mlflow":
            serve(words)
    python, _ = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    exec(python, {})
    table = store.read_table(store.shards(project / "landmarks")[0]).slice(0, 3)
    bundle = bundles.load(project / "bundle")
    wanted = [top(row, bundle.labels, 1)[0] for row in Predictor(bundle).predict(list(schema.landmarks_of(table)))]
    told = [line.split() for line in capsys.readouterr().out.splitlines()][-3:]
    assert [name for name, _ in told] == [name for name, _ in wanted]
    np.testing.assert_allclose([float(share) for _, share in told], [share for _, share in wanted], atol=1e-4)


def serve(words: list[str]) -> None:
    """Look at the options of a server of MLflow's, which would not end."""
    from mlflow.cli import cli

    command: Any = cli
    while hasattr(command, "commands"):
        name, *words = words
        command = command.get_command(click.Context(command), name)
    command.make_context(name, words)


def test_the_outputs_of_every_task_are_told():
    page = PAGE.read_text(encoding="utf-8")
    for kind in kinds("task"):
        assert f"| `{kind}` |" in page
        assert all(f"`{name}`" in page for name in kind_module("task", kind).Task.OUTPUTS)
