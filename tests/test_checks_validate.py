"""Validation: every planted fault is found, a clean store is passed in silence, what is torn is answered in a line."""

import copy
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from raysign import config, pipeline, schema, store
from raysign.checks import evidence, limits, twins, validate
from raysign.checks.findings import Finding, limited
from raysign.checks.measure import PARTS, quality
from raysign.cli import main
from raysign.clips.recipes import hand_84
from raysign.clips.recipes import shoulder_centered as recipe
from raysign.errors import StoreError
from raysign.sources import synthetic

SPLITS = {"signer0": "train", "signer1": "val", "signer2": "test"}
RECIPE = recipe.Options()  # pyright: ignore[reportCallIssue]
HAND = hand_84.Options()  # pyright: ignore[reportCallIssue]
CHECKS = (*validate.ALWAYS, *validate.FIRST, *validate.LAST)


@lru_cache(maxsize=1)
def made() -> list[tuple[schema.ClipRef, schema.Landmarks]]:
    """27 clips of 3 made-up signs by 3 made-up signers."""
    options = config.load(["source.kind=synthetic", "source.glosses=3", "source.signers=3", "source.takes=3"]).source
    return [(ref, synthetic.read(ref, options)) for ref in synthetic.clips(options)]


def landmarks() -> list[dict]:
    """Rows of LANDMARKS without a fault."""
    rows = [schema.landmarks_row(ref, "made up", clip) for ref, clip in made()]
    return [{name: copy.deepcopy(cell) for name, cell in row.items()} for row in rows]


def clips() -> list[dict]:
    """Rows of CLIPS without a fault, a signer to each split."""
    rows = []
    for ref, clip in made():
        x = recipe.apply(clip, RECIPE)
        shape = dict(zip(("persons", "frames", "points", "channels"), x.shape, strict=True))
        who = {"id": ref.id, "gloss": list(ref.gloss), "signer": ref.signer, "split": SPLITS[str(ref.signer)]}
        rows.append({**who, **shape, "x": x, "recipe": "made up"})
    return rows


def write(directory: Path, rows: list[dict], stage: str, **card) -> Path:
    """A finished stage of two shards."""
    kind = schema.LANDMARKS if stage == "landmarks" else schema.CLIPS
    for i in range(2):
        store.write_table(directory / f"shard-{i}.parquet", schema.to_table(rows[i::2], kind))
    more = {}
    if stage == "clips":
        more = {"labels": ["sign00", "sign01", "sign02"], "skeleton": asdict(recipe.skeleton(RECIPE, "holistic_75"))}
    told = {"counts": {"clips": len(rows)}, "config": {}, **more, **card}
    store.write_card(directory, stage, "made", dropped={}, seconds=0, **told)
    return directory


def found(directory: Path) -> list[Finding]:
    return validate.look(evidence.gather(directory))


# ---------------------------------------------------------------- every fault is found, and only where there is one


def longer(row: dict, times: int) -> None:
    """The clip, `times` as long."""
    for name in ("values", "visibility"):
        row[name] = np.concatenate([row[name]] * times, axis=1)
    row["frames"] *= times


def still(row: dict) -> None:
    for name in ("values", "visibility"):
        row[name] = np.repeat(row[name][:, :1], row["frames"], axis=1)


def bodiless(row: dict) -> None:
    row["values"][:, :, :33] = np.nan


def doubled(rows: list[dict], other: dict, **changes) -> None:
    """Put a clip's numbers under the name of another."""
    keep = {name: other[name] for name in ("id", "gloss", "signer", "split")}
    other.update({**rows[0], **keep, **changes})


def noised(rows: list[dict]) -> None:
    """The second clip becomes the first, noised."""
    doubled(rows, rows[1])
    rows[1]["values"] = rows[1]["values"] + np.random.default_rng(0).normal(0, 0.001, rows[1]["values"].shape)


