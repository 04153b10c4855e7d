"""Weights of other programs: by whatever names and in whatever file they come, or refused in one line."""

import collections
import json
import os
import pickle
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from raysign import config
from raysign.clips import form
from raysign.errors import BundleError, ConfigError
from raysign.infer.predictor import Predictor
from raysign.kinds import kind_module, kinds
from raysign.learn import bundle as bundles
from raysign.learn import foreign, labels
from raysign.learn.imported import bundle_of, renamed
from raysign.learn.labels import Labels
from raysign.learn.recogniser import build
from raysign.schema import Landmarks

GLOSSES = list("abcde")
LAYOUT = "ntu_25"
PUBLISHED = [kind for kind in kinds("model") if hasattr(kind_module("model", kind), "PUBLISHED")]
SMALL = ("model.kind=stgcn", "model.channels=4", "model.width=8", "model.num_blocks=1", "task.pool=mean")


def settings(*words: str) -> config.Config:
    return config.load(["source.kind=synthetic", "prepare.kind=centered", *words])


def network(tree: config.Config, seed: int = 3):
    torch.manual_seed(seed)
    return build(
        tree, *form.expected(tree, "hand_21" if "hand" in tree.prepare.kind else LAYOUT), Labels(GLOSSES, ["k", "l"])
    ).eval()


def original_name(ours: str, tree: config.Config) -> str:
    """A published name that is renamed to ours."""
    starts = {"encoder.": ("", "backbone."), "task.": ("",),
              "task.head.1.": ("fcn.", "output.", "network.12.", "cls_head.fc_cls."),
              "task.gloss_head.0.": ("gloss_head.",), "task.category_head.0.": ("category_head.",)}  # fmt: skip
    names = [start + ours.removeprefix(to) for to in starts if ours.startswith(to) for start in starts[to]]
    return next(name for name in names if renamed(name, tree) == ours)


def saved(path: Path, tree: dict, **how) -> Path:
    torch.save(tree, path, **how)
    return path


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return network(settings(*SMALL)).state_dict()


