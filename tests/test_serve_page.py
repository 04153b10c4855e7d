"""The page of a service in a real browser: files, camera, keyboard, what is said when something fails."""

import subprocess
from dataclasses import replace
from pathlib import Path

import av
import made_browser
import numpy as np
import pytest
from made_browser import Page, browser
from made_bundles import untrained
from made_services import listening
from PIL import Image
from test_extract_frames import write
from test_infer_continuous import LENGTHS, signed

from raysign import store
from raysign.extract import landmarker
from raysign.schema import LANDMARKS, ClipRef, landmarks_row, to_table

pytestmark = [
    pytest.mark.models,
    pytest.mark.skipif(made_browser.program() is None, reason="no Chromium or Chrome on this machine"),
]
ANSWERED = "document.querySelectorAll('#answers li').length"
FAILED = "document.getElementById('error').textContent"


@pytest.fixture(scope="module")
def address(bundle_dir):
    with listening(bundle_dir, "any_extractor=true", "max_upload_mb=1", f"bundles.second={bundle_dir}") as made:
        yield made


@pytest.fixture(scope="module")
def tab():
    with browser("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream") as made:
        yield made


@pytest.fixture
def page(tab, address):
    """The page opened anew."""
    tab.asked.clear()
    tab.logged.clear()
    tab.wide(1280)
    tab.open(address)
    tab.until("document.getElementById('bundle').options.length")
    yield tab
    assert_own(tab, address)


def assert_own(tab: Page, address: str) -> None:
    """Nothing was asked of another host, and nothing failed in silence."""
    host = address.removeprefix("http://")
    for asked in tab.asked:
        assert asked.startswith((address, f"ws://{host}/", f"blob:{address}", "data:")), asked
    assert [line for line in tab.logged if "status of 4" not in line and "ERR_CONN" not in line] == []


@pytest.fixture
def photo(real_data) -> Path:
    return next((real_data / "silfa_images" / "B").iterdir())


def drawn(tab: Page) -> int:
    """Pixels of the overlay that are not see-through."""
    return tab.tell("""(() => { const c = document.getElementById('overlay');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;
        for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; })()""")


@pytest.mark.real_data
@pytest.mark.parametrize("width", [1280, 390])
def test_a_photo_is_shown_with_its_skeleton_and_the_likeliest_glosses(page, photo, width, tmp_path):
    page.wide(width)
    page.choose(photo)
    assert page.until(ANSWERED) == 3
    page.until("document.getElementById('overlay').width > 0")
    assert drawn(page) > 500
    assert page.text("facts").startswith("1 frame; answered in")
    assert "only the skeleton" not in page.text("facts")
    assert page.text("spoken").endswith(" percent")
    assert page.tell("document.documentElement.scrollWidth <= innerWidth")
    page.save(tmp_path / "page.png")


@pytest.mark.real_data
def test_a_video_is_drawn_over_in_step_with_its_time(page, photo, tmp_path):
    picture = Image.open(photo).convert("RGB").resize((640, 360))
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for i in range(10):  # somebody who moves to the right
            moved = np.roll(np.asarray(picture), 8 * i, axis=1)
            for packet in stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    page.choose(tmp_path / "a.mp4")
    page.until(ANSWERED)
    assert page.text("facts").startswith("10 frames, 1.0 s")
    page.tell("document.getElementById('video').pause()")
    seen = []
    for seconds in (0.05, 0.85):
        page.tell(f"document.getElementById('video').currentTime = {seconds}")
        page.until("!document.getElementById('video').seeking")
        page.tell("new Promise((done) => setTimeout(done, 300))")
        seen.append(
            page.tell("""(() => { const c = document.getElementById('overlay');
            const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let sum = 0, n = 0;
            for (let i = 3; i < d.length; i += 4) if (d[i]) { sum += (i >> 2) % c.width; n += 1; }
            return sum / n / c.width; })()""")
        )
    assert seen[1] - seen[0] == pytest.approx(64 / 640, abs=0.04)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_signs_of_a_long_clip_are_listed_and_can_be_gone_to(tmp_path, width):
    clip, _, _ = signed(1, count=4)
    row = landmarks_row(ClipRef("talk", "x", "1"), "made up", clip)
    store.write_table(tmp_path / "talk.parquet", to_table([row], LANDMARKS))
    replace(untrained(), card={"landmark_lengths": LENGTHS}).save(tmp_path / "bundle")
    with listening(tmp_path / "bundle", "media=false") as address, browser() as tab:
        tab.wide(width)
        tab.open(address)
        tab.until("document.getElementById('bundle').options.length")
        tab.choose(tmp_path / "talk.parquet")
        tab.until("document.querySelectorAll('#signs button').length === 4")
        assert tab.text("state") == "4 signs, one after the other:"
        assert tab.text("spoken").count(",") == 3
        assert tab.text("facts").endswith("This browser shows only the skeleton of it.")
        tab.tell("document.querySelectorAll('#signs button')[2].click()")
        assert tab.tell(ANSWERED) == 3
        marked = "[...document.querySelectorAll('#signs button')].map((one) => one.getAttribute('aria-current'))"
        assert tab.tell(marked) == ["false", "false", "true", "false"]
        assert tab.tell("document.documentElement.scrollWidth <= innerWidth")
        tab.save(tmp_path / "signs.png")
        assert_own(tab, address)


