"""Two evaluations of the same clips: differences, tests and what cannot be compared."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from test_report_metrics import drawn, predictions, sequences

from raysign import schema, store
from raysign.cli import main
from raysign.errors import StoreError
from raysign.report import compare
from raysign.report.metrics import metrics


def left(folder: Path, table, labels, **about) -> Path:
    """The folder of an evaluation."""
    store.write_table(folder / "predictions.parquet", table)
    store.write_json(folder / "metrics.json", {**metrics(table, labels), "split": "test", "clips": "a key", **about})
    return folder


def two(tmp_path: Path, seeds=(1, 2), count=40) -> list[Path]:
    """Two evaluations of the same clips of four signers."""
    labels, truth, _ = drawn(4, count, 0)
    signers = [f"s{i % 4}" for i in range(count)]
    return [
        left(tmp_path / f"{seed}", predictions(truth, drawn(4, count, seed)[2], labels, signers), labels)
        for seed in seeds
    ]


def found(*places: Path) -> list[dict]:
    first, *others = map(compare.read, places)
    return compare.compare(first, others)


def test_an_evaluation_against_itself_differs_in_nothing(tmp_path):
    place, _ = two(tmp_path)
    (one,) = found(place, place)
    assert {row["difference"] for row in one["figures"].values()} == {0.0}
    assert all(row["interval"][0] < 0 < row["interval"][1] for row in one["figures"].values())
    assert [test["p"] for test in one["tests"].values()] == [1.0]
    assert one["better"] == one["worse"] == one["notes"] == []


def test_the_figures_are_those_of_the_evaluations_and_the_other_way_round_all_is_turned_about(tmp_path):
    one, other = two(tmp_path)
    (there,), (back,) = found(one, other), found(other, one)
    for name, row in there["figures"].items():
        assert row["first"] == pytest.approx(store.read_json(one / "metrics.json")[name])
        assert row["other"] == pytest.approx(store.read_json(other / "metrics.json")[name])
        assert row["difference"] == -back["figures"][name]["difference"]
        for interval in ("interval", "signers"):
            low, high = back["figures"][name][interval]
            assert row[interval] == pytest.approx([-high, -low], abs=1e-3)
    assert there["tests"]["top1"]["p"] == back["tests"]["top1"]["p"]
    assert {row["gloss"] for row in there["better"]} == {row["gloss"] for row in back["worse"]}


def test_mcnemars_test_counts_the_clips_that_one_alone_tells():
    one = np.array([True] * 9 + [False] * 1 + [True] * 20 + [False] * 5)
    two = np.array([False] * 9 + [True] * 1 + [True] * 20 + [False] * 5)
    test = compare.mcnemar(one, two)
    assert (test["right_in_first"], test["right_in_other"]) == (9, 1)
    assert test["p"] == pytest.approx(2 * (1 + 10) / 2**10)  # of ten coins 0 or 1 show heads, or 9 or 10


def test_the_test_of_edits_is_of_all_ways_to_exchange_the_two():
    one, two = np.array([3.0, 1, 0, 2, 2, 4]), np.array([1.0, 0, 0, 3, 0, 1])
    sums = [np.dot(signs, two - one) for signs in product((-1, 1), repeat=len(one))]
    assert compare.permuted(one, two)["p"] == pytest.approx(np.mean(np.abs(sums) >= abs((two - one).sum())))
    assert compare.permuted(one, one)["p"] == 1.0


def test_holms_correction_is_that_of_the_paper():
    assert compare.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert compare.holm([0.9, 0.2, 0.6]) == pytest.approx([1.0, 0.6, 1.0])
    assert compare.holm([0.02]) == [0.02]


def test_word_errors_are_compared_with_intervals_and_a_test(tmp_path):
    glosses = [["a", "b"], ["b"], ["a", "a", "b"], ["b", "a"]] * 4
    better, worse = [list(gloss) for gloss in glosses], [gloss[:1] for gloss in glosses]
    places = [left(tmp_path / f"{i}", sequences(glosses, told, ["a", "b"]), ["a", "b"])
              for i, told in enumerate((worse, better))]  # fmt: skip
    (one,) = found(*places)
    assert one["figures"]["wer"]["difference"] == -0.5 and one["figures"]["wer"]["interval"][1] < 0
    test = one["tests"]["wer"]
    assert (test["fewer"], test["more"]) == (12, 0) and test["p"] == test["holm"] < 0.001
    assert one["tests"]["sequence_accuracy"]["right_in_other"] == 12


def test_clips_of_one_evaluation_alone_are_counted_and_left_out(tmp_path):
    one, other = two(tmp_path)
    table = store.read_table(other / "predictions.parquet")
    store.write_table(other / "predictions.parquet", table.slice(10))
    (row,) = found(one, other)
    assert (row["clips"], row["only_first"], row["only_other"]) == (30, 10, 0)


@pytest.mark.parametrize(
    ("about", "keep", "message"),
    [({"split": "train"}, 40, "found test and train clips"), ({"clips": "another"}, 40, None), ({}, 5, None)],
)
def test_evaluations_of_other_clips_are_refused_or_noted(tmp_path, about, keep, message):
    one, other = two(tmp_path)
    store.write_json(other / "metrics.json", {**store.read_json(other / "metrics.json"), **about})
    store.write_table(other / "predictions.parquet", store.read_table(other / "predictions.parquet").slice(0, keep))
    if message:
        with pytest.raises(StoreError, match=message):
            found(one, other)
    else:
        assert bool(found(one, other)[0]["notes"]) == ("clips" in about)


def test_clips_with_other_names_or_labels_are_refused(tmp_path):
    one, other = two(tmp_path)
    rows = store.read_table(other / "predictions.parquet").to_pylist()
    changed = [{**row, "gloss": ["sign9"] if row["id"] == "clip7" else row["gloss"]} for row in rows]
    named = [{**row, "id": f"other{row['id']}"} for row in rows]
    for told, message in (
        (changed, "clip clip7: found 'sign.' and 'sign9'"),
        (named, "found 0 clips in both of 40 and 40"),
    ):
        store.write_table(other / "predictions.parquet", schema.to_table(told, schema.PREDICTIONS))
        with pytest.raises(StoreError, match=message):
            found(one, other)


def test_the_command_takes_folders_of_results_evaluations_and_tables(tmp_path):
    one, other = two(tmp_path / "a" / "evaluation")
    home = tmp_path / "home"
    left(home / "evaluation", store.read_table(other / "predictions.parquet"), [f"sign{i}" for i in range(4)])
    words = ["compare", str(one), str(home), str(other / "predictions.parquet")]
    text = CliRunner().invoke(main, words)
    assert text.exit_code == 0 and "McNemar" in text.output and "as one of 2 comparisons" in text.output
    told = json.loads(CliRunner().invoke(main, [*words, "--json"]).output)["comparisons"]
    assert [row["other"] for row in told] == words[2:] and told[0]["figures"] == told[1]["figures"]
    (home / "evaluation").rename(home / "evaluation-val")
    assert json.loads(CliRunner().invoke(main, [*words, "--json"]).output)["comparisons"] == told


def test_tables_without_optional_columns_are_read_and_those_of_something_else_refused(tmp_path):
    one, other = two(tmp_path)
    table = store.read_table(one / "predictions.parquet")
    pq.write_table(table.drop_columns(["decoded", "predicted_category", "blank"]), tmp_path / "older.parquet")
    assert found(tmp_path / "older.parquet", other)[0]["figures"] == found(one, other)[0]["figures"]
    others = {
        "without gloss": table.drop_columns(["gloss"]), "no clip": table.slice(0, 0),
        "no predictions": table.set_column(1, "gloss", pa.array(range(len(table)))),
    }  # fmt: skip
    for words, strange in others.items():
        pq.write_table(strange.replace_schema_metadata(), tmp_path / "strange.parquet")
        with pytest.raises(StoreError, match=words):
            compare.read(tmp_path / "strange.parquet")


def test_a_folder_without_an_evaluation_is_named(tmp_path):
    done = CliRunner().invoke(main, ["compare", str(tmp_path), str(tmp_path)])
    assert done.exit_code == 1 and "found no predictions.parquet" in done.output
