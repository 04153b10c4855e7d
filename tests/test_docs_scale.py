"""The page on scale: each command that it shows can be given."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from raysign import bench
from raysign.cli import main

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "scale.md").read_text(encoding="utf-8"), re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_can_be_given(line):
    program, verb, *words = shlex.split(line)
    assert program == "raysign"
    given = main.commands[verb].make_context(verb, words).params
    if verb == "bench":
        run = importlib.import_module(bench.benchmarks()[given["what"]]).run
        assert bench.arguments(run, given["options"]).keys() == {word.split("=")[0] for word in given["options"]}
    else:
        assert all((ROOT / name).is_file() for name in given["config"])
