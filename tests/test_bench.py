"""Benchmarks: how they are called, and that what they say follows from what they ran."""

import importlib
import inspect
import json
import re
from itertools import product

import numpy as np
import pytest
from made_sources import write_npz

from raysign import bench
from raysign.bench import accuracy, chaos, import_, models, prepare, signers
from raysign.cli import main
from raysign.errors import ConfigError

CONFIG = """
name: few
source: {kind: synthetic, signers: 3, glosses: 2, takes: 2}
model: {channels: 4, num_blocks: 1, width: 8}
train: {workers: 0, epochs: 1}
ray: {cpus: 2}
"""


def test_the_benchmarks_are_the_files_of_the_folder():
    assert {"accuracy", "extract", "import", "models", "prepare", "signers", "train"} <= set(bench.benchmarks())


def test_the_help_names_every_benchmark():
    said = re.findall(r"\w+", main.commands["bench"].help or "")
    assert [name for name in bench.benchmarks() if name not in said] == []


def test_an_unknown_setting_of_a_benchmark_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'seeds'"):
        bench.arguments(signers.run, ["seed=3"])


def test_a_word_is_a_tuple_of_one_where_a_tuple_is_wanted():
    assert bench.arguments(import_.run, ["formats=npz"]) == {"formats": ("npz",)}
    assert bench.arguments(models.run, ["kinds=gru"]) == {"kinds": ("gru",)}
    assert bench.arguments(prepare.run, ["recipes=[centered, hand_84]"]) == {"recipes": ("centered", "hand_84")}
    assert bench.arguments(signers.run, ["path=[x", "seeds=2"]) == {"path": "[x", "seeds": 2}


@pytest.mark.parametrize(
    ("run", "options", "words"),
    [
        (signers.run, ["seeds=2"], "path: missing; give it as path=VALUE"),
        (prepare.run, ["clips=many"], "clips: found 'many'; input should be a valid integer"),
        (import_.run, ["formats=3"], "formats: found 3; input should be a valid tuple"),
    ],
)
def test_a_setting_that_is_missing_or_of_another_type_is_named(run, options, words):
    with pytest.raises(ConfigError, match=words):
        bench.arguments(run, options)


@pytest.mark.parametrize("module", bench.benchmarks().values())
def test_a_benchmark_of_nothing_is_refused(module):
    run = importlib.import_module(module).run
    known = inspect.signature(run).parameters
    given = ["path=x"] if "path" in known else []
    counts = [key for key, one in known.items() if type(one.default) is int and key != "points"]
    assert counts
    for count, value in product(counts, (0, -1)):
        with pytest.raises(ConfigError, match=f"{count}: found {value}; input should be greater than"):
            bench.arguments(run, [*given, f"{count}={value}"])


@pytest.mark.parametrize(
    ("run", "told", "words"),
    [
        (prepare.run, {"points": 60}, "points: found 60, expected 75 or 543"),
        (prepare.run, {"recipes": ("hand_48",)}, "did you mean 'hand_84'"),
        (prepare.run, {"recipes": ("stored_features",)}, "recipes: found 'stored_features', expected all or some of"),
        (import_.run, {"formats": ("npx",)}, "did you mean 'npz'"),
        (models.run, {"kinds": ("gru", "stgcnn")}, "did you mean 'stgcn'"),
        (chaos.run, {"stages": ("trian",)}, "stages: found 'trian', expected all or some of"),
        (chaos.run, {"victims": ("workers",)}, "did you mean 'worker'"),
    ],
)
def test_what_a_benchmark_does_not_know_is_refused_before_anything_is_made(run, told, words, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=words):
        run(**told)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("cluster")
def test_prepare_measures_import_and_each_recipe_and_keeps_its_files_for_the_next_time(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    few = {"clips": 20, "frames": 10, "repeats": 1, "memory": False}
    recipes = ("shoulder_centered", "hand_84")
    found = prepare.run(**few, recipes=recipes)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert set(found["recipes"]) == set(recipes)
    assert all(speed > 0 for speed in found["clips_per_second"].values())
    folder = prepare.made_files(20, 75, 10)
    assert len(list(folder.rglob("*.parquet"))) == 20
    stale = folder.rename(f"{folder}-of-before")
    assert prepare.made_files(20, 75, 10) == folder
    assert not stale.exists()
    assert not list(tmp_path.rglob("making-*"))


def test_files_that_could_not_all_be_made_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="low >= high"):
        prepare.made_files(20, 75, -3)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() or path.name.startswith("making-")]


@pytest.mark.usefixtures("cluster")
def test_import_reads_every_format_of_its_list(capsys):
    found = import_.run(clips=5, repeats=1)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert set(found["formats"]) == set(import_.FORMATS)
    assert all(row["raysign_ms"] > 0 for row in found["formats"].values())


def test_signers_are_held_out_with_the_clips_that_can_be_used(tmp_path):
    who = ["anna", "anna", "anna", "ben", "ben", "carla", ""]
    what = ["hello", "bye", "", "hello", "bye", "", "hello"]
    x = np.random.default_rng(0).random((len(who), 12, 75 * 3), np.float32)
    clips = write_npz(tmp_path / "clips.npz", x=x, gloss=what, signer=who)
    source = f"{{kind: npz, path: {clips}, values: x, gloss: gloss, signer: signer, layout: holistic_75}}"
    (tmp_path / "few.yaml").write_text(CONFIG.replace("{kind: synthetic, signers: 3, glosses: 2, takes: 2}", source))
    found = signers.run(str(tmp_path / "few.yaml"), seeds=1, out=str(tmp_path / "out"))
    assert {name: row["clips"] for name, row in found["signers"].items()} == {"anna": 2, "ben": 2}


def test_each_signer_is_held_out_in_turn(tmp_path, capsys):
    config = tmp_path / "few.yaml"
    config.write_text(CONFIG + "split: {kind: signer, val_signers: [signer1], test_signers: [signer2]}")
    found = signers.run(str(config), seeds=2, out=str(tmp_path / "out"))
    assert set(found["signers"]) == {"signer0", "signer1", "signer2"}
    for row in found["signers"].values():
        assert row["clips"] == 4
        assert len(row["each"]) == 2
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found


def test_a_clip_that_many_seeds_tested_counts_as_one_that_few_did():
    right = [{"a": True, "b": False}, {"a": True}, {"a": True, "b": True}]
    shares = accuracy._shares(right)
    assert shares.tolist() == [1, 0.5]
    low, high = accuracy._interval(shares)
    assert low <= shares.mean() <= high
    low, high = accuracy._interval(np.ones(10))
    assert low < 0.8 < high == 1


def test_the_accuracy_of_a_config_comes_with_an_interval_and_a_baseline(tmp_path, capsys):
    config = tmp_path / "few.yaml"
    config.write_text(CONFIG)
    found = accuracy.run(str(config), ("train.epochs=2", "split.kind=stratified"), seeds=2)
    assert len(found["each"]) == 2
    assert found["low"] <= found["top1"] <= found["high"]
    assert (found["top1"] * found["clips"] * 2) % 1 == pytest.approx(0)  # a clip is right in none, one or two of two
    assert 0 <= found["forest"] <= 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
