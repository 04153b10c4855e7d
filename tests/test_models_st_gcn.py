"""ST-GCN and ST-GCN++: the published networks, written down plainly, with the weights of ours."""

from typing import Any

import pytest
import torch
from test_models import CHANNELS, network
from torch import nn

from raysign import config
from raysign.errors import ConfigError
from raysign.graph import adjacency
from raysign.learn import imported
from raysign.learn.labels import Labels
from raysign.learn.recogniser import Recogniser, build
from raysign.models._graph import graph_convolution
from raysign.models.st_gcn import motion
from raysign.skeleton import LAYOUTS, Skeleton

KINDS = ("st_gcn", "st_gcn_pp")
each = pytest.mark.parametrize("kind", KINDS)
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
WIDTHS = "model.widths=[12, 12, 18]"


def published(kind: str, layout: str, glosses: int, *overrides: str) -> Recogniser:
    """As published: x, y and z of one layout, the mean over time, one linear layer."""
    given = ("source.kind=synthetic", f"model.kind={kind}", "model.inputs=[x, y, z]", "task.pool=mean", *overrides)
    labels = Labels([str(i) for i in range(glosses)], [])
    return build(config.load([*given, "task.dropout=0"]), LAYOUTS[layout], CHANNELS, labels)


@pytest.mark.parametrize(
    ("kind", "layout", "glosses", "parameters"),
    [
        ("st_gcn", "ntu_25", 60, 3_098_832),
        ("st_gcn", "openpose_18", 400, 3_177_140),
        ("st_gcn_pp", "ntu_25_pyskl", 60, 1_403_144),
        ("st_gcn_pp", "coco_17", 60, 1_393_016),
    ],
)
def test_there_are_as_many_parameters_as_in_the_published_network(kind, layout, glosses, parameters):
    assert sum(p.numel() for p in published(kind, layout, glosses).parameters()) == parameters


def names(prefix: str, norms: str, weighted: str, *others: str) -> set[str]:
    """Words of norms and of layers with weight and bias, below a prefix; `others` as they are."""
    found = {f"{prefix}{norm}.{each}" for norm in norms.split() for each in NORM}
    found |= {f"{prefix}{layer}.{each}" for layer in weighted.split() for each in NORM[:2]}
    return found | {prefix + other for other in others}


def renamed(kind: str, theirs: set[str]) -> set[str]:
    told = config.load(["source.kind=synthetic", f"model.kind={kind}"])
    return {imported.renamed(name, told) for name in theirs}


def of_st_gcn() -> set[str]:
    found = names("", "data_bn", "fcn", "A", *(f"edge_importance.{i}" for i in range(10)))
    for i in range(10):
        found |= names(f"st_gcn_networks.{i}.", "tcn.0 tcn.3", "gcn.conv tcn.2")
    return found.union(*(names(f"st_gcn_networks.{i}.residual.", "1", "0") for i in (4, 7)))


def of_pyskl_st_gcn() -> set[str]:
    found = names("backbone.", "data_bn", "") | names("cls_head.", "", "fc_cls")
    for i in range(10):
        found |= names(f"backbone.gcn.{i}.", "gcn.bn tcn.bn", "gcn.conv tcn.conv", "gcn.A", "gcn.PA")
    return found.union(*(names(f"backbone.gcn.{i}.residual.", "bn", "conv") for i in (4, 7)))


def of_pyskl_st_gcn_pp() -> set[str]:
    found = names("backbone.", "data_bn", "") | names("cls_head.", "", "fc_cls")
    for i in range(10):
        found |= names(f"backbone.gcn.{i}.", "gcn.bn tcn.transform.0 tcn.bn", "gcn.conv tcn.transform.2", "gcn.A")
        found |= names(f"backbone.gcn.{i}.tcn.branches.", "0.1 1.1 2.1 3.1 4.1", "0.0 1.0 2.0 3.0 4.0 5")
        found |= names(f"backbone.gcn.{i}.tcn.branches.", "", "0.3.conv 1.3.conv 2.3.conv 3.3.conv")
    found = found.union(*(names(f"backbone.gcn.{i}.gcn.down.", "1", "0") for i in (0, 4, 7)))
    return found.union(*(names(f"backbone.gcn.{i}.residual.", "bn", "conv") for i in (4, 7)))


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [("st_gcn", of_st_gcn), ("st_gcn", of_pyskl_st_gcn), ("st_gcn_pp", of_pyskl_st_gcn_pp)],
    ids=["st-gcn", "pyskl's st-gcn", "pyskl's st-gcn++"],
)
def test_published_names_become_those_of_the_recogniser(kind, theirs):
    assert renamed(kind, theirs()) == set(published(kind, "ntu_25_pyskl", 60).state_dict())


