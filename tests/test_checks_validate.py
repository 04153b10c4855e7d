"""Validation: every planted fault is found, a clean store is passed in silence, what is torn is answered in a line."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from made_stages import SPLITS, Plant, clips, doubled, found, landmarks, made, write

from raysign import config, pipeline, schema, store, views
from raysign.checks import evidence, limits, validate
from raysign.checks.findings import Finding, limited
from raysign.checks.measure import PARTS, measure, quality
from raysign.cli import main
from raysign.errors import StoreError
from raysign.sources import synthetic

CHECKS = (*validate.ALWAYS, *validate.FIRST, *validate.LAST)


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


def noised(rows: list[dict]) -> None:
    """The second clip becomes the first, noised."""
    doubled(rows, rows[1])
    rows[1]["values"] = rows[1]["values"] + np.random.default_rng(0).normal(0, 0.001, rows[1]["values"].shape)


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
    planted = {check for check, _, _ in (*IN_LANDMARKS, *IN_CLIPS)}
    # of features: tests/test_checks_features.py
    assert {check.__name__ for check in CHECKS} - {"features"} <= planted


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


def test_clips_that_left_the_source_are_not_looked_at(tmp_path):
    rows = landmarks()
    still(rows[3])
    rows[4].update(frames=rows[4]["frames"] + 1)
    assert {finding.check for finding in found(write(tmp_path / "all", rows, "landmarks"))} >= {"frozen", "shapes"}
    gone = [rows[3]["id"], rows[4]["id"]]
    assert found(write(tmp_path / "landmarks", rows, "landmarks", gone=gone)) == []


def test_splits_of_landmarks_are_known_by_every_name_of_theirs(tmp_path):
    rows = landmarks()
    for i, row in enumerate(rows):
        row["split"] = ("Training", "dev", "TEST")[i % 3]
    doubled(rows, rows[2], gloss=rows[0]["gloss"])
    said = found(write(tmp_path / "landmarks", rows, "landmarks"))
    assert {("leaks", "warning"), ("leaks", "note"), ("equal_clips", "error")} <= {(f.check, f.severity) for f in said}


# ---------------------------------------------------------------- quality, report, verb


def test_quality_is_a_share_that_falls_with_each_of_its_parts():
    good = {"body": 1.0, "hands": 1.0, "jitter": 0.0, "gaps": 0.0}
    worse = [{**good, **change} for change in ({}, {"body": 0.5}, {"hands": 0.5}, {"jitter": 0.05}, {"gaps": 0.5})]
    measures = {name: np.array([row[name] for row in [*worse, good]], np.float32) for name in good}
    shares = quality(measures, np.array([40, 40, 40, 40, 40, 10]))
    assert shares["quality"][0] == 1
    assert np.allclose(shares["quality"][1:], 0.5**0.2)
    assert all(((part >= 0) & (part <= 1)).all() for part in shares.values())


def test_where_nothing_is_seen_nothing_is_known_to_be_outside():
    layout = evidence.skeleton.LAYOUTS["hand_21"]
    places, seen = np.full((1, 3, 21, 2), 7.0), np.ones((1, 3, 21), bool)
    assert measure(places, seen, layout)["outside"] == 1
    assert np.isnan(measure(places, ~seen, layout)["outside"])


def test_what_a_layout_cannot_give_takes_nothing_from_quality():
    none: dict[str, np.ndarray] = {name: np.full(3, np.nan) for name in ("body", "hands", "jitter", "gaps")}
    assert quality(none, np.ones(3, int))["quality"].tolist() == [1, 1, 1]


def run(*words) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["validate", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.stdout, result.stderr


def test_a_directory_is_validated_and_the_report_lies_beside_it(tmp_path):
    rows = clips()
    rows[3].update(signer="<script>&")
    code, said, _ = run(write(tmp_path / "clips", rows, "clips"))
    home = tmp_path / "clips-validation"
    assert (code, "0 errors, 0 warnings" in said) == (0, True)
    page = (home / "report.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "&lt;script&gt;&amp;" in page and "<script" not in page
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
    assert "settings" in {finding.check for finding in views.validate(other).findings}


@pytest.mark.parametrize("change", ["extract.workers=1", "extract.retry_quarantined=true"])
def test_how_landmarks_were_made_says_nothing_against_them(tmp_path, change):
    settings = config.load(["source.kind=synthetic", f"out={tmp_path}"])
    write(settings.landmarks_dir, landmarks(), "landmarks", config=pipeline.sections(settings))
    other = config.load(["source.kind=synthetic", f"out={tmp_path}", change])
    assert "settings" not in {finding.check for finding in views.validate(other).findings}
    assert pipeline.landmarks_of(other) == settings.landmarks_dir


def test_a_stage_is_validated_from_within(tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path / "landmarks", landmarks(), "landmarks"))
    assert run(".")[0] == 0
    assert (tmp_path / "landmarks-validation" / "report.html").exists()


def _stages(settings: config.Config) -> list[dict]:
    assert views.validate(settings).good()
    return json.loads((settings.home / "validation" / "validation.json").read_text())["stages"]


def test_what_a_source_audits_is_noted(tmp_path, monkeypatch):
    settings = config.load(["source.kind=synthetic", f"out={tmp_path}"])
    monkeypatch.setattr(synthetic, "audit", lambda _: {"said": "3 of 30 files are missing"}, raising=False)
    pipeline.landmarks(settings)
    monkeypatch.delattr(synthetic, "audit")  # its files may be gone by now
    told = [finding.line for finding in views.validate(settings).findings if finding.check == "audit"]
    assert told == ["landmarks: 3 of 30 files are missing"]


def test_every_skeleton_that_names_shoulders_is_as_large_as_they_are_apart():
    for known in evidence.skeleton.LAYOUTS.values():
        names = dict(known.names)
        if "left_shoulder" in names:
            places = np.random.default_rng(0).normal(size=(1, known.points, 2))
            apart = np.linalg.norm(places[0, names["left_shoulder"]] - places[0, names["right_shoulder"]])
            assert evidence.body_size(places, np.ones((1, known.points), bool), known) == pytest.approx(apart)
