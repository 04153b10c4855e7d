"""Every file of the folder of real recordings is read by a source, or there is a reason why none reads it."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from raysign import trees
from raysign.errors import RaysignError
from raysign.extract.frames import Video, image, is_image
from raysign.kinds import kind_module
from raysign.sources import detect

MSR = trees.read_yaml(Path(__file__).parents[1] / "configs" / "msr_action3d.yaml")["source"]
WORDS = trees.read_yaml(Path(__file__).parents[1] / "configs" / "traduttore_words.yaml")["source"]


class Row(NamedTuple):
    """What reads a file or folder. options: None where the path alone is enough."""

    path: str
    kind: str
    options: dict[str, Any] | None = None


TABLE = [
    Row("asl_az_static/asl_az_hand63_first100.npz", "npz", {"layout": "hand_21", "gloss": "label"}),
    Row("digits_images", "image_folder"),
    Row("fsl_videos_mit", "video_folder"),
    Row("gislr_official_samples", "landmark_parquet"),
    Row("kazuhito00/keypoint.csv", "landmark_csv",
        {"layout": "hand_21", "parts": [{"part": "hand", "channels": ["x", "y"]}],
         "label_names": "$RAYSIGN_TEST_DATA/kazuhito00/keypoint_classifier_label.csv"}),
    Row("kazuhito00/point_history.csv", "landmark_csv",
        {"skeleton": {"name": "finger_tip", "points": ["tip"]}, "parts": [{"part": "body", "channels": ["x", "y"]}],
         "frames": 16, "label_names": "$RAYSIGN_TEST_DATA/kazuhito00/point_history_classifier_label.csv"}),
    Row("mediapipe_gesture_images", "image_folder"),
    Row("mediapipe_samples", "video_folder"),
    Row("msl150", "video_folder"),
    Row("msr_action3d_odd_subjects/msr_action3d_odd.npz", "npz", MSR),
    Row("msr_action3d_odd_subjects/raw_txt", "joint_text",
        {"skeleton": MSR["skeleton"], "parts": [{"part": "body", "channels": ["x", "y", "z", "skip"]}],
         "pattern": r"(?P<gloss>a\d+)_(?P<signer>s\d+)"}),
    Row("pose_format", "pose_format", {}),  # beside a video, so that the kind must be given
    Row("pose_format", "video_folder", {}),
    Row("silfa_gislr_letters", "landmark_parquet"),
    Row("silfa_images", "image_folder"),
    Row("traduttore_words/gislr", "landmark_parquet"),
    Row("traduttore_words/npy_tree", "npy_tree"),
    Row("traduttore_words/words_shared.npz", "npz", WORDS),
]  # fmt: skip
NOT_READ = {
    "README.md": "says what is what",
    "*/LICENSE*": "a licence",
    "*/train.csv": "the list that landmark_parquet reads beside its files",
    "*/sign_to_prediction_index_map.json": "numbers of the glosses, which raysign gives itself",
    "kazuhito00/*_label.csv": "names of label numbers",
    "labels/fsl105/*": "names of glosses and categories, without clips",
    "labels/wlasl/*": "lists of videos that are not here; tests/test_sources_wlasl.py reads them",
    "mediapipe_gesture_images/*.prototxt": "landmarks to compare with; tests/test_extract_landmarker.py reads them",
}


def settings(row: Row, root: Path):
    tree = {**(row.options or {}), "path": str(root / row.path), "kind": row.kind}
    return kind_module("source", row.kind).Options.model_validate(tree)


@pytest.mark.real_data
def test_every_file_is_read_or_has_a_reason_why_not(real_data):
    files = {file for file in real_data.rglob("*") if file.is_file()}
    for row in TABLE:
        clips = {Path(ref.path) for ref in kind_module("source", row.kind).clips(settings(row, real_data))}
        files = {file for file in files if not {file, file.parent} & clips}
    unread = sorted(file.relative_to(real_data).as_posix() for file in files)
    reasons = {file: [pattern for pattern in NOT_READ if fnmatch(file, pattern)] for file in unread}
    assert [file for file in unread if not reasons[file]] == []
    assert {pattern for known in reasons.values() for pattern in known} == set(NOT_READ)


@pytest.mark.real_data
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.kind}-{row.path}")
def test_the_clips_of_a_row_are_read(real_data, row):
    module, options = kind_module("source", row.kind), settings(row, real_data)
    refs = module.clips(options)
    for ref in refs[:: max(1, len(refs) // 4)]:
        if hasattr(module, "read"):
            found = module.read(ref, options)
            assert np.isfinite(found.values).any()
            assert found.values.shape[1] == found.visibility.shape[1] > 0
        else:
            pixels = image(ref.path) if is_image(ref.path) else next(iter(Video(ref.path)))[1]
            assert pixels.std() > 0


@pytest.mark.real_data
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.kind}-{row.path}")
def test_a_path_that_needs_no_options_is_recognised(real_data, row):
    if row.options is None:
        assert detect(real_data / row.path) == row.kind
    else:
        with pytest.raises(RaysignError, match=r"give source\.kind"):
            detect(real_data / row.path)
