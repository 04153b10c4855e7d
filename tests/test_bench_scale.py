"""The benchmarks of a plan and of very many clips, small."""

import json

import pytest

from raysign.bench import plan, scale

pytestmark = pytest.mark.usefixtures("cluster")


def test_the_driver_of_very_many_clips_stays_lean(tmp_path, capsys):
    before = scale._resident()
    found = scale.run(clips=20_000, media=False, out=tmp_path)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert found["peak_mb"] - before < 20_000 * 10e3 / 1e6  # 10 kB a clip; a million take a fifth of that each
    assert found["quarantined"] == 100
    assert not list(tmp_path.iterdir())


def test_long_lived_workers_do_it_too(tmp_path):
    found = scale.run(clips=200, out=tmp_path)
    assert (found["media"], found["quarantined"]) == (True, 1)


def test_a_plan_is_compared_with_each_stage(capsys):
    small = ("model.channels=4", "model.num_blocks=1", "model.width=8")
    found = plan.run(clips=72, epochs=2, seconds=0, settings=small)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert set(found["stages"]) == {"import", "prepare", "train"}
    assert all(row["measured_s"] > 0 and row["ratio"] > 0 for row in found["stages"].values())
