"""The page on prediction: each command that it shows can be given, and each that needs no MediaPipe runs."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_bundles import settings, untrained
from made_talks import talk

from raysign import schema, store
from raysign.cli import main
from raysign.sources import synthetic

PAGE = (Path(__file__).parents[1] / "docs" / "predict.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
NEEDS_MORE = (".mp4", "photos/", " 0 ", "--parallel")  # MediaPipe's models, a camera, a cluster


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder with a bundle, clips and a talk in it."""
    folder, source = tmp_path_factory.mktemp("project"), settings().source
    untrained().save(folder / "runs" / "mine" / "bundle")
    clips = [synthetic.read(ref, source) for ref in synthetic.clips(source)[:4]]
    long, _ = talk(clips, [1.0, 0.8, 0.8, 0.8, 1.0])
    for path, some in (("clips/shard-0.parquet", clips), ("talk.parquet", [long])):
        rows = [schema.landmarks_row(schema.ClipRef(f"{i}", "x", "1"), "made up", one) for i, one in enumerate(some)]
        store.write_table(folder / path, schema.to_table(rows, schema.LANDMARKS))
    return folder


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_can_be_given(line, project, monkeypatch):
    monkeypatch.chdir(project)
    program, verb, *words = shlex.split(line)
    assert program == "raysign"
    assert main.commands[verb].make_context(verb, list(words)).params["bundle"] == "runs/mine/bundle"
    if any(word in line for word in NEEDS_MORE):
        return
    done = CliRunner().invoke(main, [verb, *words])
    assert done.exit_code == 0, done.output
    if "--json" in words:
        rows = [json.loads(told) for told in done.stdout.splitlines()]
        assert rows and all(row["error"] is None for row in rows)
    if "--out" in words:
        assert Path(words[words.index("--out") + 1]).stat().st_size > 100
    if "--continuous" in words:
        assert len(re.findall(r"^ +[\d.]+ to +[\d.]+ s  sign", done.stdout, re.MULTILINE)) == 4


def test_the_page_names_the_columns_of_answers_and_the_limits_that_are():
    from raysign.infer import activity, continuous, files, table

    assert ", ".join(table.ANSWERS.names) in " ".join(PAGE.split())
    assert f"{activity.REST} s without one" in PAGE and f"{activity.HOLD:g} s in which a raised hand" in PAGE
    assert f"from {files.MANY} files" in PAGE and f"probability of {continuous.BETWEEN}" in PAGE
    assert (continuous.LONG, continuous.WHOLE) == (3.0, 1.25)  # "three times", "a quarter longer"