@pytest.mark.parametrize("words", [(), ("real",)])
def test_a_camera_is_watched_until_it_is_switched_off(address, request, words, tmp_path):
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    if words:
        photo = next((request.getfixturevalue("real_data") / "silfa_images" / "B").iterdir())
        film = tmp_path / "camera.mjpeg"
        picture = Image.open(photo).convert("RGB")
        picture.resize((640, 360)).save(tmp_path / "a.jpg")
        film.write_bytes((tmp_path / "a.jpg").read_bytes() * 30)
        flags.append(f"--use-file-for-fake-video-capture={film}")
    with browser(*flags) as tab:
        tab.open(address)
        tab.until("document.getElementById('bundle').options.length")
        tab.tell("document.getElementById('camera').click()")
        if words:
            assert tab.until(ANSWERED) == 3
            assert drawn(tab) > 500
            assert tab.text("state") == "The last 2.5 seconds:"
        else:
            tab.until("document.getElementById('state').textContent === 'No hand or person is seen.'")
        tab.until("document.getElementById('facts').textContent.endsWith('ms for a frame')")
        tab.save(tmp_path / "camera.png")
        tab.tell("document.getElementById('camera').click()")
        tab.until("document.getElementById('state').textContent === 'The camera is off.'")
        assert tab.tell("document.getElementById('camera').getAttribute('aria-pressed')") == "false"
        assert tab.tell("document.getElementById('stage').hidden")
        assert_own(tab, address)


def test_a_camera_that_is_refused_is_told_in_words(address):
    with browser("--deny-permission-prompts") as tab:
        tab.open(address)
        tab.until("document.getElementById('bundle').options.length")
        tab.tell("document.getElementById('camera').click()")
        assert "could not be used" in tab.until(FAILED)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello", "This kind of file cannot be read."),
        (b"\0" * 2_000_000, "too large"),
        (b"\xff\xd8\xff" + bytes(1000), "Nothing could be recognised in this file."),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_words(page, tmp_path, content, words):
    (tmp_path / "a.jpg").write_bytes(content)
    page.choose(tmp_path / "a.jpg")
    assert words in page.until(FAILED)
    assert page.tell(ANSWERED) == 0


def test_nobody_in_the_picture_is_told_in_words(page, tmp_path):
    page.choose(write(tmp_path / "a.mp4", 5))
    assert page.until(FAILED).startswith("No hand or person was seen.")


def test_a_service_that_has_gone_is_told_in_words(bundle_dir, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with browser() as tab:
        with listening(bundle_dir, "any_extractor=true") as address:
            tab.open(address)
            tab.until("document.getElementById('bundle').options.length")
        tab.choose(tmp_path / "a.png")
        assert tab.until(FAILED) == "The connection was lost. Is the service still running?"


def test_all_can_be_done_with_the_keyboard_and_all_has_a_name(page):
    reached = []
    for _ in range(5):
        page.press("Tab")
        reached.append(page.tell("document.activeElement.id || document.activeElement.tagName"))
        if reached[-1] == "camera":
            assert page.tell("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert [name for name in ("file", "camera", "bundle") if name not in reached] == []
    page.tell("document.getElementById('camera').focus()")
    page.press("Enter")
    page.until("document.getElementById('camera').getAttribute('aria-pressed') === 'true'")
    page.press("Space")
    page.until("document.getElementById('camera').getAttribute('aria-pressed') === 'false'")
    nodes = page.do("Accessibility.getFullAXTree")["nodes"]
    named = {(n["role"]["value"], n["name"]["value"]) for n in nodes if n.get("name") and not n.get("ignored")}
    assert {("button", "Use the camera"), ("combobox", "Recogniser"), ("heading", "Answer")} <= named
    assert any(role == "button" and name.startswith("Choose a video") for role, name in named)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_offers_what_the_chosen_recogniser_takes(tmp_path, width):
    imported = replace(untrained(), card={"extractor": "import synthetic"})
    imported.save(tmp_path / "landmarks")
    trained = {"extractor": landmarker.fingerprint(imported.config.extract)}
    replace(imported, card=trained).save(tmp_path / "media")
    with listening(tmp_path / "landmarks", f"bundles.media={tmp_path / 'media'}") as address, browser() as tab:
        tab.wide(width)
        tab.open(address)
        tab.until("document.getElementById('bundle').options.length")
        offered = []
        for name in ("tiny", "media"):
            tab.tell(f"document.getElementById('bundle').value = '{name}'")
            tab.tell("document.getElementById('bundle').dispatchEvent(new Event('change'))")
            told = " ".join(tab.text(part) for part in ("asks", "choose", "hint"))
            offered.append(
                ("landmark" in told, "a photo" in told, tab.tell("document.getElementById('camera').hidden"))
            )
            tab.save(tmp_path / f"{name}.png")
        assert offered == [(True, False, True), (False, True, False)]
        assert tab.tell("document.documentElement.scrollWidth <= innerWidth")
        assert_own(tab, address)


def test_the_scripts_of_the_page_are_modules_without_a_library():
    folder = Path(__file__).parents[1] / "raysign" / "serve" / "page"
    found = subprocess.run(
        ["grep", "-rnE", "https?://[a-z]|eval\\(|Function\\(", folder], capture_output=True, text=True
    )
    assert found.stdout == ""
