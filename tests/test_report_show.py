"""Pictures of clips: every skeleton can be drawn, and the signer's right hand is where the camera sees it."""

import io
from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image
from test_cli import raysign, refusal

from raysign import config
from raysign.clips.recipes import shoulder_centered
from raysign.kinds import kind_module
from raysign.report import drawing, show
from raysign.report.drawing import COLOURS, View
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS, LEFT_WRIST, RIGHT_WRIST, Skeleton, text_of
from raysign.sources import synthetic

ROOM_OF_LEGEND = 60  # pixels at the foot of a strip
AXES = ("x", "y", "z")
layouts = pytest.mark.parametrize("skeleton", LAYOUTS.values(), ids=LAYOUTS)


def signed(signer: int = 0) -> Landmarks:
    """A made-up clip; signer 3 is left-handed."""
    options = synthetic.Options()  # pyright: ignore[reportCallIssue]
    wanted = f"signer{signer}/sign00/0"
    return synthetic.read(next(ref for ref in synthetic.clips(options) if ref.id == wanted), options)


def settings(*words: str) -> config.Config:
    return config.load(("source.kind=synthetic", *words))


def pixels(view: View, side: str) -> np.ndarray:
    """(N, 2) row and column of the pixels in the colour of a side, of a strip of one frame."""
    picture = np.asarray(Image.open(io.BytesIO(drawing.strip([("clip", [view])], frames=1))).convert("RGB"))
    colour = np.array([int(COLOURS[side][i : i + 2], 16) for i in (1, 3, 5)])
    return np.argwhere((np.abs(picture[:-ROOM_OF_LEGEND].astype(int) - colour) < 25).all(-1))


