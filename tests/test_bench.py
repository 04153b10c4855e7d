"""Benchmarks: how they are called, and that what they say follows from what they ran."""

import json

import pytest

from raysign import bench
from raysign.bench import accuracy, signers
from raysign.errors import ConfigError

CONFIG = """
name: few
source: {kind: synthetic, signers: 3, glosses: 2, takes: 2}
model: {channels: 4, num_blocks: 1, width: 8}
train: {workers: 0, epochs: 1}
ray: {cpus: 2}
"""


def test_the_benchmarks_are_the_files_of_the_folder():
    assert {"accuracy", "extract", "import", "prepare", "signers", "train"} <= set(bench.benchmarks())


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


def test_the_accuracy_of_a_config_comes_with_an_interval_and_a_baseline(tmp_path, capsys):
    config = tmp_path / "few.yaml"
    config.write_text(CONFIG)
    found = accuracy.run(str(config), ("train.epochs=2", "split.kind=stratified"), seeds=2)
    assert len(found["each"]) == 2
    assert found["low"] <= found["top1"] <= found["high"]
    assert 0 <= found["forest"] <= 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
