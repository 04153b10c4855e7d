"""Folders of videos and images, and manifests: what is offered, under which names, and what is refused."""

import json
from pathlib import Path

import pytest

from raysign import config
from raysign.errors import ConfigError, SourceError
from raysign.sources import detect, image_folder, manifest, video_folder


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def videos(path: Path, **options):
    return video_folder.clips(video_folder.Options(path=path, **options))


def listed(path: Path, **options):
    return manifest.clips(manifest.Options(path=path, **options))


def test_the_gloss_of_a_video_is_the_folder_it_lies_in(tmp_path):
    touch(tmp_path, "book/a.mp4", "set two/drink/b.MOV", "top.webm", "book/notes.txt", ".hidden/c.mp4", "book/.d.mp4")
    assert [(clip.id, clip.gloss) for clip in videos(tmp_path)] == [
        ("book/a.mp4", ("book",)),
        ("set two/drink/b.MOV", ("drink",)),
        ("top.webm", ()),
    ]
    assert all(Path(clip.path).is_file() and clip.stamp.startswith("1-") for clip in videos(tmp_path))


def test_folders_that_are_links_are_followed_and_those_that_lead_back_are_not(tmp_path):
    touch(tmp_path, "set/book/a.mp4", "elsewhere/b.mp4")
    for name, target in (("drink", "elsewhere"), ("book/again", "set"), ("up", ""), ("gone", "nowhere")):
        (tmp_path / "set" / name).symlink_to(tmp_path / target)
    (tmp_path / "elsewhere" / "other").symlink_to(tmp_path / "set" / "book")
    (tmp_path / "set" / "itself").symlink_to(tmp_path / "set" / "itself")
    assert [clip.id for clip in videos(tmp_path / "set")] == ["book/a.mp4", "drink/b.mp4", "drink/other/a.mp4"]


def test_images_are_listed_by_class_whatever_the_case_of_their_ending(tmp_path):
    touch(tmp_path, "A/1.JPG", "B/2.jpeg", "B/deep/3.Png", "C/4.webp", "C/5.bmp")
    found = image_folder.clips(image_folder.Options(path=tmp_path))
    assert [clip.gloss[0] for clip in found] == ["A", "B", "deep", "C", "C"]


def test_a_pattern_tells_signer_and_gloss_from_the_path(tmp_path):
    touch(tmp_path, "p07/book_1.mp4")
    (clip,) = videos(tmp_path, pattern=r"(?P<signer>p\d+)/(?P<gloss>[a-z]+)_")
    assert (clip.signer, clip.gloss) == ("p07", ("book",))


@pytest.mark.parametrize("pattern", ["(", "no group", r"(?P<person>\w+)"])
def test_a_pattern_that_tells_nothing_is_refused(tmp_path, pattern):
    with pytest.raises(ConfigError, match=r"source\.pattern"):
        config.load([f"source.path={tmp_path}", f"source.pattern={pattern}"])


@pytest.mark.parametrize("module", [video_folder, image_folder])
def test_a_folder_without_media_or_none_at_all_is_refused_by_name(tmp_path, module):
    for path in (tmp_path, tmp_path / "nowhere", touch(tmp_path, "file.txt") / "file.txt"):
        with pytest.raises(SourceError, match=str(path)):
            module.clips(module.Options(path=path))


def test_the_kind_of_a_path_is_told_by_what_lies_there(tmp_path):
    assert detect(touch(tmp_path / "v", "a/1.mp4", "a/1.jpg")) == "video_folder"
    assert detect(touch(tmp_path / "i", "a/1.jpg")) == "image_folder"
    table = tmp_path / "list.csv"
    table.write_text("path,gloss\na.mp4,book\n")
    assert detect(table) == "manifest"
    with pytest.raises(SourceError, match=r"no kind of source raysign knows \(files: \.txt\)"):
        detect(touch(tmp_path / "n", "a/1.txt"))