def made(skeleton: Skeleton, persons: int = 1, frames: int = 5, name: str = "made") -> View:
    """Points at random places, a third of them not seen."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(persons, frames, skeleton.points, 3))
    x[rng.random(x.shape[:3]) < 0.3] = np.nan
    return View(name, x, skeleton, AXES)


def features(frames: int = 12) -> View:
    x = np.random.default_rng(0).normal(size=(1, frames, 1, 6))
    x[:, 3:5] = np.nan
    return View("features", x, Skeleton("features", (("features", 1),), ()), tuple("abcdef"))


def is_png(data: bytes) -> bool:
    return data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND"


@layouts
def test_every_skeleton_can_be_drawn(skeleton):
    assert is_png(drawing.strip([("a clip", [made(skeleton), made(skeleton, persons=2)])]))


@layouts
def test_twins_are_on_opposite_sides(skeleton):
    for point, twin in enumerate(skeleton.mirror):
        assert {skeleton.sides[point], skeleton.sides[twin]} in ({""}, {"left", "right"})
    for part in ("left", "right"):
        hand = skeleton.slices.get(f"{part}_hand", slice(0))
        assert set(skeleton.sides[hand]) <= {part}


@pytest.mark.parametrize("skeleton", [one for one in LAYOUTS.values() if one.names], ids=lambda one: one.name)
def test_points_named_after_a_side_are_on_it(skeleton):
    named = {word: skeleton.sides[point] for word, point in skeleton.names if word.startswith(("left_", "right_"))}
    if any(named.values()):  # a hand alone has none
        assert all(word.startswith(side) for word, side in named.items())


def test_a_body_has_sides_though_its_face_has_no_mirror():
    with_face = LAYOUTS["holistic_543"]
    assert with_face.sides[:33] == LAYOUTS["pose_33"].sides
    assert not any(with_face.sides[with_face.slices["face"]])


def test_what_is_not_seen_is_not_drawn():
    view = made(LAYOUTS["top_body_59"], frames=1)
    nothing = replace(view, x=np.full_like(view.x, np.nan))
    assert len(pixels(view, "left"))
    assert not len(pixels(nothing, "left"))


def test_the_signers_right_hand_is_on_the_left_of_the_picture():
    view = show.views(signed(), settings())[0]
    first = replace(view, x=view.x[:, :1])  # hands at rest
    assert pixels(first, "right")[:, 1].mean() < pixels(first, "left")[:, 1].mean()


@pytest.mark.parametrize("signer", [0, 3])
def test_a_mirror_image_is_the_picture_turned_round_with_its_colours_exchanged(signer):
    off = [f"augment.{name}=0" for name in config.Augment.model_fields if name != "mirror"]
    _, plain, mirrored = show.views(signed(signer), settings("augment.mirror=1", *off))
    busiest = np.isfinite(plain.x).all(-1).sum((0, 2)).argmax()
    plain, mirrored = (replace(view, x=view.x[:, [busiest]]) for view in (plain, mirrored))
    left, right = (pixels(plain, side).mean(0) for side in ("left", "right"))
    left_after, right_after = (pixels(mirrored, side).mean(0) for side in ("left", "right"))
    assert left[0] == pytest.approx(right_after[0], abs=2)
    assert right[0] == pytest.approx(left_after[0], abs=2)
    assert left[1] + right_after[1] == pytest.approx(right[1] + left_after[1], abs=3)
    assert right[1] < left[1]
    assert right_after[1] < left_after[1]


def test_augmented_clips_show_what_the_config_asks_for():
    off = [f"augment.{name}=0" for name in config.Augment.model_fields]
    raw, prepared, same = show.views(signed(), settings(*off))
    np.testing.assert_array_equal(prepared.x, same.x)
    assert prepared.skeleton == shoulder_centered.skeleton(settings().prepare, "holistic_75")
    np.testing.assert_array_equal(raw.x, signed().values)


def test_a_clip_whose_recipe_minds_the_aspect_is_as_tall_as_one_that_is_square_by_the_picture():
    wide = replace(signed(), width=1920, height=1080)
    off = [f"augment.{name}=0" for name in config.Augment.model_fields]
    given, minded = (show.views(wide, settings(f"prepare.aspect={word}", *off))[1:] for word in ("false", "true"))
    for without, with_ in zip(given, minded, strict=True):
        np.testing.assert_allclose(with_.points(), without.points(), atol=0.02)


def test_a_body_that_its_recipe_sets_upright_is_drawn_upright():
    known, rng = LAYOUTS["ntu_25"], np.random.default_rng(0)
    names = dict(known.names)
    values = rng.normal(0, 0.01, (1, 3, 25, 3))
    values[..., 1] += np.linspace(-1, 0, 25)  # metres, upwards
    for name, place in {"head": (0, 0.5), "left_shoulder": (-0.3, 0.2), "right_shoulder": (0.3, 0.2)}.items():
        values[:, :, names[name], :2] = place
    values[:, :, :2, :2] = [[0, -0.5], [0, -0.2]]  # the spine
    clip = Landmarks(values.astype(np.float32), np.ones((1, 3, 25), np.float32), "ntu_25")
    off = [f"augment.{name}=0" for name in config.Augment.model_fields]
    for view in show.views(clip, settings("prepare.kind=prenormalized", *off))[1:]:
        drawn = view.points()[0, 0]
        assert drawn[names["head"], 1] < drawn[names["left_shoulder"], 1] < drawn[0, 1]
        assert np.ptp(drawn[:, 1]) > 0.9


@pytest.mark.parametrize("sign", [1, -1])
def test_a_declared_skeleton_stands_on_its_feet_whichever_way_y_grows(sign):
    declared = Skeleton("mine", (("body", 3),), ((0, 1), (1, 2)), names=(("foot", 0), ("hips", 1), ("head", 2)))
    values = np.zeros((1, 4, 3, 3), np.float32)
    values[..., 1] = np.array([0.1, 0.5, 0.9]) * sign
    clip = Landmarks(values, np.ones((1, 4, 3), np.float32), text_of(declared))
    for view in show.views(clip, settings("prepare.kind=centered", "prepare.centre=hips")):
        drawn = view.points()[0, 0, :, 1]
        assert drawn[2] < drawn[1] < drawn[0]


def test_a_clip_that_cannot_be_prepared_is_drawn_raw_with_the_reason():
    views = show.views(signed(), settings("prepare.min_frames=200"))
    assert "expected at least 200" in views[1].note
    assert is_png(drawing.strip([("short", views)]))


@pytest.mark.parametrize("suffix", drawing.SUFFIXES)
def test_clips_of_features_are_maps_beside_skeletons(tmp_path, suffix):
    drawing.save([("a clip", [made(LAYOUTS["coco_17"]), features()])], tmp_path / f"a{suffix}", fps=25)
    assert (tmp_path / f"a{suffix}").stat().st_size > 3000


def test_a_map_is_white_where_nothing_is_seen():
    view = features()
    picture = np.asarray(Image.open(io.BytesIO(drawing.strip([("", [view])]))).convert("RGB"))
    line = (picture[len(picture) // 2] == 255).all(-1)
    inside = np.flatnonzero(~line)
    assert line[inside[0] : inside[-1]].mean() == pytest.approx(2 / 12, abs=0.03)


def test_a_map_of_one_frame_tells_its_features_apart():
    x = np.linspace(0, 1, 6).reshape(1, 1, 1, 6)
    view = View("features", x, Skeleton("features", (("features", 1),), ()), tuple("abcdef"))
    picture = np.asarray(Image.open(io.BytesIO(drawing.strip([("", [view])]))).convert("RGB"))
    inside = picture[:, picture.shape[1] // 2].astype(int)
    colours = inside[np.ptp(inside, axis=1) > 20]  # none of the greys around it
    assert len(np.unique(colours, axis=0)) >= 5


def test_a_film_has_every_frame_of_the_longest_view(tmp_path):
    clips = [("a clip", [made(LAYOUTS["coco_17"], frames=7), features(9)]), ("b", [made(LAYOUTS["hand_21"])])]
    drawing.save(clips, tmp_path / "a.gif", fps=20)
    drawing.save(clips, tmp_path / "a.mp4", fps=29.97)
    with Image.open(tmp_path / "a.gif") as film:
        assert (getattr(film, "n_frames", 1), film.info["duration"]) == (9, 50)
    with av.open(str(tmp_path / "a.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 9


@pytest.mark.usefixtures("cluster")
def test_show_draws_one_clip_of_each_gloss_or_those_that_are_named(tmp_path):
    words = ("source.kind=synthetic", "source.glosses=3", "source.signers=1", "source.takes=2", "ray.cpus=1")
    result = raysign("show", *words, f"out={tmp_path}")
    assert result.exit_code == 0, result.output
    assert is_png((tmp_path / "show.png").read_bytes())
    landmarks = tmp_path / "landmarks"
    assert [title for title, _ in show.chosen(landmarks, (), 9)] == [
        f"signer0/sign0{i}/0 (sign0{i}, signer0)" for i in range(3)
    ]
    assert len(list(show.chosen(landmarks, (), 2))) == 2
    named = ("signer0/sign02/1", "signer0/sign00/1")
    assert [title.split()[0] for title, _ in show.chosen(landmarks, named, 1)] == list(named)
    assert "did you mean 'signer0/sign02/1'" in refusal(
        "show", *words, f"out={tmp_path}", "--clip", "signer0/sign02/11"
    )
    result = raysign("show", landmarks, "prepare.kind=hand_84", "--count=1")
    assert result.exit_code == 0, result.output
    assert is_png((tmp_path / "landmarks-show.png").read_bytes())
    assert "found no clip 'none'" in refusal("show", landmarks, "--clip", "none")
    (landmarks / "card.json").unlink()
    assert "no finished landmarks" in refusal("show", landmarks)
    assert ".mp4" in refusal("show", *words, f"out={tmp_path}", "--out", tmp_path / "a.bmp")


@pytest.mark.real_data
def test_hands_of_real_clips_hang_on_the_wrists_of_their_side_mirrored_or_not(real_data):
    source = kind_module("source", "landmark_parquet")
    options = source.Options(path=real_data / "gislr_official_samples")
    off = [f"augment.{name}=0" for name in config.Augment.model_fields if name != "mirror"]
    for ref in source.clips(options):
        for view in show.views(source.read(ref, options), settings("augment.mirror=1", *off))[1:]:
            for part, wrist in (("left_hand", LEFT_WRIST), ("right_hand", RIGHT_WRIST)):
                root, pose = view.x[:, :, view.skeleton.slices[part].start], view.x[:, :, wrist]
                seen = np.isfinite(root) & np.isfinite(pose)
                np.testing.assert_allclose(root[seen], pose[seen], atol=1e-5)


def test_a_clip_of_features_alone_shows_them_raw_prepared_and_augmented(tmp_path):
    values, numbers = np.empty((1, 5, 0, 3), np.float32), np.random.default_rng(0).normal(size=(5, 36))
    numbers[2] = np.nan
    clip = Landmarks(values, values[..., 0], "no_points", features=numbers.astype(np.float32),
                     features_kind="phonological_36")  # fmt: skip
    chosen = settings("prepare.kind=stored_features", "prepare.features=phonological_36")
    views = show.views(clip, chosen)
    assert [view.x.shape[2:] for view in views] == [(1, 36)] * 3
    assert np.array_equal(views[0].x, views[1].x, equal_nan=True)
    drawing.save([("clip", views)], tmp_path / "a.png", fps=25)
    assert is_png((tmp_path / "a.png").read_bytes())
