"""The pictures and the page: they can be made of anything that can be scored, and load nothing."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from test_report_metrics import drawn, predictions, sequences

from raysign.learn.tasks import two_heads
from raysign.report import html, plots, results
from raysign.report.metrics import metrics

NAMES = [
    "привет",
    "こんにちは",
    "你好",
    "مرحبا",
    "$x_1$",
    "👋",
    "a gloss whose name goes on and on and on for ever",
    "<b>&",
    "",
]


def is_png(data) -> bool:
    return data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND"


class Loads(HTMLParser):
    """Collects what a page would load."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def page(classes=9, count=40, names=NAMES, **more) -> str:
    _, truth, probabilities = drawn(classes, count, 0)
    return of(predictions(truth, probabilities, names), names, **more)


def of(table, labels, **more) -> str:
    """The page of a table."""
    figures = metrics(table, labels)
    return html.page(table, labels, figures, results.pictures(table, labels, figures), title="a title", **more)


@pytest.mark.parametrize("classes", [1, 2, 16, 90])
def test_every_number_of_classes_gives_a_confusion_matrix_and_f1_bars(classes):
    matrix = np.random.default_rng(0).integers(0, 4, (classes, classes))
    labels = [f"sign{i}" for i in range(classes)]
    per_class = {label: {"f1": i / classes, "support": i % 3} for i, label in enumerate(labels)}
    assert is_png(plots.confusion_matrix(matrix, labels))
    assert is_png(plots.class_f1(per_class))


def test_any_name_can_be_drawn():
    count = len(NAMES)
    assert is_png(plots.confusion_matrix(np.eye(count, dtype=int), NAMES))
    assert is_png(plots.class_f1({name: {"f1": 0.5, "support": 1} for name in NAMES}))


def test_a_name_no_font_can_draw_is_shown_by_its_number():
    assert plots.name_of(3, "\U000f0000") == "#4"


def test_a_page_of_a_validation_lists_the_names_that_no_font_can_draw():
    text = html.validation_page("a title", [], [stage({"hello": {"all": 3}, "\U000f0000": {"all": 2}})])
    assert re.search('<td class="n">2</td><td class="g">\U000f0000</td>', text)
    assert "hello" not in text


@pytest.mark.parametrize("names", [["hello"], [chr(0xF0000 + i) for i in range(plots.MOST_BARS + 1)]])
def test_a_page_of_a_validation_lists_no_names_where_the_picture_has_no_numbers(names):
    assert "no font" not in html.validation_page("a title", [], [stage({name: {"all": 3} for name in names})])


def stage(classes: dict[str, dict[str, int]]) -> dict:
    """A stage as the validation page tells of it, of nothing but its glosses."""
    return {
        "name": "landmarks", "directory": "there", "clips": 5, "quarantined": 0, "signers": 0, "numbers": [],
        "parts": [], "frames": np.arange(5), "quality": None, "classes": classes, "worst": [], "twins": [],
    }  # fmt: skip


def test_a_long_name_is_cut():
    assert len(plots.name_of(0, "x" * 200)) == plots.LONGEST_NAME


def test_the_most_confused_part_holds_the_classes_with_the_most_mistakes():
    matrix = np.eye(100, dtype=int) * 9
    matrix[7, 90] = 5
    assert {7, 90} <= set(plots.most_confused(matrix, limit=4).tolist())
    assert len(plots.most_confused(matrix)) == plots.MOST_CLASSES


def test_the_same_figures_give_the_same_picture():
    assert plots.confusion_matrix(np.eye(3, dtype=int), list("abc")) == plots.confusion_matrix(
        np.eye(3, dtype=int), list("abc")
    )


def test_training_curves_pass_over_what_is_missing_or_not_finite():
    first, second = {"epoch": 0, "train/loss": 2.0, "train/lr": 1e-3}, {"epoch": 1, "train/loss": float("nan")}
    picture = plots.training_curves([first, {**second, "val/top1": 0.5}, {}])
    assert picture
    assert is_png(picture)


@pytest.mark.parametrize("name", [*two_heads.Task.METRICS, "wer", "lr"])
def test_every_figure_of_a_training_has_its_curve(name):
    assert plots.training_curves([{"epoch": 1, f"val/{name}": 0.5}])


def test_the_curves_of_every_figure_are_no_wider_than_the_page():
    picture = plots.training_curves([{"epoch": 1, "val/loss": 1.0, "val/top1": 0.5, "val/wer": 0.5, "train/lr": 0.1}])
    assert picture
    assert html.picture(picture)["least"] <= 960


@pytest.mark.parametrize("rows", [[], [{}], [{"epoch": 0, "seconds": 3.0}]])
def test_without_figures_there_are_no_curves(rows):
    assert plots.training_curves(rows) is None


def test_the_page_loads_nothing():
    text = page(epochs=[{"epoch": 0, "train/loss": 1.0}], config="a: http://example.org")
    loads = Loads()
    loads.feed(text)
    assert len(loads.found) == 4
    assert all(found.startswith("data:image/png;base64,") for found in loads.found)
    assert not {"script", "link", "iframe", "object", "form"} & set(loads.tags)
    assert not re.search(r"url\(|@import", text)


def test_names_are_escaped():
    text = page(warnings=["<script>alert(1)</script>"], about=[("<i>", "a & b")])
    assert "<script" not in text
    assert "&lt;b&gt;&amp;" in text
    assert "a &amp; b" in text


def test_the_page_says_the_figures_and_lists_wrong_clips():
    labels, truth, _ = drawn(4, 12, 0)
    answers = np.eye(4)[truth]
    answers[3] = np.roll(answers[3], 1)
    text = of(predictions(truth, answers, labels), labels, warnings=["beware"])
    assert "91.7 %" in text
    assert "1 of 12 clips" in text
    assert "clip3" in text
    assert "beware" in text


def test_a_page_without_mistakes_says_so():
    labels, truth, _ = drawn(3, 6, 0)
    assert "every clip was recognised" in of(predictions(truth, np.eye(3)[truth], labels), labels)


def test_the_most_confident_mistake_comes_first():
    labels, truth, probabilities = drawn(5, 60, 2)
    wrong = html.wrong_clips(predictions(truth, probabilities, labels))
    assert [row["confidence"] for row in wrong] == sorted((row["confidence"] for row in wrong), reverse=True)


@pytest.mark.parametrize("glosses", [[["a"], ["a", "<b>"]], [["a", "<b>"]], [["<b>"]]])
def test_a_page_shows_sentences_and_what_is_wrong_with_them(glosses):
    table = sequences(glosses, [["a", "a"]] * len(glosses), ["a", "<b>"])
    page = of(table, ["a", "<b>"])
    assert ("top-1:" in page) == any(len(gloss) == 1 for gloss in glosses)
    assert "word error rate" in page and "missed or added" in page
    assert "<b></td>" not in page and "&lt;b&gt;" in page
    loads = Loads()
    loads.feed(page)
    assert all(source.startswith("data:image/png") for source in loads.found)


def test_of_wrong_sentences_those_with_the_most_edits_for_each_gloss_come_first():
    table = sequences([["a", "b"], ["a", "b", "a"], ["a"], ["b"]], [["a"], [], ["b", "b"], ["b"]], ["a", "b"])
    assert [(row["id"], row["answer"]) for row in html.wrong_clips(table)] == [
        ("clip2", "b b"), ("clip1", ""), ("clip0", "a")
    ]  # fmt: skip
