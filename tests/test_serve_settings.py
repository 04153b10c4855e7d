"""What a service is told: its bundles and their names, variables of the environment, and which bundles take media."""

import pytest
from made_bundles import untrained

from raysign.errors import BundleError, ConfigError, RaysignError
from raysign.serve import settings as telling
from raysign.serve.about import about


def test_a_bundle_is_called_as_its_config_unless_it_is_told(bundle_dir, tmp_path):
    (tmp_path / "serve.yaml").write_text(f"bundles: {{second: {bundle_dir}}}\nport: 8080")
    told = telling.load([str(bundle_dir), str(tmp_path / "serve.yaml"), "decoders=3"])
    assert list(told.bundles) == ["tiny", "second"]
    assert (told.port, told.decoders, told.host) == (8080, 3, "127.0.0.1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "bundles: found none"),
        (["nowhere"], "no such folder"),
        (["BUNDLE", "BUNDLE"], "second bundle named 'tiny'"),
        (["BUNDLE", "prot=1"], "did you mean 'port'"),
        (["BUNDLE", "port=many"], "port: found 'many'"),
        (["BUNDLE", "gone.yaml"], "gone.yaml: "),
    ],
)
def test_a_wrong_word_is_named(bundle_dir, words, message):
    with pytest.raises(RaysignError, match=message):
        telling.load([str(bundle_dir) if word == "BUNDLE" else word for word in words])


def test_variables_of_the_alphabet_service_are_defaults(bundle_dir, monkeypatch):
    for name, value in {"CLASSIFIER_PATH": bundle_dir, "MIN_DETECTION_CONFIDENCE": 0.3, "MAX_NUM_HANDS": 2}.items():
        monkeypatch.setenv(f"ASL_{name}", str(value))
    told = telling.load([])
    assert (list(told.bundles), told.detection_confidence, told.max_hands) == (["tiny"], 0.3, 2)
    assert about("tiny", bundle_dir, told.model_copy(update={"any_extractor": True})).extract[
        "detection_confidence"
    ] == pytest.approx(0.3)
    monkeypatch.setenv("ASL_MAX_NUM_HANDS", "three")
    with pytest.raises(ConfigError, match="max_hands: found 'three'"):
        telling.load([])


@pytest.mark.parametrize(
    ("extractor", "words", "media"),
    [
        ("import synthetic 12", (), False),
        (["import npz 1", "import npz 2"], (), False),
        (None, (), False),
        ("import synthetic 12", ("any_extractor=true",), True),
        ("0123456789abcdef", ("media=false",), False),
    ],
)
def test_media_are_taken_by_bundles_that_were_trained_on_media(tmp_path, extractor, words, media):
    bundle = untrained()
    bundle.card["extractor"] = extractor
    bundle.save(tmp_path)
    found = about("tiny", tmp_path, telling.load([str(tmp_path), *words]))
    assert found.media == media
    assert media or "landmarks only" in found.note


@pytest.mark.models
def test_a_bundle_of_another_extractor_is_not_served(tmp_path):
    bundle = untrained()
    bundle.card["extractor"] = "0123456789abcdef"
    bundle.save(tmp_path)
    with pytest.raises(BundleError, match="any_extractor=true"):
        about("tiny", tmp_path, telling.load([str(tmp_path)]))