Plant = Callable[[list[dict]], object]
IN_LANDMARKS: list[tuple[str, str, Plant]] = [
    ("shapes", "error", lambda rows: rows[3].update(frames=rows[3]["frames"] + 1)),
    ("layouts", "error", lambda rows: rows[3].update(layout="holistic_57")),
    ("layouts", "error", lambda rows: rows[3].update(layout="pose_33")),
    ("unique_ids", "error", lambda rows: rows[3].update(id=rows[4]["id"])),
    ("counts", "error", lambda rows: rows[3].update(error="a reason")),
    ("labels", "warning", lambda rows: rows[3].update(gloss=[])),
    ("infinite", "error", lambda rows: rows[3]["values"].__setitem__((0, 0, 0, 0), np.inf)),
    ("half_seen", "error", lambda rows: rows[3]["values"].__setitem__((0, 0, 0, 1), np.nan)),
    ("visibility", "error", lambda rows: rows[3]["visibility"].__setitem__((0, 0, 0), 1.5)),
    ("visibility", "error", lambda rows: rows[3]["visibility"].__setitem__((0, 0, 0), np.nan)),
    ("parts", "error", lambda rows: [np.nan_to_num(row["values"], copy=False) for row in rows]),
    ("parts", "note", lambda rows: [row["values"][:, :, 33:54].fill(np.nan) for row in rows]),
    ("hands", "warning", lambda rows: rows[3]["values"][:, :, 33:].fill(np.nan)),
    ("hands", "warning", lambda rows: [row["values"][:, row["frames"] // 4 :, 33:].fill(np.nan) for row in rows]),
    ("body", "warning", lambda rows: bodiless(rows[3])),
    ("frozen", "warning", lambda rows: still(rows[3])),
    ("jumps", "note", lambda rows: rows[3]["values"].__setitem__((0, 5, 16, 0), 3.0)),
    ("jumps", "warning", lambda rows: [row["values"].__setitem__((0, 5, 16, 0), 3.0) for row in rows]),
    ("outside", "warning", lambda rows: rows[3].update(values=rows[3]["values"] * 640)),
    ("poor", "note", lambda rows: rows[3]["values"][:, :, 33:].fill(np.nan)),
    ("classes", "warning", lambda rows: rows[3].update(gloss=["another"])),
    ("classes", "warning", lambda rows: [row.update(gloss=["one"]) for row in rows]),
    ("classes", "warning", lambda rows: [row.update(gloss=["one"]) for row in rows[1:]]),
    ("signers", "note", lambda rows: rows[3].update(signer=None)),
    ("signers", "note", lambda rows: [row.update(signer="anna") for row in rows]),
    ("lengths", "warning", lambda rows: longer(rows[3], 9)),
    ("rates", "note", lambda rows: rows[3].update(fps=0.0)),
    ("rates", "warning", lambda rows: rows[3].update(fps=60.0)),
    ("sizes", "note", lambda rows: rows[3].update(width=640)),
    ("equal_clips", "note", lambda rows: doubled(rows, rows[1])),
    ("equal_clips", "warning", lambda rows: doubled(rows, rows[3])),
    ("near_twins", "note", noised),
]
IN_CLIPS: list[tuple[str, str, Plant]] = [
    ("shapes", "error", lambda rows: rows[3].update(frames=rows[3]["frames"] + 1)),
    ("labels", "error", lambda rows: rows[3].update(gloss=[])),
    ("labels", "error", lambda rows: rows[3].update(gloss=["another"])),
    ("untrained", "error", lambda rows: rows[-1].update(gloss=["another"])),
    ("leaks", "warning", lambda rows: rows[-1].update(signer="signer0")),
    ("leaks", "note", lambda rows: rows[9].update(signer="signer0")),
    ("infinite", "error", lambda rows: rows[3]["x"].__setitem__((0, 0, 0, 0), np.inf)),
    ("nan", "error", lambda rows: rows[3]["x"].__setitem__((0, 0, 0, 0), np.nan)),
    ("visibility", "error", lambda rows: rows[3]["x"].__setitem__((0, 0, 0, 3), -0.5)),
    ("unseen_points", "warning", lambda rows: rows[3]["x"].__setitem__(rows[3]["x"][..., 3] == 0, (-1, -1, 0, 0))),
    ("parts", "warning", lambda rows: [row["x"][:, :, 17:38, :3].fill(0) for row in rows]),
    ("equal_clips", "error", lambda rows: doubled(rows, rows[-1])),
]
TELLING = ("error", "warning")


@pytest.mark.parametrize("stage", ["landmarks", "clips"])
def test_a_clean_stage_is_passed_in_silence(tmp_path, stage):
    rows = landmarks() if stage == "landmarks" else clips()
    assert found(write(tmp_path / stage, rows, stage)) == []


@pytest.mark.parametrize(("check", "severity", "plant"), IN_LANDMARKS)
def test_a_fault_planted_in_landmarks_is_found(tmp_path, check, severity, plant):
    rows = landmarks()
    plant(rows)
    said = found(write(tmp_path / "landmarks", rows, "landmarks"))
    assert (check, severity) in {(finding.check, finding.severity) for finding in said}


@pytest.mark.parametrize(("check", "severity", "plant"), IN_CLIPS)
def test_a_fault_planted_in_clips_is_found(tmp_path, check, severity, plant):
    rows = clips()
    plant(rows)
    said = found(write(tmp_path / "clips", rows, "clips"))
    assert (check, severity) in {(finding.check, finding.severity) for finding in said}


def test_every_check_has_a_planted_fault():
    planted = {check for check, _, _ in (*IN_LANDMARKS, *IN_CLIPS, *IN_FEATURES)}
    assert {check.__name__ for check in CHECKS} <= planted


def test_a_finding_names_the_clip_and_is_one_line(tmp_path):
    rows = landmarks()
    still(rows[3])
    (said,) = [finding for finding in found(write(tmp_path, rows, "landmarks")) if finding.check == "frozen"]
    assert rows[3]["id"] in said.line
    assert "\n" not in said.line


def test_of_many_findings_of_a_check_a_few_are_shown_and_the_rest_counted():
    many = [Finding("note", "a", str(i)) for i in range(20)] + [Finding("error", "b", "x")]
    kept = limited(many)
    assert [finding.check for finding in kept] == ["b"] + ["a"] * (limits.MOST_LINES + 1)
    assert str(20 - limits.MOST_LINES) in kept[-1].line


# ---------------------------------------------------------------- what is torn, half done or empty


def test_a_torn_shard_is_told_and_the_others_are_looked_at(tmp_path):
    path = write(tmp_path / "landmarks", landmarks(), "landmarks") / "shard-0.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    looked = evidence.gather(path.parent)
    assert [finding.check for finding in looked.notes] == ["readable"]
    assert "shard-0.parquet" in looked.notes[0].line
    assert len(looked.frames) == 13


def test_a_stage_killed_in_its_run_has_no_card_and_is_told_so(tmp_path):
    stage = write(tmp_path / "landmarks", landmarks(), "landmarks")
    (stage / "card.json").unlink()
    assert [finding.check for finding in found(stage)] == ["card"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 99}', f'{{"schema": {schema.VERSION}, "skeleton": {{"name": "x"}}}}']
)
def test_a_card_that_is_none_is_an_error(tmp_path, text):
    stage = write(tmp_path / "clips", clips(), "clips")
    (stage / "card.json").write_text(text)
    assert "card" in {finding.check for finding in found(stage) if finding.severity == "error"}


def test_a_column_that_is_missing_or_of_another_type_is_an_error(tmp_path):
    stage = write(tmp_path / "landmarks", landmarks(), "landmarks")
    table = pq.read_table(stage / "shard-0.parquet")
    metadata = table.schema.metadata
    frames = table.schema.get_field_index("frames")
    table = table.set_column(frames, "frames", table["frames"].cast("int64")).rename_columns(
        ["sigener" if name == "signer" else name for name in table.column_names]
    )
    pq.write_table(table.replace_schema_metadata(metadata), stage / "shard-0.parquet")
    said = [finding.line for finding in evidence.gather(stage).notes]
    assert any("did you mean 'sigener'" in line for line in said)
    assert any("int64" in line and "int32" in line for line in said)


def test_a_shard_of_clips_among_landmarks_is_an_error(tmp_path):
    stage = write(tmp_path / "landmarks", landmarks(), "landmarks")
    store.write_table(stage / "shard-2.parquet", schema.to_table(clips(), schema.CLIPS))
    assert "readable" in {finding.check for finding in found(stage)}


def test_a_stage_of_nothing_but_quarantine_is_looked_at(tmp_path):
    rows = [schema.landmarks_row(ref, "made up", "a reason") for ref, _ in made()]
    stage = write(tmp_path / "landmarks", rows, "landmarks", counts={"clips": 0, "quarantined": 27})
    assert [finding.check for finding in found(stage)] == ["counts", "counts"]
    assert validate.validate([stage], tmp_path / "validation").good(strict=True)


def test_a_directory_without_a_whole_shard_is_refused(tmp_path):
    with pytest.raises(StoreError, match="no whole shard"):
        evidence.gather(tmp_path)


# ---------------------------------------------------------------- twins


def tracks(values: list[np.ndarray]) -> np.ndarray:
    layout = evidence.skeleton.layout("holistic_75")
    drawn = []
    for value in values:
        places, seen = value[0, ..., :2], np.isfinite(value[0, ..., 0])
        drawn.append(twins.track(places, seen, layout, evidence.body_size(places, seen, layout)))
    return np.stack(drawn)


def near(values: list[np.ndarray]) -> set[tuple[int, int]]:
    frames = np.array([value.shape[1] for value in values])
    pairs = twins.find(tracks(values), frames, [str(i).encode() for i in range(len(values))]).near
    return {(a, b) for a, b in pairs.tolist()}


def test_different_takes_are_no_twins():
    assert near([clip.values for _, clip in made()]) == set()


@pytest.mark.parametrize(("change", "least"), [
    (lambda v: v + np.random.default_rng(1).normal(0, 0.001, v.shape), 1.0),
    (lambda v: v[:, 1:], 0.7),  # hands seen in the first frame alone, and points that tremble, hide some
    (lambda v: v[:, : -(v.shape[1] // 20)], 0.6),
    (lambda v: 0.5 * v + 0.2, 1.0),
], ids=["noised", "begun a frame later", "ended a twentieth earlier", "smaller and aside"])  # fmt: skip
def test_changed_copies_are_found(change, least):
    values = [clip.values for _, clip in made()]
    copies = near([*values, *map(change, values)])
    assert copies <= {(i, i + len(values)) for i in range(len(values))}
    assert len(copies) >= least * len(values)


def test_a_pair_is_found_whatever_the_order():
    values = [clip.values for _, clip in made()]
    values += [values[4][:, 1:]]
    assert near(values) == {(4, 27)}
    assert near(values[::-1]) == {(0, 23)}


def test_equal_clips_are_one_group_and_no_near_twins():
    values = [clip.values for _, clip in made()][:4]
    result = twins.find(tracks([*values, values[2]]), np.full(5, 40), [b"0", b"1", b"2", b"3", b"2"])
    assert result.equal == [[2, 4]]
    assert len(result.near) == 0


# ---------------------------------------------------------------- quality, report, verb


def test_quality_is_a_share_that_falls_with_each_of_its_parts():
    good = {"body": 1.0, "hands": 1.0, "jitter": 0.0, "gaps": 0.0}
    worse = [{**good, **change} for change in ({}, {"body": 0.5}, {"hands": 0.5}, {"jitter": 0.05}, {"gaps": 0.5})]
    measures = {name: np.array([row[name] for row in [*worse, good]], np.float32) for name in good}
    shares = quality(measures, np.array([40, 40, 40, 40, 40, 10]))
    assert shares["quality"][0] == 1
    assert np.allclose(shares["quality"][1:], 0.5**0.2)
    assert all(((part >= 0) & (part <= 1)).all() for part in shares.values())


def test_what_a_layout_cannot_give_takes_nothing_from_quality():
    none: dict[str, np.ndarray] = {name: np.full(3, np.nan) for name in ("body", "hands", "jitter", "gaps")}
    assert quality(none, np.ones(3, int))["quality"].tolist() == [1, 1, 1]


def run(*words) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["validate", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.stdout, result.stderr


def test_a_directory_is_validated_and_the_report_lies_beside_it(tmp_path):
    rows = clips()
    rows[3].update(signer="<b>", gloss=["sign00"])
    code, said, _ = run(write(tmp_path / "clips", rows, "clips"))
    home = tmp_path / "clips-validation"
    assert (code, "0 errors, 0 warnings" in said) == (0, True)
    page = (home / "report.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "<b>&" not in page and "<script" not in page
    table = pq.read_table(home / "quality.parquet")
    assert table.column_names == ["id", "gloss", "signer", "split", "quality", *PARTS]
    assert len(table) == 27
    assert json.loads((home / "validation.json").read_text())["counts"] == {"error": 0, "warning": 0, "note": 0}


def test_errors_exit_with_1_and_warnings_do_when_strict(tmp_path):
    rows = landmarks()
    still(rows[3])
    stage = write(tmp_path / "landmarks", rows, "landmarks")
    assert run(stage)[0] == 0
    assert run(stage, "--strict")[0] == 1
    rows[4]["values"][0, 0, 0, 0] = np.inf
    assert run(write(tmp_path / "landmarks", rows, "landmarks"))[0] == 1


def test_an_empty_directory_is_answered_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, said = run(tmp_path / "empty")
    assert (code, len(said.splitlines())) == (1, 1)


def test_a_run_killed_before_its_first_shard_is_answered_in_one_line(tmp_path):
    (tmp_path / "landmarks" / ".work").mkdir(parents=True)
    code, _, said = run(tmp_path / "landmarks")
    assert (code, said.count("raysign: "), "no whole shard" in said) == (1, 1, True)


def test_a_config_without_landmarks_names_the_verb_that_makes_them(tmp_path):
    code, _, said = run("source.kind=synthetic", f"out={tmp_path}")
    assert (code, "raysign import" in said) == (1, True)
    code, _, said = run("source.kind=video_folder", f"source.path={tmp_path}", f"out={tmp_path}")
    assert (code, "raysign extract" in said) == (1, True)


@pytest.mark.usefixtures("cluster")
def test_a_config_is_validated_with_its_clips_once_they_are_prepared(tmp_path):
    settings = config.load([
        "source.kind=synthetic", "source.glosses=3", "source.signers=3", "source.takes=3", f"out={tmp_path}",
    ])  # fmt: skip
    pipeline.import_landmarks(settings)
    assert [told["name"] for told in _stages(settings)] == ["landmarks"]
    pipeline.prepare(settings)
    assert [told["name"] for told in _stages(settings)] == ["landmarks", "clips"]
    assert set(pq.read_table(tmp_path / "validation" / "quality.parquet")["split"].to_pylist()) == set(SPLITS.values())
    other = settings.model_copy(update={"source": settings.source.model_copy(update={"dropout": 0.3})})
    assert "settings" in {finding.check for finding in pipeline.validate(other).findings}


@pytest.mark.parametrize("change", ["extract.workers=1", "extract.retry_quarantined=true"])
def test_how_landmarks_were_made_says_nothing_against_them(tmp_path, change):
    settings = config.load(["source.kind=synthetic", f"out={tmp_path}"])
    write(settings.landmarks_dir, landmarks(), "landmarks", config=pipeline._sections(settings))
    other = config.load(["source.kind=synthetic", f"out={tmp_path}", change])
    assert "settings" not in {finding.check for finding in pipeline.validate(other).findings}
    assert pipeline.landmarks_of(other) == settings.landmarks_dir


def test_a_stage_is_validated_from_within(tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path / "landmarks", landmarks(), "landmarks"))
    assert run(".")[0] == 0
    assert (tmp_path / "landmarks-validation" / "report.html").exists()


def _stages(settings: config.Config) -> list[dict]:
    assert pipeline.validate(settings).good()
    return json.loads((settings.home / "validation" / "validation.json").read_text())["stages"]


def test_what_a_source_audits_is_noted(tmp_path, monkeypatch):
    settings = config.load(["source.kind=synthetic", f"out={tmp_path}"])
    write(settings.landmarks_dir, landmarks(), "landmarks")
    monkeypatch.setattr(synthetic, "audit", lambda _: {"said": "3 of 30 files are missing"}, raising=False)
    told = [finding.line for finding in pipeline.validate(settings).findings if finding.check == "audit"]
    assert told == ["None: 3 of 30 files are missing"]


# ---------------------------------------------------------------- real recordings


@pytest.mark.real_data
def test_neighbouring_frames_of_a_real_recording_are_twins_of_one_letter(real_data):
    letters = np.load(real_data / "asl_az_static" / "asl_az_hand63_first100.npz", allow_pickle=False)
    layout = evidence.skeleton.layout("hand_21")
    places = letters["x"].reshape(len(letters["x"]), 21, 3)[:400, :, :2]
    seen = np.ones((1, 21), bool)
    drawn = [twins.track(one[None], seen, layout, evidence.body_size(one[None], seen, layout)) for one in places]
    pairs = twins.find(np.stack(drawn), np.ones(400, int), [one.tobytes() for one in places]).near
    label = letters["label"]
    assert len(pairs) > 100
    assert all(label[a] == label[b] for a, b in pairs)


@pytest.mark.real_data
def test_a_word_that_real_people_sign_again_is_no_twin(real_data):
    words = np.load(real_data / "traduttore_words" / "words_shared.npz", allow_pickle=False)["x"]
    pose = words[:, :, :132].reshape(*words.shape[:2], 33, 4)[..., :3]
    points = np.concatenate([pose, words[:, :, 132:].reshape(*words.shape[:2], 42, 3)], axis=2)
    values = [np.where(clip == 0, np.nan, clip)[None] for clip in points]
    assert near(values) == set()
    copies = near([*values, *(clip[:, :-2] for clip in values)])
    assert copies <= {(i, i + len(values)) for i in range(len(values))}
    assert len(copies) > 0.9 * len(values)


# ---------------------------------------------------------------- features


def featured() -> list[dict]:
    """Rows of LANDMARKS of features alone, without a fault."""
    values, rows = np.empty((1, 4, 0, 3), np.float32), []
    for ref, _ in made():
        features = np.random.default_rng(len(rows)).normal(size=(4, 36)).astype(np.float32)
        clip = schema.Landmarks(values, values[..., 0], "no_points", features=features, features_kind="phonological_36")
        rows.append(schema.landmarks_row(ref, "made up", clip))
    return rows


def spoilt(row: dict, value: float, frames: slice = slice(0, 1)) -> None:
    row["features"][frames, 5] = value


IN_FEATURES: list[tuple[str, str, Plant]] = [
    ("shapes", "error", lambda rows: rows[5].update(features=rows[5]["features"][:3])),
    ("features", "error", lambda rows: spoilt(rows[5], np.inf)),
    ("features", "error", lambda rows: spoilt(rows[5], np.nan)),
    ("features", "error", lambda rows: rows[5]["features"].fill(np.nan)),
    ("features", "error", lambda rows: rows[5].update(features=rows[5]["features"][:, :35], feature_size=35)),
    ("labels", "warning", lambda rows: rows[5].update(gloss=[])),
    ("lengths", "warning", lambda rows: rows[5].update(frames=40, features=np.zeros((40, 36), np.float32))),
    ("signers", "note", lambda rows: rows[5].update(signer=None)),
    ("equal_clips", "warning", lambda rows: rows[5].update(features=rows[0]["features"])),
]


def test_clips_of_features_alone_are_passed(tmp_path):
    rows = featured()
    rows[5]["features"][2] = np.nan  # a frame without
    stage = write(tmp_path / "landmarks", rows, "landmarks")
    assert [one.check for one in found(stage)] == ["rates"]
    assert len(evidence.gather(stage).frames) == 27


@pytest.mark.parametrize(("check", "severity", "plant"), IN_FEATURES)
def test_a_fault_planted_in_clips_of_features_is_found(tmp_path, check, severity, plant):
    rows = featured()
    plant(rows)
    said = {(one.check, one.severity): one.line for one in found(write(tmp_path / "landmarks", rows, "landmarks"))}
    assert (check, severity) in said
    if check != "signers":
        assert rows[5]["id"] in said[check, severity]


def test_vectors_of_features_are_not_taken_for_places(tmp_path):
    """One feature that stands still, zeros in the first two channels, and clips that are alike in those."""
    rows = clips()
    for i, row in enumerate(rows):
        x = np.random.default_rng(i).normal(size=(1, 9, 1, 85)).astype(np.float32)
        x[..., :2] = 0
        x[..., -1] = 1
        row.update(frames=9, points=1, channels=85, x=x)
    card = {
        "skeleton": asdict(hand_84.skeleton(HAND, "hand_21")), "channels": list(hand_84.channels(HAND, "hand_21")),
    }  # fmt: skip
    assert found(write(tmp_path / "good", rows, "clips", **card)) == []
    rows[3]["x"][0, 0, 0, 7], rows[4]["x"][0, 0, 0, 7], rows[5]["x"][0, 0, 0, -1] = np.inf, np.nan, 2
    doubled(rows, rows[-1])
    said = {finding.check for finding in found(write(tmp_path / "bad", rows, "clips", **card))}
    assert said == {"infinite", "nan", "visibility", "equal_clips"}


def test_clips_that_are_alike_are_each_compared_with_a_few():
    alike = np.random.default_rng(0).normal(0, 1e-3, (1000, twins.STEPS, twins.POINTS, 2)).astype(np.float16)
    pairs = np.concatenate(list(twins._candidates(alike, np.arange(len(alike)))))
    assert len(alike) <= len(pairs) <= len(alike) * limits.NEIGHBOURS


def test_every_skeleton_that_names_shoulders_is_as_large_as_they_are_apart():
    for known in evidence.skeleton.LAYOUTS.values():
        names = dict(known.names)
        if "left_shoulder" in names:
            places = np.random.default_rng(0).normal(size=(1, known.points, 2))
            apart = np.linalg.norm(places[0, names["left_shoulder"]] - places[0, names["right_shoulder"]])
            assert evidence.body_size(places, np.ones((1, known.points), bool), known) == pytest.approx(apart)