def test_the_weights_of_both_streams_have_a_place():
    net = network("st_gcn", "classification", LAYOUTS["hand_21"], "model.motion=true")
    theirs = {f"{stream}_stream.{name}" for stream in ("origin", "motion") for name in of_st_gcn() if "fcn" not in name}
    assert renamed("st_gcn", theirs) == {name for name in net.state_dict() if not name.startswith("task.")}


# ------------------------------------------------------------- the networks, plainly, (N, C, T, V); names as published


class PlainGraph(nn.Module):
    def __init__(self, channels: int, width: int, kinds: int):
        super().__init__()
        self.kinds, self.conv = kinds, nn.Conv2d(channels, width * kinds, 1)

    def forward(self, x: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nkctv,kvw->nctw", self.conv(x).unflatten(1, (self.kinds, -1)), graph)


class PlainStGcn(nn.Module):
    A: torch.Tensor
    st_gcn_networks: Any

    def __init__(self, points: int, channels: int, widths: tuple[int, ...], graph: torch.Tensor):
        super().__init__()
        self.register_buffer("A", torch.zeros_like(graph))
        self.data_bn = nn.BatchNorm1d(points * channels)
        self.edge_importance = nn.ParameterList(torch.zeros_like(graph) for _ in widths)
        self.st_gcn_networks = nn.ModuleList()
        for i, width in enumerate(widths):
            grows = i > 0 and width > channels
            block: Any = nn.Module()
            around = nn.Conv2d(channels, width, 1, (2, 1)) if grows else None
            block.gcn = PlainGraph(channels, width, len(graph))
            along = nn.Conv2d(width, width, (9, 1), (2 if grows else 1, 1), (4, 0))
            block.tcn = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), along, nn.BatchNorm2d(width))
            block.residual = nn.Sequential(around, nn.BatchNorm2d(width)) if around else nn.Identity()
            self.st_gcn_networks.append(block)
            channels = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, t, v = x.shape
        x = self.data_bn(x.permute(0, 3, 1, 2).reshape(n, v * c, t)).view(n, v, c, t).permute(0, 2, 3, 1)
        for i, block in enumerate(self.st_gcn_networks):
            h = block.tcn(block.gcn(x, self.A * self.edge_importance[i]))
            x = torch.relu(h + block.residual(x) if i else h)
        return x.mean(3).transpose(1, 2)


