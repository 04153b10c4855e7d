"""The bidirectional LSTM: its size, what padding may not do, and agreement with torch on a clip alone."""

import pytest
import torch

from raysign import config
from raysign.clips.handcrafted import PHONOLOGICAL
from raysign.clips.recipes._features import SKELETON
from raysign.learn.labels import Labels
from raysign.learn.recogniser import Recogniser, build

CHANNELS = (*PHONOLOGICAL, "visibility")


def network(*overrides: str) -> Recogniser:
    torch.manual_seed(0)
    tree = config.load(["source.kind=synthetic", "model.kind=bilstm", "task.kind=ctc", *overrides])
    return build(tree, SKELETON, CHANNELS, Labels([f"sign{i}" for i in range(20)])).eval()


def test_with_36_features_and_20_glosses_it_has_as_many_weights_as_the_layers_add_up_to():
    parts: dict[str, int] = dict.fromkeys(["project", "lstm", "norm", "head"], 0)
    for name, p in network().named_parameters():
        parts[name.split(".")[1]] += p.numel()
    assert parts == {"project": 2368, "lstm": 66560, "norm": 256, "head": 2709}
    assert sum(parts.values()) == 71893


@pytest.mark.parametrize("layers", [1, 3])
def test_a_clip_in_a_batch_is_read_as_torch_reads_it_alone(layers):
    encoder = network(f"model.layers={layers}").encoder
    x, lengths = torch.randn(4, 9, 1, 36), [3, 9, 0, 1]
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    h, told = encoder(x, mask)
    assert torch.equal(told, mask)
    assert not h[~mask].any()
    for row, length in enumerate(lengths):
        if length:
            alone = encoder.norm(encoder.lstm(encoder.project(x[row : row + 1, :length, 0]))[0])[0]
            assert torch.allclose(h[row, :length], alone, atol=1e-6)


def test_what_lies_behind_a_clip_gets_no_gradient():
    encoder, x = network().encoder, torch.randn(3, 7, 1, 36, requires_grad=True)
    mask = torch.arange(7) < torch.tensor([4, 7, 0])[:, None]
    encoder(x, mask)[0].square().sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert not x.grad[~mask].any()
    assert x.grad[mask].abs().sum(dim=(1, 2)).all()


def test_the_first_frame_knows_the_last_and_the_other_way_round():
    encoder, x = network().encoder, torch.randn(1, 6, 1, 36, requires_grad=True)
    h, _ = encoder(x, torch.ones(1, 6, dtype=torch.bool))
    for told, asked in ((0, 5), (5, 0)):
        (gradient,) = torch.autograd.grad(h[0, told].square().sum(), x, retain_graph=True)
        assert gradient[0, asked].any()
