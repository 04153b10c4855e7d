"""Benchmarks: how they are called, and that what they say follows from what they ran."""

import json

import pytest

from raysign import bench
from raysign.bench import signers
from raysign.errors import ConfigError

CONFIG = """
name: few
source: {kind: synthetic, signers: 3, glosses: 2, takes: 2}
model: {channels: 4, num_blocks: 1, width: 8}
train: {workers: 0, epochs: 1}
ray: {cpus: 2}
"""


def test_the_benchmarks_are_the_files_of_the_folder():
    assert {"extract", "import", "prepare", "signers", "train"} <= set(bench.benchmarks())


def test_an_unknown_setting_of_a_benchmark_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'seeds'"):
        bench.arguments(signers.run, ["seed=3"])


def test_each_signer_is_held_out_in_turn(tmp_path, capsys):
    config = tmp_path / "few.yaml"
    config.write_text(CONFIG)
    found = signers.run(str(config), seeds=2, out=str(tmp_path / "out"))
    assert set(found["signers"]) == {"signer0", "signer1", "signer2"}
    for row in found["signers"].values():
        assert row["clips"] == 4
        assert len(row["each"]) == 2
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
