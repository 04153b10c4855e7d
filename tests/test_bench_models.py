"""The benchmark of models: that its numbers are there, and that its baseline computes what ours does."""

import json

import torch

from raysign.bench import _original, models
from raysign.report import network as costs
from raysign.skeleton import LAYOUTS


def test_the_models_are_measured_and_the_last_line_says_all(capsys):
    found = models.run(kinds=("stgcn",), layout="hand_21", frames=6, batch=2, threads=1, rounds=1)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert found["peak_gflops"] > 0 and found["device"]
    assert {name for name, value in found["models"]["stgcn"].items() if value > 0} == set(found["models"]["stgcn"])


def test_st_gcn_and_its_original_give_the_same_logits():
    inputs = costs.clips(2, 9, LAYOUTS["ntu_25"], models.CHANNELS)
    found = _original.against_original(LAYOUTS["ntu_25"], models.CHANNELS, models.LABELS, inputs, rounds=1)
    assert found["difference"] <= _original.SAME
    assert found["float32"] > 0 and found["float32_answers"] > 0
    assert "cpu_bf16" in found or "cuda_bf16_compiled" in found


def test_bf16_is_compared_with_what_float32_says():
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(8, 5), torch.randn(6, 8)
    found = _original._in_bf16("half", (layer, (x,)), (torch.nn.Sequential(layer), (x,)), rounds=1)
    assert 0 < found["half_difference"] < 0.05
    assert found["half_same"] > 0.5
