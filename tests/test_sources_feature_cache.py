"""Pickles of features by video: read as plain data, labelled from a table, split by their names."""

import json
import pickle

import numpy as np
import pytest
import torch
from made_sources import write_cache as write

from raysign import config, schema, store
from raysign.clips import prepare
from raysign.errors import ClipError, SourceError
from raysign.extract import work
from raysign.sources import detect, feature_cache

GLOSSES = {"00001": "book", "00002": "drink", "00003": "book", "00004": "drink"}


def labels(folder, form):
    """The glosses as a table of one form, the videos' signers where it has them."""
    if form == "csv":
        lines = [f"{name},{gloss},p{name[-1]}\n" for name, gloss in GLOSSES.items()]
        (folder / "labels.csv").write_text("video_id,gloss,signer\n" + "".join(lines))
        return folder / "labels.csv"
    tree = GLOSSES
    if form == "wlasl":
        listed = {name: {"video_id": name, "signer_id": int(name), "split": "train"} for name in GLOSSES}
        tree = [
            {"gloss": word, "instances": [listed[name] for name in GLOSSES if GLOSSES[name] == word]}
            for word in ("drink", "book")
        ]
    (folder / "labels.json").write_text(json.dumps(tree))
    return folder / "labels.json"


def options(path, **changes):
    return feature_cache.Options.model_validate({"path": path, **changes})


@pytest.mark.parametrize(("form", "signer"), [("csv", "p3"), ("json", None), ("wlasl", "3")])
def test_each_video_is_a_clip_with_its_split_and_gloss(tmp_path, form, signer):
    arrays = write(tmp_path / "cache")
    chosen = options(tmp_path / "cache", labels=labels(tmp_path, form))
    refs = feature_cache.clips(chosen)
    assert [(ref.id, ref.split) for ref in refs] == [
        ("train_2glosses/00001", "train"), ("train_2glosses/00002", "train"),
        ("val_2glosses/00003", "val"), ("val_2glosses/00004", "val"),
    ]  # fmt: skip
    assert [ref.gloss for ref in refs] == [(gloss,) for gloss in GLOSSES.values()]
    assert refs[2].signer == signer
    for ref, array in zip(refs, arrays.values(), strict=True):
        found = feature_cache.read(ref, chosen)
        assert found.features is not None
        assert np.array_equal(found.features, array.astype(np.float32))
        assert (found.features_kind, found.values.shape) == ("phonological_36", (1, len(array), 0, 3))


def test_a_folder_of_caches_and_one_of_them_are_recognised(tmp_path):
    write(tmp_path)
    assert detect(tmp_path) == detect(tmp_path / "val_2glosses.pkl") == "feature_cache"
    assert [ref.split for ref in feature_cache.clips(options(tmp_path / "val_2glosses.pkl"))] == ["val"] * 2


def test_caches_become_clips_that_can_be_trained_on(tmp_path):
    write(tmp_path / "cache")
    table = labels(tmp_path, "json")
    chosen = config.load([
        "source.kind=feature_cache", f"source.path={tmp_path / 'cache'}", f"source.labels={table}",
        f"out={tmp_path / 'out'}", "prepare.kind=stored_features", "prepare.features=phonological_36",
    ])  # fmt: skip
    store_dir = chosen.landmarks_dir
    plan = work.plan(feature_cache.clips(chosen.source), store_dir, "e")
    worker = work.Worker(lambda: lambda ref: feature_cache.read(ref, chosen.source), store_dir, "e", plan.run)
    card = work.finish(store_dir, plan, [worker(unit) for unit in plan.units], config={}, seconds=1)
    assert card["counts"] == {"clips": 4, "frames": 18, "quarantined": 0, "damaged": 0, "gone": 0}
    made = prepare.plan(store_dir, tmp_path / "clips", chosen)
    for unit in made.units:
        prepare.Worker(store_dir, made.directory, chosen.prepare)(unit)
    card = prepare.finish(store_dir, made, chosen, 1)
    assert card["counts"]["split"] == {"train": 2, "val": 2}
    assert (card["labels"], len(card["channels"])) == (["book", "drink"], 37)
    table = store.read_columns(made.directory, "persons", "frames", "points", "channels")
    assert sorted(row["frames"] for row in table.to_pylist()) == [3, 4, 5, 6]
    assert set(zip(*(table[name].to_pylist() for name in ("persons", "points", "channels")), strict=True)) == {
        (1, 1, 37)
    }


