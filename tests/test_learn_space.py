"""The space of a search: what may stand in it, and that nothing else is ever sampled."""

import math
import random

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from raysign import config
from raysign.errors import ConfigError
from raysign.learn import space

KINDS = [{"kind": "bilstm", "hidden": [64, 128]}, {"kind": "transformer", "n_layers": {"int": [2, 4]}, "dropout": 0.2}]


def settings(tree: dict | None = None, **tune) -> config.Config:
    return config.load(base={"source": {"kind": "synthetic"}, "tune": {"space": tree, **tune}})


class Drawn:
    """Draws as Optuna's random sampler does, and notes what was asked for."""

    def __init__(self, seed: int):
        self.rng, self.params = random.Random(seed), {}

    def suggest_float(self, name, low, high, log):
        value = math.exp(self.rng.uniform(math.log(low), math.log(high))) if log else self.rng.uniform(low, high)
        return self._noted(name, value)

    def suggest_int(self, name, low, high, log):  # noqa: ARG002 - as Optuna's
        return self._noted(name, self.rng.randint(low, high))

    def suggest_categorical(self, name, choices):
        return self._noted(name, self.rng.choice(choices))

    def _noted(self, name, value):
        assert name not in self.params, "asked twice"
        self.params[name] = value
        return value


RANGES = st.sampled_from(["uniform", "loguniform"]).flatmap(
    lambda kind: st.tuples(st.floats(1e-6, 0.4), st.floats(0.41, 0.9)).map(lambda ends: {kind: list(ends)})
)
LEAVES = st.one_of(RANGES, st.lists(st.floats(0.01, 0.9), min_size=1, max_size=4, unique=True))


@budget(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["crop", "drop_hand", "drop_part", "time_shift", "mirror"]), LEAVES, min_size=1),
       st.integers(0, 2**32))  # fmt: skip
def test_every_sample_lies_in_the_space_and_is_a_config(leaves, seed):
    tree = space.checked(settings({"augment": leaves}))
    drawn = space.sample(tree, Drawn(seed))
    made = space.applied(settings(), drawn)
    for name, node in leaves.items():
        value = drawn["augment"][name]
        assert getattr(made.augment, name) == value
        if isinstance(node, list):
            assert value in node
        else:
            low, high = next(iter(node.values()))
            assert low <= value <= high


@budget(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_a_choice_between_sections_asks_for_the_parameters_of_the_chosen_one_only(seed):
    trial = Drawn(seed)
    made = space.applied(settings(), space.sample(space.checked(settings({"model": KINDS})), trial))
    chosen = trial.params.pop("model")
    names = {"bilstm": "model[bilstm].hidden", "transformer": "model[transformer].n_layers"}
    assert list(trial.params) == [names[chosen]]
    assert made.model.kind == chosen
    if chosen == "transformer":
        assert made.model.dropout == 0.2
        assert 2 <= made.model.n_layers <= 4


def test_a_section_of_another_kind_starts_from_its_own_defaults():
    base = config.load(["source.kind=synthetic", "model.kind=gru", "model.dropout=0.45"])
    assert space.applied(base, {"model": {"kind": "bilstm"}}).model.dropout == 0.5
    assert space.applied(base, {"model": {"kind": "gru"}}).model.dropout == 0.45


def test_dotted_keys_mean_the_same_as_nested_ones():
    dotted = {"train.lr": {"loguniform": ["1e-4", 1e-2]}, "model": KINDS, "train": {"batch": [16, 32]}}
    nested = {"train": {"lr": {"loguniform": [1e-4, 1e-2]}, "batch": [16, 32]}, "model": KINDS}
    assert space.parse(dotted) == space.parse(nested)
    told = config.load(["source.kind=synthetic", "tune.space.train.lr={loguniform: [1e-4, 1e-2]}"])
    assert space.checked(told) == {"train": {"lr": {"loguniform": [1e-4, 1e-2]}}}


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"train.lrr": [0.1]}, "train.lrr: unknown key; did you mean 'lr'"),
        ({"trian.lr": [0.1]}, "trian: unknown key; did you mean 'train'"),
        ({"model": [{"kind": "bilstm", "hiden": [8, 16]}]}, "did you mean 'hidden'"),
        ({"model": [KINDS[0], {"kind": "transformer", "n_layers": {"int": [0, 4]}}]}, "n_layers: found 0"),
        ({"model.kind": ["stgcn", "stgc"]}, "did you mean 'stgcn'"),
        ({"augment.crop": {"uniform": [0, 1]}}, "augment.crop: found 1.0"),
        ({"train.batch": [16, 0]}, "train.batch: found 0"),
        ({"train.lr": {"loguniform": [0, 1]}}, "above 0"),
        ({"train.lr": {"uniform": [1e-2, 1e-3]}}, "the lower first"),
        ({"train.lr": {"loguni": [1e-3, 1e-2]}}, "did you mean 'loguniform'"),
        ({"train.lr": 0.1}, "a fixed value belongs in the config"),
        ({"train.lr": []}, "expected one choice or more"),
        ({"train.batch": [16, 16]}, "choices that differ"),
        ({"train.workers": [1, 2]}, "the same for all trials"),
        ({"train.best": ["val/top1", "val/loss"]}, "the same for all trials"),
        ({"split.val": [0.1, 0.2]}, "cannot be searched"),
        ({"task.kind": ["classification", "ctc"], "train.schedule": ["cosine", "step"]}, "steps"),
    ],
)  # fmt: skip
def test_a_space_that_cannot_be_is_refused_in_one_line_that_names_the_key(tree, said):
    with pytest.raises(ConfigError) as error:
        space.checked(settings(tree))
    assert said in str(error.value)
    assert str(error.value).startswith("tune.space.")
    assert "\n" not in str(error.value)


