"""The bundle that users look for: the newest, copied once, whole after whatever was killed."""

from pathlib import Path

import pytest

from raysign import pipeline


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
    place = pipeline._publish(made, tmp_path / "bundle")
    assert files(place) == files(made)
    inode = place.stat().st_ino
    assert pipeline._publish(made, place).stat().st_ino == inode
    (made / "card.json").write_text("card.json of the second")
    assert pipeline._publish(made, place).stat().st_ino != inode
    assert files(place) == files(made)


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("torn")], ids=["lost", "torn"])
def test_a_copy_that_is_not_whole_is_copied_again(tmp_path, made, harm):
    place = pipeline._publish(made, tmp_path / "bundle")
    harm(place / "weights.pt")
    assert files(pipeline._publish(made, place)) == files(made)


@pytest.mark.parametrize("copied", [False, True])
def test_what_a_killed_copy_left_is_cleared_away(tmp_path, made, copied):
    if copied:
        pipeline._publish(made, tmp_path / "bundle")
    for left in (".bundle.new", ".bundle.old"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "weights.pt").write_text("half")
    pipeline._publish(made, tmp_path / "bundle")
    assert {path.name for path in tmp_path.iterdir()} == {"train", "bundle"}
    assert files(tmp_path / "bundle") == files(made)