def test_a_video_the_table_does_not_name_has_no_gloss(tmp_path):
    write(tmp_path, other=np.ones((2, 36)))
    refs = feature_cache.clips(options(tmp_path, labels=labels(tmp_path, "csv")))
    assert {ref.gloss for ref in refs if ref.id.endswith("other")} == {()}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.ones((3, 35)), r"shape \(3, 35\), expected \(frames, 36\) of phonological_36"),
        (np.ones(36), r"shape \(36,\)"), (np.ones((0, 36)), r"shape \(0, 36\)"),
        (np.full((3, 36), np.nan), "no finite features in any of 3 frames"),
        ([[1, 2], [3]], "no array of numbers"), ("text", "expected numbers"), (None, "expected numbers"),
    ],
)  # fmt: skip
def test_wrong_features_go_to_quarantine(tmp_path, value, said):
    write(tmp_path, bad=value)
    chosen = options(tmp_path)
    (bad, _) = [ref for ref in feature_cache.clips(chosen) if ref.id.endswith("bad")]
    with pytest.raises(ClipError, match=said):
        feature_cache.read(bad, chosen)


def test_a_frame_that_is_not_wholly_finite_is_one_without_features(tmp_path):
    array = np.ones((3, 36))
    array[1, 5] = 1e300
    write(tmp_path, odd=array)
    ref = next(ref for ref in feature_cache.clips(options(tmp_path)) if ref.id.endswith("odd"))
    found = feature_cache.read(ref, options(tmp_path))
    assert found.features is not None
    assert np.isnan(found.features).all(1).tolist() == [False, True, False]
    assert next(schema.landmarks_of(schema.to_table([schema.landmarks_row(ref, "e", found)], schema.LANDMARKS)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps({"a": torch.ones(2, 36)}), r"found torch\..*save tensors as tensor\.numpy\(\)"),
        (pickle.dumps([1, 2]), "found a list, expected a mapping of video_id to features"),
        (pickle.dumps({}), "expected a mapping"), (b"torn", "not readable as a pickle|found"),
    ],
)  # fmt: skip
def test_a_pickle_of_anything_else_is_refused(tmp_path, content, said):
    (tmp_path / "train_2glosses.pkl").write_bytes(content)
    with pytest.raises(SourceError, match=said):
        feature_cache.clips(options(tmp_path))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", '{"00001": {"subset": "train"}}', "found something else than video_id: gloss"),
        ("a.json", '{"00001": {"subset": "train", "action": [0, 1, 2]}}', "wlasl_class_list.txt: not readable"),
        ("a.json", "[1]", "expected a list of WLASL"), ("a.json", "{", "not readable as JSON"),
        ("a.csv", "name,word\n1,2\n", "no column 'video_id', found name, word"), ("a.csv", "", "no column 'video_id'"),
        ("a.json", '{"77777": "book"}', r"found no gloss of any of 4 videos, such as train_2glosses/00001"),
    ],
)  # fmt: skip
def test_a_table_that_names_no_glosses_is_refused(tmp_path, name, text, said):
    write(tmp_path / "cache")
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceError, match=said):
        feature_cache.clips(options(tmp_path / "cache", labels=tmp_path / name))


def test_a_folder_without_a_cache_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"expected train_20glosses\.pkl"):
        feature_cache.clips(options(tmp_path))


def test_a_json_may_name_the_glosses_of_a_sentence(tmp_path):
    write(tmp_path / "cache")
    told = {**GLOSSES, "00002": ["drink", "book", "drink"], "00003": []}
    (tmp_path / "labels.json").write_text(json.dumps(told))
    refs = feature_cache.clips(options(tmp_path / "cache", labels=tmp_path / "labels.json"))
    assert [ref.gloss for ref in refs] == [("book",), ("drink", "book", "drink"), (), ("drink",)]


@pytest.mark.parametrize("told", [{"00001": 3}, {"00001": ["book", 3]}, [["00001"]]])
def test_a_json_of_something_else_is_refused(tmp_path, told):
    write(tmp_path / "cache")
    (tmp_path / "labels.json").write_text(json.dumps(told))
    with pytest.raises(SourceError, match="expected a list of WLASL, a json of video_id: gloss"):
        feature_cache.clips(options(tmp_path / "cache", labels=tmp_path / "labels.json"))
