"""The page on evaluation: its commands can be given, and what it says is left behind and told is."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_report_compare import left, two
from test_report_metrics import sequences

from raysign import config, schema, store
from raysign.cli import main
from raysign.infer.evaluate import evaluate
from raysign.report.metrics import metrics

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def listed(after: str) -> set[str]:
    """The names in the first column of the table below a line."""
    table = PAGE.partition(after)[2].partition("\n\n")[2].partition("\n\n")[0]
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`(.*?)`", row.split("|")[1])}


@pytest.mark.parametrize("line", [line for line in COMMANDS if " evaluate " in line])
def test_each_evaluation_can_be_given(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    program, verb, *words = shlex.split(line)
    assert program == "raysign" and verb in main.commands
    assert config.load(words).name == "demo"


@pytest.mark.parametrize("line", [line for line in COMMANDS if " compare " in line])
def test_each_comparison_runs(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, place in zip(("first", "second", "third"), two(tmp_path, (1, 2, 3)), strict=True):
        table = store.read_table(place / "predictions.parquet")
        left(tmp_path / "runs" / name / "evaluation", table, [f"sign{i}" for i in range(4)])
    done = CliRunner().invoke(main, shlex.split(line)[1:])
    assert done.exit_code == 0, done.output
    assert "McNemar" in done.output


def test_the_files_that_are_listed_are_those_that_are_left(bundle_dir, clips_dir, tmp_path):
    evaluate(bundle_dir, clips_dir, "test", tmp_path)
    assert listed("leaves in\n`runs/<name>/evaluation`:") == {file.name for file in tmp_path.iterdir()}


def test_the_figures_that_are_told_are_listed():
    rows = sequences([["a"], ["a", "b"]], [["a"], ["b"]], ["a", "b"], ["s1", "s2"]).to_pylist()
    for row in rows:
        row.update(category="x", predicted_category="x", blank=0.5, frames=9)
    told = set(metrics(schema.to_table(rows, schema.PREDICTIONS), ["a", "b"]))
    counts, alike = {"count", "classes", "classes_tested"}, {"top3_per_class", "top5_per_class"}
    assert told - counts - alike == listed("## What each figure means")
