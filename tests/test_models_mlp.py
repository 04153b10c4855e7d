"""The perceptrons over frames, with and without residuals: sizes, names and results are those of published ones."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from raysign import config
from raysign.clips.recipes import hand_84
from raysign.learn import imported
from raysign.learn.labels import Labels
from raysign.learn.recogniser import Recogniser, build

LETTERS = Labels([chr(ord("A") + i) for i in range(26)])
FEATURES = 84
SIZES = {"mlp": (256, 128, 64), "mlp_residual": (512, 256, 128)}
PLAIN = ["task.pool=mean", "task.dropout=0"]
both = pytest.mark.parametrize("kind", SIZES)


def network(kind: str, *overrides: str) -> Recogniser:
    """For clips of one hand as 84 features, of which the visibility is not told."""
    torch.manual_seed(0)
    tree = config.load(["source.kind=synthetic", "prepare.kind=hand_84", f"model.kind={kind}", *PLAIN, *overrides])
    channels = hand_84.channels(tree.prepare, "hand_21")
    return build(tree, hand_84.skeleton(tree.prepare, "hand_21"), channels, LETTERS)


def layer(size: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, out), nn.BatchNorm1d(out), nn.ReLU(), nn.Dropout(0))


class Reference(nn.Module):
    """The published networks, of torch's layers alone, on single frames."""

    def __init__(self, kind: str, hidden: tuple[int, ...]):
        super().__init__()
        if kind == "mlp":
            layers = [part for sizes in pairwise((FEATURES, *hidden)) for part in layer(*sizes)]
            self.network = nn.Sequential(*layers, nn.Linear(hidden[-1], 26))
        else:
            self.input_proj, self.output = layer(FEATURES, hidden[0]), nn.Linear(hidden[-1], 26)
            self.blocks = nn.ModuleList(
                nn.ModuleDict({"block": layer(*sizes), "skip": nn.Linear(*sizes)}) for sizes in pairwise(hidden)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if hasattr(self, "network"):
            return self.network(x)
        x = self.input_proj(x)
        for block in self.blocks:
            x = block["block"](x) + block["skip"](x)  # pyright: ignore[reportIndexIssue]
        return self.output(x)


def renamed(kind: str, names) -> dict[str, str]:
    """What each published name is called here."""
    told = config.load(["source.kind=synthetic", f"model.kind={kind}"])
    return {name: imported.renamed(name, told) for name in names}


@pytest.mark.parametrize(("kind", "count"), [("mlp", 65_498), ("mlp_residual", 377_114)])
def test_networks_have_the_parameters_of_published_ones(kind, count):
    assert sum(p.numel() for p in network(kind).parameters()) == count
    assert sum(p.numel() for p in Reference(kind, SIZES[kind]).parameters()) == count


@both
def test_published_names_are_all_names(kind):
    ours = network(kind).state_dict()
    theirs = Reference(kind, SIZES[kind]).state_dict()
    found = renamed(kind, theirs)
    assert sorted(found.values()) == sorted(ours)
    assert all(ours[found[name]].shape == value.shape for name, value in theirs.items())


@both
@pytest.mark.parametrize("training", [True, False])
def test_with_published_weights_single_frames_are_told_as_published(kind, training):
    theirs = Reference(kind, SIZES[kind]).eval()
    x = torch.randn(50, FEATURES)
    theirs.train()(torch.randn(200, FEATURES) * 3 + 1)  # running statistics that are not those of a new network
    ours = network(kind, "model.dropout=0")
    names = renamed(kind, theirs.state_dict())
    ours.load_state_dict({names[name]: value for name, value in theirs.state_dict().items()})
    ones, clips = torch.ones(50, dtype=torch.int64), torch.cat([x, torch.full((50, 1), 5.0)], 1)
    told = ours.train(training)(clips[:, None, None, None], ones, ones)
    assert torch.allclose(told, theirs.train(training)(x), atol=1e-5)
    after = theirs.state_dict()
    assert all(torch.allclose(ours.state_dict()[names[name]], value, atol=1e-5) for name, value in after.items())


@both
def test_frames_of_longer_clips_are_seen_one_by_one(kind):
    encoder = network(kind, "model.dropout=0").encoder.train()
    x, mask = torch.randn(4, 6, 1, FEATURES), torch.ones(4, 6, dtype=torch.bool)
    together = encoder(x, mask)[0]
    single = encoder(x.flatten(0, 1)[:, None], mask.flatten()[:, None])[0]
    assert torch.allclose(together.flatten(0, 1), single[:, 0], atol=1e-5)


@both
def test_hidden_layers_may_be_of_any_size_and_number(kind):
    net = network(kind, "model.hidden=[32, 32]")
    assert net.encoder.width == 32
    assert net.task.head[-1].in_features == 32
    assert sum(p.numel() for p in net.parameters() if p.dim() == 2) == FEATURES * 32 + 32 * 32 + 32 * 26


@both
def test_weights_begin_with_the_variance_of_rectified_features(kind):
    first = next(part for part in network(kind, "model.hidden=[4096]").encoder.modules() if isinstance(part, nn.Linear))
    assert first.weight.var().item() == pytest.approx(2 / FEATURES, rel=0.02)
    assert not first.bias.any()
