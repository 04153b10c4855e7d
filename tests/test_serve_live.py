"""A camera before a service: points for each frame, answers about the last seconds, and an end to everything."""

import asyncio
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from made_bundles import settings
from made_services import as_json, service_of
from PIL import Image

from raysign.infer.predictor import Predictor
from raysign.schema import Landmarks
from raysign.serve.live import Past
from raysign.sources import synthetic


@pytest.fixture(scope="module")
def clip() -> Landmarks:
    source = settings().source
    return synthetic.read(synthetic.clips(source)[0], source)


def frame_of(clip: Landmarks, i: int) -> Landmarks:
    return replace(clip, values=clip.values[:, i : i + 1], visibility=clip.visibility[:, i : i + 1])


def test_the_past_is_the_frames_of_the_window_at_the_rate_they_came(clip):
    past = Past(window=1.0)
    for i in range(40):
        past.add(i / 20, frame_of(clip, i))
    seen = past.clip()
    np.testing.assert_array_equal(seen.values, clip.values[:, 19:40])
    assert seen.fps == pytest.approx(20)


def test_landmarks_of_a_camera_are_answered_as_the_predictor_does(bundle_dir, bundle, clip):
    async def shown() -> list[dict]:
        told = ("media=false", "live_every=0", "live_window=20")
        async with service_of(bundle_dir, *told) as client, client.camera("/api/v1/live?bundle=tiny") as camera:
            assert (await camera.next())["type"] == "websocket.accept"
            return [await camera.ask(as_json(frame_of(clip, i))) for i in range(30)]

    answers = asyncio.run(shown())
    assert "parts" in answers[0] and "parts" not in answers[1]
    points = np.array([answer["points"] for answer in answers], float).reshape(30, -1, 2)
    np.testing.assert_allclose(points[:, -21:], clip.values[0, :30, -21:, :2], atol=1e-4)
    # the rate is that of this machine, which a recipe that keeps every frame does not ask for
    first = replace(clip, values=clip.values[:, :30], visibility=clip.visibility[:, :30])
    wanted = dict(zip(bundle.labels, Predictor(bundle).predict([first])[0], strict=True))
    assert {one["gloss"]: one["probability"] for one in answers[-1]["top"]} == pytest.approx(wanted, abs=1e-4)


@pytest.mark.models
@pytest.mark.real_data
def test_pictures_of_a_camera_are_followed_and_recognised(bundle_dir, real_data):
    photo = next((real_data / "silfa_images" / "B").iterdir()).read_bytes()

    async def shown() -> list[dict]:
        async with service_of(bundle_dir, "any_extractor=true", "live_every=0") as client, client.camera() as camera:
            await camera.next()
            answers = [await camera.ask(photo) for _ in range(3)]
            assert len(client.service.decoders.cameras) == client.service.live == 1
            reader = client.service.decoders.cameras[0]
        assert client.service.live == 0 and not reader.alive
        return answers

    for answer in asyncio.run(shown()):
        assert len(answer["top"]) == 3
        assert sum(point is not None for point in answer["points"]) > 200


def picture(size=(64, 48)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, "gray").save(data, "JPEG")
    return data.getvalue()


@pytest.mark.models
@pytest.mark.parametrize(
    "frame",
    [
        b"no picture", b"\xff\xd8\xff" + bytes(1000), "no JSON", "[1, 2]", bytes(5_000_000), picture((5000, 4000)),
        json.dumps({"layout": "holistic_75", "values": np.zeros((2, 75, 3)).tolist()}),
    ],
    ids=range(7),
)  # fmt: skip
def test_a_frame_that_cannot_be_used_ends_the_session_with_a_line(bundle_dir, frame):
    async def shown() -> tuple:
        async with service_of(bundle_dir, "any_extractor=true") as client, client.camera() as camera:
            await camera.next()
            error = await camera.ask(frame)
            return error, await camera.next(), client.service.live

    error, end, live = asyncio.run(shown())
    assert set(error) == {"error"} and "\n" not in error["error"]
    assert end["type"] == "websocket.close" and live == 0


@pytest.mark.models
def test_a_camera_that_sees_nobody_is_told_so(bundle_dir):
    async def shown() -> dict:
        async with service_of(bundle_dir, "any_extractor=true") as client, client.camera() as camera:
            await camera.next()
            return await camera.ask(picture())

    answer = asyncio.run(shown())
    assert answer["top"] == [] and "seen" in answer["note"]
    assert set(answer["points"]) == {None}


def test_no_more_cameras_than_may_and_none_of_another_site(bundle_dir):
    async def many() -> tuple:
        async with service_of(bundle_dir, "media=false", "live_sessions=1") as client:
            async with client.camera() as first, client.camera() as second:
                await first.next()
                await second.next()
                refused = json.loads((await second.next())["text"])
            async with client.camera(origin="https://elsewhere.example", host="here") as other:
                elsewhere = await other.next()
            async with client.camera(origin="http://here", host="here") as own:
                return refused, elsewhere, await own.next()

    refused, elsewhere, own = asyncio.run(many())
    assert "try again later" in refused["error"]
    assert (elsewhere["type"], own["type"]) == ("websocket.close", "websocket.accept")


@pytest.mark.parametrize("frame", ["[]", json.dumps({"layout": "holistic_75", "values": [[[0, 0, 0]] * 75]})])
def test_a_camera_that_has_gone_before_its_answer_is_no_fault(bundle_dir, frame):
    async def left() -> int:
        async with service_of(bundle_dir, "media=false") as client:
            async with client.camera() as camera:  # waits for the end of the session, and raises what it has raised
                await camera.next()
                camera.gone = True
                await camera.to.put({"type": "websocket.receive", "text": frame})
            return client.service.live

    assert asyncio.run(left()) == 0


def test_a_session_has_an_end(bundle_dir, clip):
    async def long() -> dict:
        async with service_of(bundle_dir, "media=false", "live_seconds=0.5") as client, client.camera() as camera:
            await camera.next()
            await camera.ask(as_json(frame_of(clip, 0)))
            await asyncio.sleep(0.6)
            return await camera.ask(as_json(frame_of(clip, 1)))

    assert "over after 0.5 seconds" in asyncio.run(long())["error"]
