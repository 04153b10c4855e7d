"""docs/cluster.md and README's section: each command shown is one that Ray, SLURM's script or raysign would take."""

import shlex
from pathlib import Path

import click
import pytest
from ray.scripts.scripts import cli as ray
from test_docs_systems import ROOT, commands

from raysign import config
from raysign.cli import main

SHOWN = commands(ROOT / "docs" / "cluster.md") + commands(ROOT / "README.md", "On a cluster")
JOB = "jobs/slurm.sbatch"


def told(program: str) -> list[list[str]]:
    return [[word for word in words if word != "&"] for name, *words in SHOWN if name == program]


def is_for_raysign(verb: str, words: list[str]) -> None:
    assert verb in main.commands
    config.load(words)


@pytest.fixture(autouse=True)
def checkout(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SCRATCH", "/scratch")


@pytest.mark.parametrize("words", told("ray"), ids=shlex.join)
def test_ray_would_take_the_command(words):
    group: click.Command = ray
    while isinstance(group, click.Group):
        name, *words = words
        assert name in group.commands, name
        group = group.commands[name]
    context = group.make_context(name, [*words])  # raises for an option that there is not
    named = [value for value in context.params.values() if isinstance(value, str) and value.endswith(".yaml")]
    assert all(Path(name).is_file() for name in named)
    if "entrypoint" in context.params:
        assert context.params["runtime_env"] == "jobs/runtime_env.yaml"
        program, script, *settings = context.params["entrypoint"]
        assert (program, Path(script).is_file()) == ("python", True)
        is_for_raysign(Path(script).stem, settings)


@pytest.mark.parametrize("words", told("raysign"), ids=shlex.join)
def test_raysign_would_take_the_command(words):
    verb, *words = words
    context = main.commands[verb].make_context(verb, words)
    config.load(context.params["config"])


@pytest.mark.parametrize("words", told("sbatch"), ids=shlex.join)
def test_slurms_script_would_run_the_command(words):
    at = words.index(JOB)
    assert all(word.startswith("--") for word in words[:at])
    verb, *settings = words[at + 1 :]
    is_for_raysign(verb, settings)


def test_files_that_other_programs_are_given_exist():
    given = {words[words.index("-f") + 1] for words in SHOWN if "-f" in words}
    assert len(given) == 3  # an image, a volume, a job
    assert [name for name in given if not Path(name).is_file()] == []


def test_the_page_has_every_way_and_no_program_that_is_not_looked_at():
    programs = {words[0] for words in SHOWN}
    assert programs == {"raysign", "ray", "sbatch", "kubectl", "docker", "git", "export", "mkdir"}
