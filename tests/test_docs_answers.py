"""The pages on robustness and ensembles: their commands can be given, and what they list is what there is."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from made_bundles import settings

from raysign.cli import main
from raysign.config import load
from raysign.infer import robustness
from raysign.infer.damage import STRESSORS
from raysign.learn import members

DOCS = Path(__file__).parents[1] / "docs"
ROBUSTNESS, ENSEMBLES = ((DOCS / name).read_text(encoding="utf-8") for name in ("robustness.md", "ensembles.md"))
COMMANDS = [line for page in (ROBUSTNESS, ENSEMBLES) for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
            for line in block.splitlines()]  # fmt: skip


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_can_be_given(line, monkeypatch, tmp_path):
    monkeypatch.setenv("RAYSIGN_TEST_DATA", str(tmp_path))
    monkeypatch.chdir(DOCS.parent)
    program, verb, *words = shlex.split(line)
    assert program == "raysign"
    given = main.commands[verb].make_context(verb, words).params
    if verb == "predict":
        return
    config = load(given["config"])
    if verb == "robustness":
        assert robustness.chosen(given["only"])
    if verb == "ensemble":
        assert len(members.of(config)) == 4


def test_every_stressor_is_on_the_page_with_its_levels_and_unit():
    rows = re.findall(r"^\| (`.*?`) \| .* \| (.*?) \| (.*?) \|$", ROBUSTNESS, re.MULTILINE)
    told = {name: (levels, unit) for names, levels, unit in rows for name in re.findall(r"`(\w+)`", names)}
    assert told.keys() == STRESSORS.keys()
    for name, (levels, unit) in told.items():
        known = [f"{level:g}" for level in STRESSORS[name].levels]
        assert levels in (f"{known[0]} to {known[-1]}", ", ".join(known))
        assert unit == STRESSORS[name].unit


def test_the_members_shown_can_be():
    (shown,) = re.findall(r"```yaml\n(.*?)```", ENSEMBLES, re.DOTALL)
    told = yaml.safe_load(shown)["ensemble"]["members"]
    assert len(members.of(settings(f"ensemble.members={told}"))) == len(told) == 4