def test_ends_together_hold_both_ends_of_every_range():
    tree = space.parse({"train.lr": {"loguniform": [1e-4, 1e-2]}, "train.steps": [[3], [4, 5]], "model": KINDS})
    found = list(space.ends(tree))
    assert {tree["train"]["lr"] for tree in found} == {1e-4, 1e-2}
    assert {tuple(tree["train"]["steps"]) for tree in found} == {(3,), (4, 5)}
    assert {tree["model"].get("hidden") for tree in found} == {64, 128, None}
    assert {tree["model"].get("n_layers") for tree in found} == {2, 4, None}


def test_a_grid_holds_every_point_once_and_no_other():
    tree = space.checked(settings({"model": KINDS, "train.batch": [16, 32]}, search="grid"))
    points = space.grid(tree)
    assert len(points) == len({str(sorted(point.items())) for point in points}) == (2 + 3) * 2
    made = [space.sample(tree, space._Told(point, whole=True)) for point in points]
    assert {(tree["model"]["kind"], tree["train"]["batch"]) for tree in made} == {
        ("bilstm", 16), ("bilstm", 32), ("transformer", 16), ("transformer", 32)
    }  # fmt: skip


@pytest.mark.parametrize("tree", [None, {"train.lr": {"uniform": [0.1, 0.2]}}, {"train.epochs": {"int": [1, 20000]}}])
def test_a_grid_of_floats_or_of_too_many_points_is_refused(tree):
    with pytest.raises(ConfigError, match=r"tune\.space"):
        space.checked(settings(tree, search="grid"))


@pytest.mark.parametrize("kind", ["stgcn", "bilstm", "st_gcn", "mlp"])
def test_the_usual_space_fits_every_model(kind):
    assert space.checked(config.load(["source.kind=synthetic", f"model.kind={kind}"]))


def test_what_the_config_has_by_itself_is_told_of_its_own_kind_only():
    tree = {
        "train": {"lr": {"loguniform": [1e-4, 1e-2]}, "batch": [16, 32]},
        "prepare.streams": [["joint"], ["joint", "bone"]],
        "model": [{"kind": "bilstm", "hidden": {"int": [8, 64]}}, {"kind": "mlp", "dropout": [0.1, 0.2]}],
    }
    told = config.load(["source.kind=synthetic", "model.kind=bilstm", "model.hidden=48", "train.lr=0.002"]).model_dump(
        mode="json"
    )
    found = space.held(space.parse(tree), told)
    assert found["train.lr"] == 0.002 and found["train.batch"] == told["train"]["batch"]
    assert {name: value for name, value in found.items() if name.startswith("model")} == {
        "model": "bilstm", "model[bilstm].hidden": 48,
    }  # fmt: skip
    assert "model" not in space.held(space.parse({"model": tree["model"]}), {"model": {"kind": "stgcn"}})