def test_a_manifest_tells_everything_of_a_clip(tmp_path):
    touch(tmp_path, "v/a.mp4")
    table = tmp_path / "clips.csv"
    table.write_text(
        "\ufeffPath, gloss,signer,split,start,end,category,extra\n"
        'v/a.mp4,book,p1,dev,1.5,2.25,noun,z\nv/a.mp4,"to drink",p2,train,,,,\n'
    )
    first, second = listed(table)
    assert (first.id, first.gloss, first.signer, first.split) == ("v/a.mp4[1.5-2.25]", ("book",), "p1", "val")
    assert (first.start, first.end, first.category) == (1.5, 2.25, "noun")
    assert (second.id, second.gloss, second.start, second.end) == ("v/a.mp4", ("to drink",), 0.0, None)


def test_a_json_manifest_counts_frames_as_wlasl_does(tmp_path):
    touch(tmp_path / "media", "a.mp4")
    table = tmp_path / "clips.json"
    entries = [
        {"path": "a.mp4", "gloss": ["I", "go"], "start_frame": 1, "end_frame": -1},
        {"path": "a.mp4", "gloss": "go", "start_frame": 5, "end_frame": 20},
        {"path": "a.mp4", "id": "tail", "start_frame": 21},
    ]
    table.write_text(json.dumps(entries))
    found = listed(table, root=tmp_path / "media")
    assert [clip.id for clip in found] == ["a.mp4", "a.mp4[5-20f]", "tail"]
    assert [(clip.first_frame, clip.last_frame) for clip in found] == [(1, None), (5, 20), (21, None)]
    assert found[0].gloss == ("I", "go")


@pytest.mark.parametrize("name", ["nowhere.mp4", "~no-such-user/a.mp4", "a\0.mp4", "\ud800.mp4"])
def test_a_missing_file_stays_listed(tmp_path, name):
    table = tmp_path / "clips.json"
    table.write_text(json.dumps([{"path": name}]))
    (clip,) = listed(table)
    assert clip.stamp == "missing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no entries"),
        ("path,gloss\n", "no entries"),
        ("gloss\nbook\n", "no column `path`"),
        ("path,glos\na.mp4,book\n", "did you mean 'gloss'"),
        ("path,start\na.mp4,soon\n", "entry 1: start is 'soon'"),
        ("path,start\na.mp4,nan\n", "entry 1: start is 'nan', expected a number"),
        ("path,end\na.mp4,inf\n", "entry 1: end is 'inf', expected a number"),
        ("path,start_frame\na.mp4,nan\n", "entry 1: start_frame is 'nan', expected a number"),
        ("path,end_frame\na.mp4,inf\n", "entry 1: end_frame is 'inf', expected a number"),
        ("path,end_frame\na.mp4,0\n", "entry 1: end_frame is 0, expected a whole number, counted from 1"),
        ("path,start_frame\na.mp4,1.5\n", "entry 1: start_frame is 1.5, expected a whole number"),
        ("path,start,end\na.mp4,2,1\n", "entry 1: its cut ends before it begins"),
        ("path,start,start_frame\na.mp4,2,9\n", r"a cut in seconds \[2-\] and one in frames \[9-f\]; give one of"),
        ("path,split\na.mp4,practice\n", "split is 'practice'"),
        ("path\na.mp4\na.mp4\n", "found more than once: a.mp4"),
        ("path,gloss\n,book\n", "entry 1: no path"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_answered_with_the_place_at_fault(tmp_path, text, expected):
    table = tmp_path / "clips.csv"
    table.write_text(text)
    with pytest.raises(SourceError, match=expected):
        listed(table)


def test_a_manifest_that_is_not_there_or_torn_is_refused(tmp_path):
    with pytest.raises(SourceError, match="give an existing manifest"):
        listed(tmp_path / "none.csv")
    (tmp_path / "a.json").write_text('[{"path": ')
    with pytest.raises(SourceError, match="not readable"):
        listed(tmp_path / "a.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(SourceError, match="not readable"):
        listed(tmp_path / "deep.json")