def same(found: dict, wanted: dict) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_weights_by_their_published_names_give_the_network_that_they_were(kind, tmp_path):
    heads = "gloss" in "".join(kind_module("model", kind).PUBLISHED)
    tree = settings(f"model.kind={kind}", "task.kind=two_heads" if heads else "task.pool=mean")
    if kind == "gru":
        tree = settings("model.kind=gru", "task.kind=two_heads", "task.hidden=[]")
    wanted = network(tree).state_dict()
    file = saved(tmp_path / "a.pt", {original_name(name, tree): value for name, value in wanted.items()})
    made, said = bundle_of(file, tree, LAYOUT)
    assert same(made.network.state_dict(), wanted)
    assert said[0] == f"taken: {len(wanted)} of {len(wanted)} weights"
    assert made.labels == [f"class_{i}" for i in range(5)]


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("place", [None, "model_state_dict", "state_dict", "model"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_is_read_however_it_was_wrapped_and_written(prefix, place, zipped, weights, tmp_path):
    named = collections.OrderedDict((prefix + name, value) for name, value in weights.items())
    more = {"epoch": 3, "val_accuracy": np.float64(0.5), "args": None, "label_mapping": dict(enumerate(GLOSSES))}
    tree = named if place is None else {**more, place: named}
    file = saved(tmp_path / "a.pt", tree, _use_new_zipfile_serialization=zipped)
    made, _ = bundle_of(file, settings(*SMALL), LAYOUT)
    assert same(made.network.state_dict(), weights)
    assert (made.labels == GLOSSES) == (place is not None)


def test_weights_are_seen_in_the_shape_of_the_network(weights, tmp_path):
    other = {name: value[..., None, None] if value.dim() == 2 else value for name, value in weights.items()}
    made, _ = bundle_of(saved(tmp_path / "a.pt", other), settings(*SMALL), LAYOUT)
    assert same(made.network.state_dict(), weights)


def test_old_files_need_not_count_batches(weights, tmp_path):
    old = {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(weights)
    made, said = bundle_of(saved(tmp_path / "a.pt", old), settings(*SMALL), LAYOUT)
    assert torch.equal(made.network.state_dict()["task.head.1.weight"], weights["task.head.1.weight"])
    assert not any(line.startswith("missing") for line in said)


# ---------------------------------------------------------------- what does not fit


def test_what_is_missing_is_refused_or_begins_at_random(weights, tmp_path):
    lost = "encoder.readout.weight"
    file = saved(tmp_path / "a.pt", {**{n: v for n, v in weights.items() if n != lost}, "encoder.more": torch.ones(2)})
    with pytest.raises(BundleError, match=rf"missing: 1 \({lost}\); unexpected: 1 \(encoder\.more\).*--partial"):
        bundle_of(file, settings(*SMALL), LAYOUT)
    made, said = bundle_of(file, settings(*SMALL), LAYOUT, partial=True)
    assert f"missing: 1 ({lost})" in said and "unexpected: 1 (encoder.more)" in said
    found = made.network.state_dict()
    assert not torch.equal(found[lost], weights[lost])
    assert all(torch.equal(found[name], weights[name]) for name in weights if name != lost)


@pytest.mark.parametrize("part", ["task", "task.", "task.head", "task.head.1", "*.head"])
def test_weights_that_are_left_out_are_not_missing(part, weights, tmp_path):
    file = saved(tmp_path / "a.pt", {f"module.{name}": value for name, value in weights.items()})
    names = Labels(list("xyz"))
    made, said = bundle_of(file, settings(*SMALL), LAYOUT, names, ignore=(part,))
    assert made.labels == list("xyz")
    assert "ignored: 2 (task.head.1.bias, task.head.1.weight)" in said
    with pytest.raises(ConfigError, match="--labels"):
        bundle_of(file, settings(*SMALL), LAYOUT, ignore=(part,))


def test_weights_are_left_out_by_the_names_of_their_own_program(tmp_path):
    tree = settings("model.kind=st_gcn", "task.pool=mean")
    theirs = {original_name(name, tree): value for name, value in network(tree).state_dict().items()}
    _, said = bundle_of(saved(tmp_path / "a.pt", theirs), tree, LAYOUT, Labels(list("xyz")), ignore=("fcn",))
    assert "ignored: 2 (fcn.bias, fcn.weight)" in said


def test_weights_of_another_size_are_told_with_both_sizes(weights, tmp_path):
    file = saved(tmp_path / "a.pt", weights)
    with pytest.raises(BundleError, match=r"of another size: .*encoder\.readout\.weight 8x100, expected 9x100"):
        bundle_of(file, settings(*SMALL, "model.width=9"), LAYOUT)


def test_numbers_that_are_not_finite_are_refused(weights, tmp_path):
    weights["encoder.readout.weight"][0, 0] = float("nan")
    with pytest.raises(BundleError, match="not finite"):
        bundle_of(saved(tmp_path / "a.pt", weights), settings(*SMALL), LAYOUT)


# ---------------------------------------------------------------- files that are not to be trusted


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@dataclass
class Settings:
    hidden: int = 64


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("evil", [True, False])
def test_a_file_that_wants_code_to_be_run_is_refused_and_not_run(evil, zipped, weights, tmp_path):
    thing = Evil(tmp_path / "run") if evil else Settings()
    file = saved(tmp_path / "a.pt", {"state_dict": weights, "config": thing}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(BundleError, match=r"run code; .*torch\.save\(model\.state_dict\(\), FILE\)"):
        foreign.read(file)
    assert not (tmp_path / "run").exists()


def test_torn_files_and_other_files_are_told_in_one_line(weights, tmp_path):
    whole = saved(tmp_path / "a.pt", weights).read_bytes()
    old = saved(tmp_path / "b.pt", weights, _use_new_zipfile_serialization=False).read_bytes()
    torn = [data[: int(len(data) * share)] for data in (whole, old) for share in (0, 0.01, 0.3, 0.9)]
    for i, data in enumerate([*torn, b"no weights", pickle.dumps([1, 2]), bytes(1000)]):
        (tmp_path / f"{i}.pt").write_bytes(data)
        with pytest.raises(BundleError) as error:
            foreign.read(tmp_path / f"{i}.pt")
        assert "\n" not in str(error.value)
    with pytest.raises(BundleError, match="No such file"):
        foreign.read(tmp_path / "none.pt")


@pytest.mark.parametrize("tree", [{}, {"epoch": 3}, [1], {"state_dict": {"a": "b"}}, {"a": torch.ones(2).to_sparse()},
                                  {"a": torch.ones(1).expand(10**12)}])  # fmt: skip
def test_a_file_without_weights_says_what_it_holds(tree, tmp_path):
    with pytest.raises(BundleError, match="expected weights by name"):
        foreign.read(saved(tmp_path / "a.pt", tree))


# ---------------------------------------------------------------- labels, sizes, points


def test_labels_must_be_as_many_as_the_weights_are_for(weights, tmp_path):
    with pytest.raises(ConfigError, match="found 2 names of glosses, expected 5"):
        bundle_of(saved(tmp_path / "a.pt", weights), settings(*SMALL), LAYOUT, Labels(["x", "y"]))


@pytest.mark.parametrize("task", kinds("task"))
def test_of_every_task_the_number_of_labels_is_told_by_the_weights(task, tmp_path):
    tree = settings(*SMALL[:-1], f"task.kind={task}")
    many = Labels([str(i) for i in range(7)], [str(i) for i in range(4)])
    file = saved(tmp_path / "a.pt", build(tree, *form.expected(tree, LAYOUT), many).state_dict())
    made, _ = bundle_of(file, tree, LAYOUT)
    assert len(made.labels) == 7
    assert len(made.names.categories) in (0, 4)


def test_the_points_are_told_by_the_layout_or_by_the_recipe_alone():
    with pytest.raises(ConfigError, match=r"--layout.*openpose_18"):
        form.expected(settings())
    assert form.expected(settings("prepare.kind=hand_84"))[0].points == 1
    assert len(form.expected(settings("prepare.kind=stored_features"))[1]) == 2049


def test_the_bundle_is_whole_and_says_where_its_weights_come_from(weights, tmp_path):
    file = saved(tmp_path / "published.pt", weights)
    made, _ = bundle_of(file, settings(*SMALL), LAYOUT, Labels(GLOSSES))
    made.save(tmp_path / "bundle")
    again = bundles.load(tmp_path / "bundle")
    assert again.labels == GLOSSES and same(again.network.state_dict(), weights)
    assert again.card["imported"]["file"] == "published.pt"
    assert len(again.card["imported"]["sha256"]) == 64


# ---------------------------------------------------------------- a classifier of letters


ALPHABET = [chr(65 + i) for i in range(26)]
HAND = ("prepare.kind=hand_84", "model.kind=mlp", "task.pool=mean")


class Letters(nn.Module):
    """A perceptron as letters are usually told by."""

    def __init__(self, sizes: list[int]):
        super().__init__()
        layers = []
        for size, out in pairwise(sizes[:-1]):
            layers += [nn.Linear(size, out), nn.BatchNorm1d(out), nn.ReLU(), nn.Dropout(0.3)]
        self.network = nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def trained_letters(hidden: list[int], features: torch.Tensor, path: Path) -> Letters:
    """A perceptron whose batch norms have seen some features, and its checkpoint in a file."""
    torch.manual_seed(0)
    theirs = Letters([84, *hidden, 26])
    theirs.train().network(features)
    more = {"val_accuracy": np.float64(0.9), "label_mapping": dict(enumerate(ALPHABET))}
    saved(path, {"model_state_dict": theirs.state_dict(), **more})
    return theirs.eval()


@pytest.mark.parametrize("hidden", [[256, 128, 64], [40, 30], [16]])
def test_a_perceptron_gives_its_own_logits_whatever_its_layers(hidden, tmp_path):
    features = torch.randn(64, 84)
    theirs = trained_letters(hidden, features, tmp_path / "best_model.pt")
    made, _ = bundle_of(tmp_path / "best_model.pt", settings(*HAND))
    assert made.labels == ALPHABET
    clips = torch.cat([features, torch.ones(64, 1)], 1).view(64, 1, 1, 1, 85)
    one = torch.ones(64, dtype=torch.int64)
    with torch.inference_mode():
        assert torch.allclose(made.network(clips, one, one), theirs.network(features), atol=1e-5)


@pytest.mark.parametrize("hidden", [[30, 30, 20], [12]])
def test_a_perceptron_with_residuals_tells_its_layers(hidden, tmp_path):
    tree = settings("prepare.kind=hand_84", "model.kind=mlp_residual", "task.pool=mean")
    wanted = network(settings(*HAND, "model.kind=mlp_residual", f"model.hidden={hidden}")).state_dict()
    file = saved(tmp_path / "a.pt", {original_name(name, tree): value for name, value in wanted.items()})
    made, _ = bundle_of(file, tree)
    assert made.config.model.hidden == tuple(hidden)
    assert same(made.network.state_dict(), wanted)


@pytest.mark.real_data
def test_a_perceptron_tells_real_hands_as_it_did(real_data, tmp_path):
    with np.load(real_data / "asl_az_static" / "asl_az_hand63_first100.npz") as arrays:
        hands = arrays["x"][::50].reshape(-1, 21, 3)
    tree = settings(*HAND, "prepare.order=legacy")
    pairs = [name.split("_")[1:] for name in form.expected(tree)[1] if name.startswith("d_")]
    features = torch.from_numpy(np.stack([described(hand, pairs) for hand in hands]))
    theirs = trained_letters([40, 30], features, tmp_path / "best_model.pt")
    made, _ = bundle_of(tmp_path / "best_model.pt", tree)
    clips = [Landmarks(hand[None, None], np.ones((1, 1, 21), np.float32), "hand_21") for hand in hands]
    with torch.inference_mode():
        wanted = torch.softmax(theirs.network(features), 1).numpy()
    assert np.allclose(Predictor(made).predict(clips), wanted, atol=1e-5)


def described(hand: np.ndarray, pairs: list[list[str]]) -> np.ndarray:
    """21 places from the wrist, in units of the furthest, and the distances of the pairs."""
    places = hand - hand[0]
    places = places / np.linalg.norm(places, axis=1).max()
    apart = [np.linalg.norm(places[int(a)] - places[int(b)]) for a, b in pairs]
    return np.concatenate([places.ravel(), apart]).astype(np.float32)


def test_labels_json_of_a_bundle_are_labels(weights, tmp_path):
    made, _ = bundle_of(saved(tmp_path / "a.pt", weights), settings(*SMALL), LAYOUT, Labels(GLOSSES))
    made.save(tmp_path / "bundle")
    assert json.loads((tmp_path / "bundle" / "labels.json").read_text())["glosses"] == GLOSSES
    assert labels.of_file(tmp_path / "bundle" / "labels.json") == made.names
