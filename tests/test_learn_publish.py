"""The bundle that users look for: the newest, copied once, whole after whatever was killed."""

from pathlib import Path

import pytest

from raysign import store
from raysign.learn.publish import publish


def files(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


@pytest.fixture
def made(tmp_path) -> Path:
    """A bundle as training leaves it."""
    place = tmp_path / "train" / "bundle"
    place.mkdir(parents=True)
    for name in ("card.json", "weights.pt"):
        (place / name).write_text(f"{name} of the first")
    return place


def test_a_bundle_is_copied_once_and_a_newer_one_takes_its_place(tmp_path, made):
    place = publish(made, tmp_path / "bundle", print)
    assert files(place) == files(made)
    inode = place.stat().st_ino
    assert publish(made, place, print).stat().st_ino == inode
    (made / "card.json").write_text("card.json of the second")
    assert publish(made, place, print).stat().st_ino != inode
    assert files(place) == files(made)


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("torn")], ids=["lost", "torn"])
def test_a_copy_that_is_not_whole_is_copied_again(tmp_path, made, harm):
    place = publish(made, tmp_path / "bundle", print)
    harm(place / "weights.pt")
    assert files(publish(made, place, print)) == files(made)


@pytest.mark.parametrize("copied", [False, True])
def test_what_a_killed_copy_left_is_cleared_away(tmp_path, made, copied):
    if copied:
        publish(made, tmp_path / "bundle", print)
    for left in (".bundle.new", ".bundle.old"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "weights.pt").write_text("half")
    publish(made, tmp_path / "bundle", print)
    assert {path.name for path in tmp_path.iterdir()} == {"train", "bundle"}
    assert files(tmp_path / "bundle") == files(made)


def test_a_bundle_that_takes_the_place_of_another_says_what_is_no_longer_true(tmp_path):
    lines = []
    for training in ("first", "second", "second"):
        made = tmp_path / "train" / training / "bundle"
        store.write_json(made / "card.json", {"training": training})
        publish(made, tmp_path / "bundle", lines.append)
        if training == "first":
            store.write_json(tmp_path / "evaluation" / "metrics.json", {"training": training})
    (line,) = lines
    assert "now of training second; the one before stays in train/first/bundle" in line
    assert "evaluation is of another one" in line
