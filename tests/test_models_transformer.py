"""The FSL-105 Transformer: its size, its published names, and that it is the transformer that torch has."""

import pytest
import torch

from raysign import config
from raysign.clips.recipes import fsl_156
from raysign.errors import ConfigError
from raysign.learn import imported
from raysign.learn.labels import Labels
from raysign.learn.recogniser import Recogniser, build
from raysign.models import transformer

CHANNELS = ("x", "y", "visibility")
LABELS = Labels([f"sign{i}" for i in range(105)], [f"kind{i}" for i in range(10)])
LINEARS = [f"attention.W_{name}" for name in "qkvo"] + ["feed_forward.linear1", "feed_forward.linear2"]
PUBLISHED = [
    "cls_token", "pos_encoder.pe", "embedding.weight", "embedding.bias", "input_norm.gamma", "input_norm.beta",
    *(f"encoder_layers.{i}.{name}.{of}" for i in range(4) for name in LINEARS for of in ("weight", "bias")),
    *(f"encoder_layers.{i}.residual{n}.norm.{of}" for i in range(4) for n in (1, 2) for of in ("gamma", "beta")),
    *(f"{head}_head.{n}.{of}" for head in ("gloss", "category") for n in (0, 3) for of in ("weight", "bias")),
]  # fmt: skip


def network(*overrides: str) -> Recogniser:
    torch.manual_seed(0)
    tree = config.load(["source.kind=synthetic", "model.kind=transformer", "task.kind=two_heads", *overrides])
    return build(tree, fsl_156.SKELETON, CHANNELS, LABELS)


@pytest.mark.parametrize("pooling", ["frames", "cls"])
def test_it_has_the_published_weights_and_no_others(pooling):
    net = network(f"model.pooling={pooling}")
    assert sum(p.numel() for p in net.parameters()) == 3_280_627
    told = config.load(["source.kind=synthetic", "model.kind=transformer"])
    names = [imported.renamed(name, told) for name in PUBLISHED]
    assert sorted(name for name in names if name) == sorted(net.state_dict())


def reference(encoder: transformer.Encoder) -> torch.nn.TransformerEncoder:
    """torch's own encoder layers with the same weights."""
    layer = torch.nn.TransformerEncoderLayer(256, 8, 1024, 0.0, norm_first=True, layer_norm_eps=1e-6, batch_first=True)
    whole = torch.nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
    for mine, theirs in zip(encoder.encoder_layers, whole.layers, strict=True):
        state, found = mine.state_dict(), {}
        for of in ("weight", "bias"):
            found[f"self_attn.in_proj_{of}"] = torch.cat([state[f"attention.W_{name}.{of}"] for name in "qkv"])
            found[f"self_attn.out_proj.{of}"] = state[f"attention.W_o.{of}"]
            for n in (1, 2):
                found[f"linear{n}.{of}"] = state[f"feed_forward.linear{n}.{of}"]
                found[f"norm{n}.{of}"] = state[f"residual{n}.norm.{of}"]
        theirs.load_state_dict(found)
    return whole.eval()


@pytest.mark.parametrize("pooling", ["frames", "cls"])
def test_its_layers_are_those_of_torch(pooling):
    encoder = network(f"model.pooling={pooling}").eval().encoder
    for p in encoder.parameters():
        p.data += torch.randn_like(p) * 0.02  # norms and biases too
    x, mask = torch.rand(3, 11, 78, 2), torch.arange(11) < torch.tensor([11, 4, 1])[:, None]
    given = torch.nn.functional.linear(x.flatten(2), encoder.embedding.weight, encoder.embedding.bias)
    hidden = ~mask
    if pooling == "cls":
        given, hidden = torch.cat([encoder.cls_token.expand(3, 1, 256), given], 1), torch.cat([~mask[:, :1], ~mask], 1)
    angles = [[place / 10000 ** (2 * i / 256) for i in range(128)] for place in range(given.shape[1])]
    given[..., ::2] += torch.tensor(angles).sin()
    given[..., 1::2] += torch.tensor(angles).cos()
    given = torch.nn.functional.layer_norm(given, (256,), encoder.input_norm.weight, encoder.input_norm.bias, 1e-6)
    expected = reference(encoder)(given, src_key_padding_mask=hidden)
    h, real = encoder(x, mask)
    if pooling == "cls":
        assert real.tolist() == [[True], [True], [True]]
        assert torch.allclose(h, expected[:, :1], atol=1e-4)
    else:
        assert torch.allclose(h[mask], expected[mask], atol=1e-4)


@pytest.mark.parametrize("pooling", ["frames", "cls"])
def test_nothing_seen_and_a_very_long_clip_give_numbers(pooling):
    net = network(f"model.pooling={pooling}", "model.n_layers=1")
    x = torch.rand(2, 1, 400, 78, 3)
    told = net(x, torch.tensor([400, 0]), torch.tensor([1, 1]))
    assert told.isfinite().all()
    told.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_heads_that_do_not_share_out_the_features_are_told():
    with pytest.raises(ConfigError, match="emb_dim 20 is not even and a multiple of n_heads 8"):
        network("model.emb_dim=20")
