"""Sequences of glosses: the loss against every path there is, the decoders, the term against blank collapse."""

import itertools
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raysign import schema
from raysign.errors import TrainError
from raysign.learn import loop
from raysign.learn.labels import Labels
from raysign.learn.tasks import _decoding, ctc
from raysign.report import tally

LABELS = Labels(["a", "b", "c"])


def task(**options) -> ctc.Task:
    torch.manual_seed(0)
    return ctc.Task(ctc.Options.model_validate(options), 8, LABELS)


def told(lengths=(6, 2, 4), frames=6, seed=0, **options) -> tuple[ctc.Task, torch.Tensor]:
    """A task and the logits it gives for clips of so many real frames."""
    torch.manual_seed(seed)
    made, h = task(**options), torch.randn(len(lengths), frames, 8) * 4
    return made, made(h, torch.arange(frames) < torch.tensor(lengths)[:, None])


def likelihoods(frames: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of every sequence, summed over every path: frames (T, K+1) log-probabilities."""
    found = defaultdict(float)
    for path in itertools.product(range(frames.shape[1]), repeat=len(frames)):
        merged = tuple(symbol for symbol, _ in itertools.groupby(path) if symbol)
        found[merged] += float(np.exp(sum(frames[t, symbol] for t, symbol in enumerate(path))))
    return dict(found)


def drawn(frames: int, seed: int, sharpness: float = 2.0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(frames, 4)) * sharpness
    return x - np.log(np.exp(x).sum(1, keepdims=True))


# ---------------------------------------------------------------- decoding


@given(st.integers(1, 5), st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_a_wide_beam_finds_every_sequence_with_its_probability(frames, seed):
    x = drawn(frames, seed)
    every = likelihoods(x)
    found = dict(_decoding.beam(x, width=len(every)))
    assert set(found) == set(every)
    assert sum(every.values()) == pytest.approx(1)
    for sequence, probability in every.items():
        assert np.exp(found[sequence]) == pytest.approx(probability, rel=1e-9)


def test_paths_are_summed_before_they_compete():
    """The likeliest path is all blanks (0.6 * 0.6 = 0.36), the likeliest sequence is a (3 paths, 0.64)."""
    x = np.log(np.array([[0.6, 0.4, 1e-9, 1e-9]] * 2))
    assert _decoding.greedy(torch.tensor(x)[None]) == [()]
    (best, score), *_ = _decoding.beam(x, width=3)
    assert best == (1,)
    assert np.exp(score) == pytest.approx(0.64, abs=1e-6)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_a_narrow_beam_never_claims_more_than_there_is(frames, width, seed):
    x = drawn(frames, seed)
    every = likelihoods(x)
    for sequence, score in _decoding.beam(x, width):
        assert np.exp(score) <= every[sequence] * (1 + 1e-9)


@pytest.mark.parametrize(
    ("path", "sequence"),
    [([0, 0], ()), ([1, 1, 1], (1,)), ([1, 0, 1], (1, 1)), ([0, 2, 2, 1, 0, 3], (2, 1, 3)), ([3], (3,))],
)
def test_repetitions_are_merged_and_blanks_struck_out(path, sequence):
    sure = torch.full((1, len(path), 4), -20.0)
    sure[0, torch.arange(len(path)), torch.tensor(path)] = 0.0
    assert _decoding.greedy(sure) == [sequence]
    assert _decoding.beam(sure[0].numpy(), 4)[0][0] == sequence


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_frames_that_are_not_real_say_nothing(decoder):
    made, logits = told(decoder=decoder)
    _, longer = told(decoder=decoder, frames=6)
    longer = torch.nn.functional.pad(longer, (0, 0, 0, 5), value=ctc.NEVER)
    longer[:, 6:, 0] = 0.0
    assert made.told(logits) == made.told(longer)
    assert torch.equal(made.probabilities(logits), made.probabilities(longer))


# ---------------------------------------------------------------- loss


def test_the_loss_is_that_of_every_path_over_the_real_frames():
    made, logits = told(blank_weight=0)
    targets = torch.tensor([[1, 2, 2], [3, 0, 0], [1, 2, 0]])
    for clip, (x, length) in enumerate(zip(logits, (6, 2, 4), strict=True)):
        wanted = tuple(symbol for symbol in targets[clip].tolist() if symbol)
        probability = likelihoods(x[:length].detach().double().numpy())[wanted]
        found = made.loss(logits, targets)[clip]
        assert found.item() == pytest.approx(-np.log(probability) / len(wanted), rel=1e-4)


def test_the_probability_of_one_gloss_is_that_of_its_loss():
    made, logits = told()
    found = _decoding.single(logits)
    for gloss in (1, 2, 3):
        loss = made.sums(logits, torch.full((3, 1), gloss))["loss"]
        assert torch.allclose(-found[:, gloss - 1].float(), loss, rtol=1e-4)
    assert torch.allclose(made.probabilities(logits), found.exp() / found.exp().sum(1, keepdim=True))


def test_a_clip_too_short_for_its_glosses_teaches_nothing_and_is_counted():
    made, logits = told(lengths=(6, 2, 0), blank_weight=0)
    targets = torch.tensor([[1, 2], [2, 2], [1, 0]])  # between two that are alike there must be a blank
    loss = made.loss(logits, targets)
    assert made.sums(logits, targets)["short"].tolist() == [0, 1, 1]
    assert loss[0] > 0 and loss[1:].tolist() == [0, 0]
    (gradient,) = torch.autograd.grad(loss.sum(), made.head.weight, retain_graph=True)
    (alone,) = torch.autograd.grad(loss[0], made.head.weight)
    assert torch.allclose(gradient, alone)


# ---------------------------------------------------------------- against blank collapse


def test_the_gradient_of_the_whole_loss_is_its_slope():
    made, targets = task(blank_weight=0.7, blank_target=0.1), torch.tensor([[1, 2], [3, 0]])
    never = torch.tensor([0.0] + [ctc.NEVER] * 3, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor([5, 3])[:, None]

    def loss(x):
        return made.loss(torch.where(mask[..., None], torch.log_softmax(x, dim=2), never), targets)

    x = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (x,))


def term(made: ctc.Task, logits: torch.Tensor) -> torch.Tensor:
    """What the term against blanks adds to the loss of each clip."""
    targets = torch.ones(len(logits), 1, dtype=torch.int64)
    return made.loss(logits, targets) - task(blank_weight=0).loss(logits, targets)


def test_the_term_is_the_mean_probability_of_the_blank_in_real_frames_above_the_target():
    made, logits = told(blank_weight=0.5, blank_target=0.2)
    mean = torch.stack([x[:length, 0].exp().mean() for x, length in zip(logits, (6, 2, 4), strict=True)])
    assert torch.allclose(term(made, logits), 0.5 * (mean - 0.2).clamp(min=0), atol=1e-5)
    assert torch.allclose(term(task(blank_weight=0.5, blank_target=0.99), logits), torch.zeros(3), atol=1e-5)


def test_a_step_along_the_gradient_of_the_term_makes_blanks_rarer_where_they_are_collapsed():
    made, h, mask = task(blank_weight=1.0), torch.randn(4, 9, 8), torch.ones(4, 9, dtype=torch.bool)
    with torch.no_grad():
        made.head.bias[0] = 6.0
    assert not any(sequence["decoded"] for sequence in made.told(made(h, mask)))
    before = term(made, made(h, mask)).mean()
    (gradient,) = torch.autograd.grad(before, made.head.bias)
    with torch.no_grad():
        made.head.bias.sub_(gradient)
    assert term(made, made(h, mask)).mean() < before


def test_a_collapse_is_told_once_and_only_when_it_lasts(caplog):
    made, healthy = task(), {"train/blank": 0.99, "train/silent": 1.0, "val/blank": 0.9, "val/silent": 0.5}
    healthy["train/short"] = 0.1
    collapsed = {**healthy, "val/blank": 1.0, "val/silent": 1.0}
    for figures in (collapsed, healthy, *[collapsed] * 9):
        made.watch(figures)
    assert not caplog.records
    for _ in range(20):
        made.watch(collapsed)
    assert len(caplog.records) == 1
    assert "task.blank_weight" in caplog.text


def test_a_model_that_hands_on_too_few_frames_is_refused():
    torch.manual_seed(0)
    h, wanted = torch.randn(3, 1, 8), ctc.targets(clips(["a", "b"], ["a", "b", "c"], ["a", "b"]), LABELS)
    made = task()
    short = made.sums(made(h, torch.ones(3, 1, dtype=torch.bool)), wanted)["short"].mean().item()
    with pytest.raises(TrainError, match="100% of the clips with fewer frames"):
        made.watch({"train/short": short, "train/blank": 0.0, "train/silent": 0.0})


# ---------------------------------------------------------------- targets, metrics


def clips(*glosses, frames=9) -> pa.Table:
    return pa.table({"id": [f"clip{i}" for i in range(len(glosses))], "gloss": pa.array(glosses, pa.list_(pa.string())),
                     "frames": [frames] * len(glosses)})  # fmt: skip


def test_glosses_are_numbered_from_one_and_padded_with_blanks():
    assert ctc.targets(clips(["b"], ["c", "a", "a"]), LABELS).tolist() == [[2, 0, 0], [3, 1, 1]]


def test_metrics_count_what_is_decoded():
    made, sure = task(), torch.full((3, 4, 4), -20.0)
    for clip, path in enumerate(([1, 1, 0, 2], [0, 0, 0, 0], [3, 0, 3, 0])):
        sure[clip, torch.arange(4), torch.tensor(path)] = 0.0
    found = made.sums(sure, torch.tensor([[1, 2, 0], [1, 0, 0], [3, 2, 1]]))
    assert set(found) == {*made.METRICS, "glosses"}
    assert found["top1"].tolist() == [1, 0, 0]
    assert found["wer"].tolist() == [0, 1, 2]
    assert found["glosses"].tolist() == [2, 1, 3]
    assert found["blank"].tolist() == [0.25, 1, 0.5]
    assert found["silent"].tolist() == [0, 1, 0]


def test_word_errors_and_blanks_of_a_training_are_those_of_an_evaluation():
    made, logits = told(lengths=(6, 5, 4, 6), decoder="greedy")
    table = clips(["a", "b", "c", "a"], ["b", "c"], ["c", "a"], ["b", "a", "b"])
    sums = made.sums(logits, ctc.targets(table, LABELS))
    found = loop._averaged({name: value.sum() for name, value in sums.items()}, made, len(table), "val")
    rows = [{**row, **more} for row, more in zip(table.to_pylist(), made.told(logits), strict=True)]
    scored = tally.by_top(schema.to_table(rows, schema.PREDICTIONS)).shares(np.ones((1, len(rows))))
    assert set(found) == {f"val/{name}" for name in made.METRICS}
    assert found["val/wer"] == scored["wer"] > 0
    assert found["val/blank"] == pytest.approx(scored["blank"][0])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (clips(["a"], []), "without a gloss"),
        (clips(["a"], ["b", "z"]), "'z' has no training clip"),
        (clips(["a"], ["b", "b"], frames=2), r"found 1 with fewer frames.*clip1 \(2 of 3\)"),
    ],
)
def test_what_cannot_be_trained_on_is_named(table, message):
    with pytest.raises(TrainError, match=message):
        ctc.targets(table, LABELS)
