"""Damaged files of every kind: cut, overwritten or of wrong types, each is answered with a clear error or a clip.

Whatever is in a file, a source raises nothing but raysign's own errors and makes no clip of zeros out of nothing.
"""

import csv
import io
import json
import pickle
import shutil
from itertools import count
from math import inf

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from test_sources_kinds import READERS

from raysign.errors import RaysignError
from raysign.kinds import kind_module
from raysign.sources import manifest

BUDGET = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
ODD = [None, -1, 3.5, float("nan"), float("inf"), 10**15, "", "word", "1", True, [], [[1], [1, 2]], {}, {"a": 1}]
ODD_ARRAYS = [
    np.float32(1), np.zeros((0, 3)), np.zeros((3, 5, 150), complex), np.array(["a", "b", "c"]), np.zeros((3, 84), bool),
    np.full((3, 5, 156), np.nan), np.full((3, 84), 1e300), np.array([{}, 1, "a"], dtype=object), np.array(["1", "x"]),
    np.zeros((1, 1, 1, 1, 1)), np.array([0, -1, 7]), np.array([np.inf, 0, 1]), np.array(b"\xff"), np.zeros((3, 0)),
    np.array(["2020-01-01"], "M8[D]"),
]  # fmt: skip


@pytest.fixture
def fresh(tmp_path):
    """Folders that were never there before: what is remembered of a file is remembered by its place."""
    return (tmp_path / str(number) for number in count())


def copied(made, kind, fresh, data):
    """The options of a copy of the sample, and one of its files."""
    root = next(folder for folder in made[kind].path.parents if folder.name.startswith("samples")) / kind
    place = next(fresh)
    shutil.copytree(root, place)
    file = data.draw(st.sampled_from(sorted(path for path in place.rglob("*") if path.is_file())))
    return made[kind].model_copy(update={"path": place / made[kind].path.relative_to(root)}), file


def read_all(kind, options):
    """Every clip of a source, or the clear error that it gives instead: one line."""
    module = kind_module("source", kind)
    assert module.recognises(options.path) in (True, False)
    for ref in answer(module.clips, options) or ():
        found = answer(module.read, ref, options)
        assert found is None or np.nan_to_num(found.values).any() or np.isfinite(found.features).all(1).any()


def answer(ask, *arguments):
    try:
        return ask(*arguments)
    except RaysignError as error:
        told = str(error)
    assert "\n" not in told
    return None


@pytest.mark.parametrize("kind", READERS)
@budget(max_examples=50, **BUDGET)
@given(data=st.data())
def test_a_file_that_is_cut_or_overwritten_is_answered_with_a_clear_error(made, fresh, kind, data):
    options, file = copied(made, kind, fresh, data)
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(0, 6))):
        place, size = data.draw(st.integers(0, len(content) - 1)), data.draw(st.sampled_from([1, 1, 1, 40]))
        content[place : place + size] = bytes([data.draw(st.integers(0, 255))]) * len(content[place : place + size])
    file.write_bytes(content[: data.draw(st.sampled_from([len(content), data.draw(st.integers(0, len(content)))]))])
    read_all(kind, options)


@pytest.mark.parametrize("kind", READERS)
@budget(max_examples=50, **BUDGET)
@given(data=st.data())
def test_a_file_of_wrong_types_is_answered_with_a_clear_error(made, fresh, kind, data):
    options, file = copied(made, kind, fresh, data)
    if file.suffix in CHANGES:  # else it is bytes alone
        CHANGES[file.suffix](file, data)
    read_all(kind, options)


ENTRIES = [
    {"path": "a.mp4", "gloss": ["I", "go"], "signer": "p1", "split": "train", "start": 0.5, "end": 1.5},
    {"path": "b/a.mp4", "gloss": "go", "category": "verb", "id": "b", "start_frame": 5, "end_frame": 20},
]


@pytest.mark.parametrize("suffix", [".csv", ".json"])
@budget(max_examples=200, **BUDGET)
@given(data=st.data())
def test_a_manifest_of_wrong_types_is_answered_with_a_clear_error(fresh, suffix, data):
    file = next(fresh).with_suffix(suffix)
    if suffix == ".json":
        file.write_text(json.dumps(ENTRIES))
    else:
        columns = sorted(set().union(*ENTRIES))
        with file.open("w", newline="") as text:
            csv.writer(text).writerows([columns, *([one.get(key, "") for key in columns] for one in ENTRIES)])
    CHANGES[suffix](file, data)
    assert manifest.recognises(file) in (True, False)
    found = answer(manifest.clips, manifest.Options(path=file, root=None))
    for ref in found or ():
        assert 0 <= ref.start < (inf if ref.end is None else ref.end) <= inf
        assert 1 <= ref.first_frame <= (inf if ref.last_frame is None else ref.last_frame) <= inf


# ---------------------------------------------------------------- something else in the place of something


def change_arrays(file, data):
    with np.load(file) as archive:
        arrays = dict(archive)
    arrays[data.draw(st.sampled_from(sorted(arrays)))] = data.draw(st.sampled_from(ODD_ARRAYS))
    np.savez(file, **arrays)


def change_array(file, data):
    np.save(file, data.draw(st.sampled_from(ODD_ARRAYS)))


def change_pickle(file, data):
    odd = st.sampled_from([*ODD, *ODD_ARRAYS[:7]])
    file.write_bytes(pickle.dumps(changed(pickle.loads(file.read_bytes()), odd, data)))


def change_json(file, data):
    file.write_text(json.dumps(changed(json.loads(file.read_text()), st.sampled_from(ODD), data)))


def change_column(file, data):
    table = pq.read_table(file)
    place, cell = (
        data.draw(st.integers(0, table.num_columns - 1)),
        data.draw(st.sampled_from([odd for odd in ODD if odd != {}])),
    )
    file.unlink()
    pq.write_table(table.set_column(place, table.column_names[place], pa.array([cell] * len(table))), file)


def change_words(file, data):
    """One word of a text."""
    lines = [line.split() for line in file.read_text().splitlines()]
    line = data.draw(st.sampled_from([line for line in lines if line]))
    line[data.draw(st.integers(0, len(line) - 1))] = str(data.draw(st.sampled_from([*ODD, "two words", "1e300"])))
    file.write_text("\n".join(map(" ".join, lines)))


def change_cells(file, data):
    """One cell of a csv."""
    rows = list(csv.reader(io.StringIO(file.read_text())))
    row = data.draw(st.sampled_from(rows))
    row[data.draw(st.integers(0, len(row) - 1))] = str(data.draw(st.sampled_from([*ODD, "two, cells", "1e300"])))
    with file.open("w", newline="") as text:
        csv.writer(text).writerows(rows)


def changed(tree, odd, data):
    """The tree with one of its nodes, at any depth, replaced by one drawn from `odd`."""
    inner = isinstance(tree, dict | list | tuple) and len(tree) > 0
    if not inner or data.draw(st.integers(0, 5)) == 0:
        return data.draw(odd)
    if isinstance(tree, dict):
        key = data.draw(st.sampled_from(list(tree)))
        return {**tree, key: changed(tree[key], odd, data)}
    place = data.draw(st.integers(0, len(tree) - 1))
    return type(tree)([*tree[:place], changed(tree[place], odd, data), *tree[place + 1 :]])


CHANGES = {
    ".npz": change_arrays, ".npy": change_array, ".pkl": change_pickle, ".json": change_json, ".txt": change_words,
    ".skeleton": change_words, ".csv": change_cells, ".parquet": change_column,
}  # fmt: skip
