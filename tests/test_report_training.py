"""`raysign analyze`: what trainings came to, read from what they left behind, finished or not."""

import math

import pytest
from click.testing import CliRunner
from made_clips import settings

from raysign import cli
from raysign.errors import StoreError
from raysign.learn import history
from raysign.learn.distribute import FREE
from raysign.report import training


def trained(home, name: str, epochs: int, *overrides: str):
    """What a training leaves behind that gets better for five epochs and then worse on new clips."""
    directory = home / "runs" / "test" / "train" / name
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text(settings(home, *overrides).to_yaml())
    for epoch in range(1, epochs + 1):
        away = abs(epoch - 5) / 10
        row = {"epoch": epoch, "train/loss": 3 / epoch, "train/top1": 1 - 1 / (1 + epoch), "val/loss": 1 + away}
        history.append(directory, {**row, "val/top1": 0.6 - away / 2, "train/lr": 0.01 * math.exp(-epoch / 5)})
    return directory


def test_a_line_tells_the_best_epoch_the_gap_and_the_end(tmp_path):
    trained(tmp_path, "abcdefghij", 8, "train.epochs=20", "train.patience=3")
    (found,) = training.found(tmp_path / "runs" / "test")
    assert training.words(found) == (
        "abcdefgh: 8 of 20 epochs (no better val/top1 for 3 epochs), best epoch 5: val/top1 0.600, "
        "train/top1 - val/top1 there +0.233 (overfitted), val/loss lowest in epoch 5, +0.300 since"
    )


def test_a_training_under_way_is_told_of_as_well(tmp_path):
    directory = trained(tmp_path, "one", 3, "train.epochs=20")
    assert training.words(training.found(directory)[0]).startswith("one: 3 of 20 epochs (not finished), best epoch 3:")


def test_trainings_are_drawn_together_and_named_by_what_they_differ_in(tmp_path):
    places = [trained(tmp_path, "slow", 9, "train.lr=0.001"), trained(tmp_path, "fast", 6, "train.lr=0.1")]
    out = tmp_path / "curves.png"
    result = CliRunner().invoke(cli.main, ["analyze", *map(str, places), "--out", str(out)])
    assert result.exit_code == 0, result.output
    trees = [{"train.lr": lr, "seed": "0", **{f"train.{name}": lr for name in FREE}} for lr in ("0.1", "0.2")]
    assert training._own(trees[1], trees) == "  train.lr=0.2"
    assert [line.split(":")[0] for line in result.output.splitlines()] == ["slow", "fast", "picture"]
    both, alone = out.read_bytes(), training.picture(training.found(places[0]))
    assert alone and both[:4] == alone[:4] == b"\x89PNG"
    height = [int.from_bytes(data[20:24], "big") for data in (alone, both)]  # of the IHDR chunk
    assert height[1] > 1.8 * height[0]


def test_where_no_training_is_the_verb_is_named(tmp_path):
    with pytest.raises(StoreError, match="raysign train"):
        training.found(tmp_path)
    result = CliRunner().invoke(cli.main, ["analyze", str(tmp_path)])
    assert result.exit_code == 1 and "found no training" in result.output
