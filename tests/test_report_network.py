"""The summary of a network: every weight once, operations as counted by hand, and what it says in lines."""

import pytest
import torch

from raysign import config
from raysign.clips import form
from raysign.kinds import kinds
from raysign.learn.labels import Labels
from raysign.learn.recogniser import build
from raysign.report import network as costs

FORM = ("source.kind=synthetic", "prepare.kind=centered")


def found(*words: str, frames: int = 12, batch: int = 2) -> costs.Summary:
    tree = config.load([*FORM, *words])
    return costs.measure(tree, *form.expected(tree, "hand_21"), frames, batch, glosses=5)


@pytest.mark.parametrize("task", kinds("task"))
@pytest.mark.parametrize("kind", kinds("model"))
def test_each_weight_of_each_model_is_in_one_layer(kind, task):
    summary = found(f"model.kind={kind}", f"task.kind={task}")
    assert sum(layer.parameters for layer in summary.layers) == summary.parameters >= summary.trainable > 0
    assert summary.flops > 0 and summary.weights >= 4 * summary.parameters and summary.activations > 0
    assert summary.latency > 0 and summary.speed > 0
    text = costs.render(summary)
    assert all(layer.name in text for layer in summary.layers)
    assert f"{summary.parameters:,}" in text


def test_operations_and_kept_tensors_grow_with_frames_and_clips():
    few, more = (found("model.kind=stgcn", frames=frames, batch=frames) for frames in (8, 16))
    assert 1.5 * few.flops < more.flops < 2.5 * few.flops
    assert 3 * few.activations < more.activations < 5 * few.activations


def test_operations_are_those_of_the_matrix_products():
    linear = torch.nn.Linear(7, 5)
    assert costs.operations(linear, (torch.randn(3, 7),)) == 2 * 3 * 7 * 5  # pyright: ignore[reportArgumentType]


def test_operations_of_recurrences_are_not_hidden():
    lstm = torch.nn.LSTM(6, 4, batch_first=True)
    assert costs.operations(lstm, (torch.randn(1, 9, 6),)) == 2 * 9 * (6 + 4) * 16  # pyright: ignore


def test_measuring_changes_no_weight():
    tree = config.load(FORM)
    network = build(tree, *form.expected(tree, "hand_21"), Labels(["a", "b"]))
    before = {name: value.clone() for name, value in network.named_parameters()}
    inputs = costs.clips(2, 6, *form.expected(tree, "hand_21"))
    costs.step_memory(network, inputs, torch.tensor([0, 1]))
    assert all(torch.equal(before[name], value) for name, value in network.named_parameters())
    assert all(value.grad is None for value in network.parameters())
