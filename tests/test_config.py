"""The config tree: defaults, files, overrides, and what a mistake is answered with."""

import pytest

from raysign import config
from raysign.errors import ConfigError
from raysign.kinds import FAMILIES, kind_module, kinds


def refusal(*arguments: str) -> str:
    with pytest.raises(ConfigError) as error:
        config.load(arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_printed_tree_loads_back_to_itself(tmp_path):
    first = config.load(["source.kind=synthetic", "train.lr=3e-4", "name=once"])
    (tmp_path / "once.yaml").write_text(first.to_yaml())
    assert config.load([str(tmp_path / "once.yaml")]) == first


def test_a_later_argument_wins_leaf_by_leaf(tmp_path):
    (tmp_path / "a.yaml").write_text("source: {kind: synthetic}\ntrain: {lr: 0.1, epochs: 7}\n")
    (tmp_path / "b.yaml").write_text("train: {lr: 0.2}\n")
    loaded = config.load([str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"), "train.batch=5"])
    assert (loaded.train.lr, loaded.train.epochs, loaded.train.batch) == (0.2, 7, 5)


def test_a_typo_is_answered_with_the_nearest_key():
    assert "did you mean 'epochs'" in refusal("source.kind=synthetic", "train.epoch=3")
    assert "did you mean 'takes'" in refusal("source.kind=synthetic", "source.take=3")
    assert "did you mean 'synthetic'" in refusal("source.kind=syntetic")


def test_a_wrong_type_names_its_key_and_what_was_found():
    assert refusal("source.kind=synthetic", "train.epochs=many").startswith("train.epochs: found 'many'")


def test_what_is_wrong_with_a_whole_section_names_the_section():
    said = refusal("source.kind=synthetic", "task.kind=two_heads", "task.alpha=0", "task.beta=0")
    assert said.startswith("task: alpha and beta are both 0")


def test_an_unset_variable_is_named(monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    assert "$NOWHERE is not set" in refusal("source.kind=synthetic", "out=$NOWHERE/x")


def test_variables_and_home_are_expanded_to_absolute_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("SOMEWHERE", str(tmp_path))
    assert config.load(["source.kind=synthetic", "out=$SOMEWHERE/x"]).home == tmp_path / "x"


@pytest.mark.parametrize("text", ["- a\n- b\n", "train: [", "\x00"])
def test_a_file_that_is_no_mapping_is_refused_by_name(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    assert "bad.yaml" in refusal(str(tmp_path / "bad.yaml"))


def test_yaml_cannot_construct_objects(tmp_path):
    (tmp_path / "evil.yaml").write_text("name: !!python/object/apply:os.system ['true']\n")
    assert "evil.yaml" in refusal(str(tmp_path / "evil.yaml"))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_every_family_has_options_named_after_its_file(family):
    assert kinds(family)
    for kind in kinds(family):
        options = kind_module(family, kind).Options
        assert options.model_fields["kind"].default == kind


def test_every_shipped_config_loads(monkeypatch, tmp_path):
    from pathlib import Path

    for name in ("RAYSIGN_TEST_DATA", "SCRATCH"):
        monkeypatch.setenv(name, str(tmp_path))
    for path in sorted((Path(__file__).parents[1] / "configs").glob("*.yaml")):
        assert config.load([str(path)]).name == path.stem


def test_the_demo_is_the_shipped_config_of_that_name(tmp_path):
    from pathlib import Path

    from raysign.pipeline import demo_config

    shipped = config.load([str(Path(__file__).parents[1] / "configs" / "demo.yaml"), f"out={tmp_path}"])
    assert demo_config(tmp_path) == shipped


def test_settings_of_the_default_kind_do_not_hinder_another(tmp_path):
    (tmp_path / "a.yaml").write_text("source: {kind: synthetic}\nprepare: {scale: shoulders, max_frames: 9}\n")
    assert config.load([str(tmp_path / "a.yaml")]).prepare.scale == "shoulders"
    found = config.load([str(tmp_path / "a.yaml"), "prepare.kind=hand_84"]).prepare
    assert (found.kind, found.max_frames) == ("hand_84", 9)
    assert "did you mean 'max_frames'" in refusal(
        "source.kind=synthetic", "prepare.max_frame=9", "prepare.kind=hand_84"
    )


def test_a_path_is_of_the_kind_that_a_file_before_it_tells(tmp_path):
    (tmp_path / "a.yaml").write_text("source: {kind: npz, layout: hands_42}\n")
    source = config.load([str(tmp_path / "a.yaml"), str(tmp_path)]).source
    assert (source.kind, source.path, source.layout) == ("npz", tmp_path, "hands_42")


def test_a_path_may_have_an_equals_sign_in_its_name(tmp_path):
    folder = tmp_path / "lr=3"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"")
    (folder / "a.yaml").write_text("train: {lr: 3}\n")
    loaded = config.load([str(folder), str(folder / "a.yaml")])
    assert (loaded.source.kind, loaded.source.path, loaded.train.lr) == ("video_folder", folder, 3)


def test_a_path_is_of_the_kind_that_is_told_wherever_it_is_told(tmp_path):
    for arguments in ((str(tmp_path), "source.kind=npz"), (f"source.path={tmp_path}", "source.kind=npz")):
        for order in (arguments, arguments[::-1]):
            source = config.load(order).source
            assert (source.kind, source.path) == ("npz", tmp_path)


def test_workers_are_a_number_or_a_range():
    ranged = config.load(["source.kind=synthetic", "train.workers={min: 1, max: 4}"])
    assert (ranged.train.fewest, ranged.train.most) == (1, 4)
    assert config.load(base=ranged.model_dump(mode="json")) == ranged
    fixed = config.load(["source.kind=synthetic", "train.workers=3"]).train
    assert fixed.fewest == fixed.most == fixed.workers == 3


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("-1", "train.workers: found -1; expected a number of workers from 0, or {min: 1, max: 4}"),
        ("many", "train.workers: found 'many'; expected"),
        ("{min: 3, max: 2}", "train.workers.max: found 2; expected no less than min"),
        ("{mim: 1, max: 2}", "train.workers.mim: unknown key; did you mean 'min'?"),
        ("{min: 1}", "train.workers.max: missing"),
    ],
)
def test_workers_that_are_neither_are_named(told, words):
    assert words in refusal("source.kind=synthetic", f"train.workers={told}")