class PlainPlusPlus(nn.Module):
    gcn: Any

    def __init__(self, points: int, channels: int, widths: tuple[int, ...], graph: torch.Tensor):
        super().__init__()
        self.data_bn, self.gcn = nn.BatchNorm1d(points * channels), nn.ModuleList()
        for i, width in enumerate(widths):
            stride = 2 if i > 0 and width > channels else 1
            block: Any = nn.Module()
            block.gcn = PlainGraph(channels, width, len(graph))
            block.gcn.A, block.gcn.bn = nn.Parameter(torch.zeros_like(graph)), nn.BatchNorm2d(width)
            if width != channels:
                block.gcn.down = nn.Sequential(nn.Conv2d(channels, width, 1), nn.BatchNorm2d(width))
            if i > 0 and width != channels:
                block.residual = nn.Module()
                block.residual.conv, block.residual.bn = nn.Conv2d(channels, width, 1, (2, 1)), nn.BatchNorm2d(width)
            block.tcn = nn.Module()
            block.tcn.branches = self.branches(width, stride)
            block.tcn.transform = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 1))
            block.tcn.bn = nn.BatchNorm2d(width)
            self.gcn.append(block)
            channels = width

    @staticmethod
    def branches(width: int, stride: int) -> nn.ModuleList:
        size = width // 6
        found = nn.ModuleList()
        for i in range(5):
            narrow = width - 5 * size if i == 0 else size
            last: Any = nn.MaxPool2d((3, 1), (stride, 1), (1, 0)) if i == 4 else nn.Module()
            if i < 4:
                last.conv = nn.Conv2d(narrow, narrow, (3, 1), (stride, 1), (i + 1, 0), (i + 1, 1))
                last.forward = last.conv.forward
            found.append(nn.Sequential(nn.Conv2d(width, narrow, 1), nn.BatchNorm2d(narrow), nn.ReLU(), last))
        return found.append(nn.Conv2d(width, size, 1, (stride, 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, t, v = x.shape
        x = self.data_bn(x.permute(0, 3, 1, 2).reshape(n, v * c, t)).view(n, v, c, t).permute(0, 2, 3, 1)
        for i, block in enumerate(self.gcn):
            around = block.gcn.down(x) if hasattr(block.gcn, "down") else x
            h = torch.relu(block.gcn.bn(block.gcn(x, block.gcn.A)) + around)
            h = block.tcn.bn(block.tcn.transform(torch.cat([branch(h) for branch in block.tcn.branches], 1)))
            around = block.residual.bn(block.residual.conv(x)) if hasattr(block, "residual") else x
            x = torch.relu(h + around if i else h)
        return x.mean(3).transpose(1, 2)


def drawn(net: nn.Module) -> None:
    """Every weight drawn anew, so that none can be left out unnoticed."""
    for name, value in net.state_dict().items():
        if name.endswith(("running_var", "edge_importance.0")):
            value.uniform_(0.5, 1.5)
        elif not name.endswith((".A", "num_batches_tracked")) and name != "A":
            value.normal_(0.3 if value.dim() == 1 else 0.0, 0.3)


@each
@pytest.mark.parametrize("training", [True, False])
def test_full_clips_are_told_as_by_the_published_network(kind, training):
    skeleton, widths = LAYOUTS["ntu_25"], (12, 12, 18)
    ours: Any = network(kind, "classification", skeleton, WIDTHS).encoder
    graph = torch.from_numpy(adjacency(skeleton, "spatial" if kind == "st_gcn" else "in_out"))
    plain = (PlainStGcn if kind == "st_gcn" else PlainPlusPlus)(skeleton.points, 4, widths, graph)
    drawn(ours)
    plain.load_state_dict(ours.state_dict())
    x, wanted = torch.randn(3, 11, 25, 4), torch.randn(3, 6, 18)
    for net in (ours, plain):
        net.train(training)
    h, mask = ours(x, torch.ones(3, 11, dtype=torch.bool))
    expected = plain(x.permute(0, 3, 1, 2))
    assert torch.allclose(h, expected, atol=1e-4) and mask.shape == (3, 6)
    for told in (h, expected):
        (told * wanted).sum().backward()
    theirs: Any = dict(plain.named_parameters())
    for name, p in ours.named_parameters():
        gradient = theirs[name].grad
        assert torch.allclose(p.grad, gradient, atol=1e-3 * (1 + gradient.abs().max().item())), name
    after = plain.state_dict()
    assert all(torch.allclose(value, after[name], atol=1e-5) for name, value in ours.state_dict().items())


# ---------------------------------------------------------------------------------------- what they are made of


@pytest.mark.parametrize(("strategy", "hop"), [("uniform", 1), ("distance", 2), ("spatial", 2), ("in_out", 1)])
def test_a_graph_convolution_sums_what_each_kind_of_neighbour_gives(strategy, hop):
    graph = torch.from_numpy(adjacency(LAYOUTS["hand_21"], strategy, hop))
    convolution, h = nn.Conv2d(5, 7 * len(graph), 1), torch.randn(2, 3, 21, 5)
    weight, bias = convolution.parameters()
    weights, biases = weight.view(-1, 7, 5), bias.view(-1, 7)
    parts = [part.T @ (h @ w.T + b) for part, w, b in zip(graph, weights, biases, strict=True)]
    assert torch.allclose(graph_convolution(h, graph, convolution), torch.stack(parts).sum(0), atol=1e-5)


def test_motion_is_how_a_point_leaves_its_path_and_nothing_at_the_ends_of_a_clip():
    x, mask = torch.randn(2, 9, 4, 3), torch.arange(9) < torch.tensor([[9], [5]])
    found = motion(x, mask)
    assert torch.equal(found[:, [0, -1]], torch.zeros(2, 2, 4, 3)) and not found[1, 4:].any()
    assert torch.allclose(found[1, 1:4], x[1, 1:4] - (x[1, :3] + x[1, 2:5]) / 2)
    assert torch.allclose(motion(x + torch.arange(9.0).view(9, 1, 1), mask), found, atol=1e-5)
    assert [motion(x[:, :t], mask[:, :t]).any().item() for t in (1, 2, 3)] == [False, False, True]


def test_one_layer_over_two_streams_is_the_sum_of_two_networks():
    net = network("st_gcn", "classification", LAYOUTS["hand_21"], "model.motion=true", "task.pool=mean", WIDTHS).eval()
    x, mask = torch.randn(2, 8, 21, 4), torch.ones(2, 8, dtype=torch.bool)
    head, stream = net.task.head[1], net.encoder.motion_stream
    assert net.encoder.width == 36
    both = net(x[:, None], torch.tensor([8, 8]), torch.tensor([1, 1]))
    net.encoder.motion_stream = None
    one, other = (h.mean(1) for h, _ in (net.encoder(x, mask), stream(motion(x, mask), mask)))
    expected = one @ head.weight[:, :18].T + other @ head.weight[:, 18:].T + head.bias
    assert torch.allclose(both, expected, atol=1e-5)


def test_without_edge_importance_every_block_has_the_same_graph():
    net = network("st_gcn", "classification", LAYOUTS["hand_21"], "model.edge_importance=false", WIDTHS)
    weighted = network("st_gcn", "classification", LAYOUTS["hand_21"], WIDTHS).eval()
    assert not [name for name, _ in net.named_parameters() if "edge_importance" in name]
    weighted.load_state_dict(net.state_dict(), strict=False)
    clips = torch.randn(2, 1, 8, 21, 4), torch.tensor([8, 3]), torch.tensor([1, 1])
    assert torch.equal(net.eval()(*clips), weighted(*clips))


@each
@pytest.mark.parametrize(("strategy", "hop"), [("spatial", 2), ("distance", 2), ("uniform", 1), ("in_out", 1)])
def test_every_graph_fits_a_skeleton_of_ones_own(kind, strategy, hop):
    own = Skeleton("own", (("body", 5),), ((0, 1), (1, 2), (3, 4)))  # in two pieces
    given = (f"model.strategy={strategy}", f"model.max_hop={hop}", WIDTHS)
    net = network(kind, "classification", own, *given)
    x, mask = torch.randn(2, 7, 5, 4), torch.ones(2, 7, dtype=torch.bool)
    h, merged = net.encoder(x, mask)
    assert h.isfinite().all() and h.shape == (2, 4, 18) and merged.all()


@each
def test_a_graph_of_neighbours_alone_refuses_further_hops(kind):
    with pytest.raises(ConfigError, match="max_hop: found 2, expected 1: in_out knows neighbours only"):
        network(kind, "classification", LAYOUTS["hand_21"], "model.strategy=in_out", "model.max_hop=2")


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [("st_gcn", "kernel_size", "4"), ("st_gcn", "widths", "[]"), ("st_gcn_pp", "widths", "[5]")],
)
def test_sizes_that_cannot_be_are_refused(kind, name, value):
    with pytest.raises(ConfigError, match=f"model.{name}"):
        config.load(["source.kind=synthetic", f"model.kind={kind}", f"model.{name}={value}"])
