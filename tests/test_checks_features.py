"""Clips that hold features beside points, or instead of them."""

from dataclasses import asdict

import numpy as np
import pytest
from made_stages import Plant, clips, doubled, found, made, write

from raysign import schema
from raysign.checks import evidence
from raysign.clips.recipes import hand_84

HAND = hand_84.Options()  # pyright: ignore[reportCallIssue]


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
