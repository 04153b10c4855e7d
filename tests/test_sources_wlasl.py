"""WLASL's lists over the videos that are there, and the account of those that are not."""

import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from test_extract_frames import numbers, write
from test_extract_work import reader
from test_sources_damage import answer, change_json

from raysign import config
from raysign.errors import SourceError
from raysign.extract import work
from raysign.extract.frames import Video
from raysign.report import words
from raysign.sources import detect, wlasl

LIST = [
    {"gloss": "book", "instances": [
        {"video_id": "00001", "signer_id": 4, "split": "train", "frame_start": 1, "frame_end": -1, "url": "x"},
        {"video_id": "00002", "signer_id": -1, "split": "val", "frame_start": 11, "frame_end": 20},
    ]},
    {"gloss": "drink", "instances": [
        {"video_id": "00003", "signer_id": 4, "split": "test", "frame_start": 1, "frame_end": 15},
        {"video_id": "00004", "signer_id": 5, "split": "train", "frame_start": 1, "frame_end": -1},
    ]},
]  # fmt: skip
NSLT = {
    "00003": {"subset": "train", "action": [1, 3, 9]}, "00001": {"subset": "test", "action": [0, 1, 30]},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Lists, and the videos 1 to 3 of 4, the third in a folder of its own."""
    (tmp_path / "list.json").write_text(json.dumps(LIST))
    (tmp_path / "nslt.json").write_text(json.dumps(NSLT))
    (tmp_path / "wlasl_class_list.txt").write_text("0\tbook\n1\tice cream\n")
    for name in ("00001.mp4", "00002.MKV", "drink/00003.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def wlasl_of(path, **changes):
    return wlasl.Options.model_validate({"path": path, **changes})


def listed(path, **changes):
    return wlasl.clips(wlasl_of(path, **changes))


def told(refs):
    return [(ref.id, ref.gloss, ref.signer, ref.split, ref.first_frame, ref.last_frame) for ref in refs]


def test_the_videos_that_are_there_are_clips_as_the_list_tells_them(folder):
    assert detect(folder / "list.json") == "wlasl"
    refs = listed(folder / "list.json")
    assert told(refs) == [
        ("00001", ("book",), "4", "train", 1, None), ("00002", ("book",), None, "val", 11, 20),
        ("00003", ("drink",), "4", "test", 1, 15),
    ]  # fmt: skip
    assert [ref.path for ref in refs] == [
        str(folder / "videos" / name) for name in ("00001.mp4", "00002.MKV", "drink/00003.mp4")
    ]


def test_an_nslt_list_says_which_videos_how_and_in_which_split(folder):
    assert told(listed(folder / "list.json", nslt=folder / "nslt.json")) == [
        ("00003", ("drink",), "4", "train", 3, 9), ("00001", ("book",), "4", "test", 1, 30),
    ]  # fmt: skip


def test_an_nslt_list_alone_takes_its_names_from_the_class_list(folder):
    assert detect(folder / "nslt.json") == "wlasl"
    assert told(listed(folder / "nslt.json")) == [
        ("00003", ("ice cream",), None, "train", 3, 9), ("00001", ("book",), None, "test", 1, 30),
    ]  # fmt: skip


def test_videos_that_are_cut_already_are_read_whole(folder):
    assert {(ref.first_frame, ref.last_frame) for ref in listed(folder / "list.json", cut=False)} == {(1, None)}


def test_a_cut_of_the_list_is_what_the_decoder_gives(folder):
    write(folder / "videos" / "00002.MKV", frames=30)
    ref = listed(folder / "list.json")[1]
    assert numbers(Video(ref.path, first=ref.first_frame, last=ref.last_frame)) == list(range(10, 20))


def test_a_subset_is_the_first_glosses_of_the_list(folder):
    many = [{"gloss": f"g{i}", "instances": [{"video_id": f"{i}", "split": "train"}]} for i in range(120)]
    nslt = {f"{i}": {"subset": "val", "action": [i, 1, 9]} for i in range(120)}
    (folder / "many.json").write_text(json.dumps(many))
    (folder / "n.json").write_text(json.dumps(nslt))
    for i in range(120):
        (folder / "videos" / f"{i}.mp4").write_bytes(b"")
    for changes in ({}, {"nslt": folder / "n.json"}):
        assert len(listed(folder / "many.json", **changes)) == 120
        assert [ref.id for ref in listed(folder / "many.json", subset=100, **changes)] == [str(i) for i in range(100)]


def test_what_is_missing_is_counted_by_split_and_by_gloss(folder, caplog):
    found = wlasl.audit(wlasl_of(folder / "list.json"))
    assert found["splits"] == {"train": (1, 2), "val": (0, 1), "test": (0, 1)}
    assert found["glosses"] == {"drink": (1, 2)}
    said = "1 of 4 listed videos are missing (train 1 of 2, val 0 of 1, test 0 of 1); 0 of 2 glosses have none"
    assert found["said"] == said
    listed(folder / "list.json")
    assert caplog.messages == [said]
    (folder / "videos" / "00004.mp4").write_bytes(b"")
    listed(folder / "list.json")
    assert caplog.messages == [said]


def test_the_card_keeps_what_is_missing_and_says_it(folder):
    options, place = wlasl_of(folder / "list.json"), folder / "landmarks"
    plan = work.plan(wlasl.clips(options), place, "e")
    rows = list(map(work.Worker(reader, place, "e", plan.run), plan.units))
    card = work.finish(place, plan, rows, config={}, seconds=0, audit=wlasl.audit(options))
    assert card["audit"]["splits"]["train"] == [1, 2]
    assert "1 of 4 listed videos are missing" in words.describe(card, place)


def test_a_folder_without_any_listed_video_is_refused(folder):
    with pytest.raises(SourceError, match=r"none of the videos is there; 4 of 4 listed videos are missing"):
        listed(folder / "list.json", videos=folder / "nowhere")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "not readable as JSON"), ("3", "TypeError"), ('[{"instances": []}]', "KeyError 'gloss'"),
        ('[{"gloss": "a", "instances": [{"video_id": "1", "split": "practice"}]}]', "split 'practice'"),
        ('[{"gloss": "a", "instances": [{"split": "train"}]}]', "KeyError 'video_id'"),
        ('[{"gloss": "a", "instances": 3}]', "TypeError"),
        ('{"1": {"subset": "train", "action": [7, 1, 9]}}', "IndexError"),
        ('{"1": {"subset": "train", "action": [-1, 1, 9]}}', "IndexError"),
        ('{"1": {"subset": "train", "action": [1]}}', "ValueError"), ('{"1": 3}', "TypeError"),
        ('{"1": {"subset": "train", "action": [0, 1e999, 9]}}', "OverflowError"),
    ],
)  # fmt: skip
def test_a_list_of_another_form_is_refused(folder, text, said):
    (folder / "list.json").write_text(text)
    with pytest.raises(SourceError, match=said):
        listed(folder / "list.json")


@pytest.mark.parametrize("name", ["list.json", "nslt.json"])
@budget(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_list_of_wrong_types_is_answered_with_a_clear_error(folder, name, data):
    (folder / name).write_text(json.dumps(LIST if name == "list.json" else NSLT))
    change_json(folder / name, data)
    assert wlasl.recognises(folder / name) in (True, False)
    answer(wlasl.clips, wlasl_of(folder / name))


def test_an_unknown_subset_is_refused(folder):
    with pytest.raises(Exception, match="greater than or equal to 1"):
        config.load([f"source.path={folder / 'list.json'}", "source.kind=wlasl", "source.subset=0"])


@pytest.mark.real_data
def test_the_published_lists_agree_on_every_video(real_data, tmp_path):
    lists = real_data / "labels" / "wlasl"
    names = [one["video_id"] for entry in json.loads((lists / "asl100.json").read_text()) for one in entry["instances"]]
    (tmp_path / "videos").mkdir()
    for name in names[::2]:
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(b"")
    about = {"videos": tmp_path / "videos", "cut": False}
    first = listed(lists / "asl100.json", **about)
    second = listed(lists / "asl100.json", nslt=lists / "nslt_100.json", **about)
    third = listed(lists / "nslt_100.json", **about)
    key = {ref.id: (ref.gloss, ref.split) for ref in first}
    assert len(first) == len(names[::2]) == 1019
    assert (
        {ref.id: (ref.gloss, ref.split) for ref in second} == {ref.id: (ref.gloss, ref.split) for ref in third} == key
    )
    assert {ref.id: ref.signer for ref in first} == {ref.id: ref.signer for ref in second}
    counts = wlasl.audit(wlasl_of(lists / "asl100.json", **about))["splits"]
    assert {split: count for split, (_, count) in counts.items()} == {"train": 1442, "val": 338, "test": 258}
    assert sum(gone for gone, _ in counts.values()) == 1019
    assert Counter(ref.split for ref in first) == {split: count - gone for split, (gone, count) in counts.items()}
