"""The whole line on sentences: signs that follow one another are told one by one, in order."""

import json

import pytest
from made_sentences import GLOSSES, tree, write

from raysign import config, pipeline, schema, store, views
from raysign.infer.predictor import Predictor
from raysign.learn import bundle
from raysign.report import words


@pytest.fixture(scope="module")
def run(cluster, tmp_path_factory):  # noqa: ARG001 - what is made runs on it
    """A config whose line was walked to its end, and what was said there."""
    home = tmp_path_factory.mktemp("sentences")
    settings = config.load(base=tree(write(home / "cache"), home / "out"))
    return settings, pipeline.run(settings)


def test_sentences_of_two_signs_are_learnt(run):
    settings, said = run
    found = json.loads((settings.home / "evaluation" / "metrics.json").read_text())
    assert found["wer"] < 0.2
    assert found["sequence_accuracy"] > 0.6
    assert found["classes_tested"] == len(GLOSSES)
    assert said.startswith("test: word error rate ")


def test_each_gloss_of_a_sentence_is_counted_and_a_label(run):
    settings, _ = run
    card = store.read_card(pipeline.prepare(settings)) or {}
    assert card["labels"] == GLOSSES == list(card["counts"]["gloss"])
    rows = store.read_columns(pipeline.prepare(settings), "gloss", "split").to_pylist()
    for gloss, counts in card["counts"]["gloss"].items():
        for split, count in counts.items():
            assert count == sum(row["split"] == split and gloss in row["gloss"] for row in rows)


def test_predictions_hold_the_sentences_and_the_page_shows_them(run):
    settings, _ = run
    table = store.read_table(settings.home / "evaluation" / "predictions.parquet")
    assert table.schema.equals(schema.PREDICTIONS)
    assert all(set(sequence) <= set(GLOSSES) for sequence in table["decoded"].to_pylist())
    assert table["predicted_category"].null_count == len(table)
    page = (settings.home / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "word error rate" in page


def test_the_checks_know_that_a_sentence_is_no_gloss(run):
    settings, _ = run
    result = views.validate(settings)
    assert not [finding.line for finding in result.findings if finding.check in ("classes", "untrained", "labels")]


def test_an_answer_is_the_sentence_and_goes_with_its_clip_whatever_the_order(run):
    settings, _ = run
    clips = [
        x
        for path in store.shards(pipeline.prepare(settings))
        for x in schema.arrays(store.read_table(path), "x", "persons", "frames", "points", "channels")
    ][:9]
    answers = Predictor(bundle.load(settings.home / "bundle"))
    told = answers.answers(clips)[1]
    assert answers.answers(clips[::-1], batch=2)[1] == told[::-1]
    assert [answers.answers([clip])[1][0] for clip in clips] == told


@pytest.mark.parametrize(
    ("decoded", "line"),
    [(["b", "a"], "x  b a"), ([], "x  (no gloss)"), (["a"], "x  a 0.90  b 0.10"), (["b"], "x  b"),
     (None, "x  a 0.90  b 0.10")],
)  # fmt: skip
def test_the_sentence_is_printed_and_a_single_gloss_with_its_probability(decoded, line):
    row = {"clip": "x", "error": None, "top": [("a", 0.9), ("b", 0.1)], "decoded": decoded}
    assert words.answer(row) == line
