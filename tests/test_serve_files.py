"""A service sent files: what is read of them, what is refused before it is read, and readers that hang or die."""

import asyncio
import io
import os
import shutil
import signal
import struct
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_bundles import settings, untrained
from made_services import asked, form, service_of
from PIL import Image
from test_extract_frames import write
from test_infer_files import landmark_file

from raysign import config, schema, store
from raysign.extract import landmarker
from raysign.infer.files import predict
from raysign.infer.predictor import Predictor
from raysign.schema import ClipRef
from raysign.serve.question import suffix_of
from raysign.sources import synthetic

ASL = "/api/v1/asl/recognitions"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where the service keeps what it has to keep."""
    folder, before = tmp_path_factory.mktemp("kept"), tempfile.tempdir
    tempfile.tempdir = str(folder)
    yield folder
    tempfile.tempdir = before


@pytest.fixture(scope="module")
def service(bundle_dir, home):
    few = ("any_extractor=true", "max_upload_mb=4", "max_seconds=2", "max_clips=2", "decoder_mb=2000")
    with asked(bundle_dir, *few) as made:
        yield made
    assert not list(home.iterdir())


def picture(**about) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (100, 100), "gray").save(data, about.pop("format", "PNG"), **about)
    return data.getvalue()


def png_of(width: int, height: int) -> bytes:
    """The beginning of an image that is as large as it says."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))


def film(folder: Path, frames: int) -> bytes:
    return write(folder / "a.mp4", frames).read_bytes()


# ---------------------------------------------------------------- what is read


@pytest.fixture
def clip_file(tmp_path) -> Path:
    source = settings().source
    return landmark_file(tmp_path / "a.parquet", synthetic.read(synthetic.clips(source)[4], source))


def test_a_landmark_file_is_answered_as_predict_does(service, bundle_dir, clip_file):
    client, run = service
    told = run(client.send(clip_file.read_bytes()))
    assert told.status == 200
    (wanted,) = predict(bundle_dir, [clip_file])
    assert {one["gloss"]: one["probability"] for one in told.json["top"]} == pytest.approx(
        dict(wanted["top"]), abs=1e-4
    )


def test_clips_of_a_shard_are_told_by_their_names(service, tmp_path):
    client, run = service
    source = settings().source
    refs = synthetic.clips(source)[:3]
    rows = [schema.landmarks_row(ref, "made up", replace(synthetic.read(ref, source), fps=0.0)) for ref in refs]
    for count in (2, 3):
        store.write_table(tmp_path / "shard-0.parquet", schema.to_table(rows[:count], schema.LANDMARKS))
        told = run(client.send((tmp_path / "shard-0.parquet").read_bytes(), name="my clips.parquet"))
        if count == 2:
            assert [one["clip"] for one in told.json["clips"]] == [ref.id for ref in refs[:2]]
    assert (told.status, told.json["error"]) == (
        413, "my_clips.parquet: found more than 2 clips, expected fewer; send several files",
    )  # fmt: skip


def test_clips_of_an_npz_are_told_by_the_name_of_their_file(tmp_path):
    values = np.random.default_rng(0).random((2, 8, 225)).astype(np.float32)
    np.savez(tmp_path / "own.npz", x=values)
    words = ["source.kind=npz", f"source.path={tmp_path}", "source.values=x", "source.layout=holistic_75"]
    tree = config.load(words, base=settings().model_dump(exclude={"source"}))
    replace(untrained(), config=tree).save(tmp_path / "bundle")
    with asked(tmp_path / "bundle", "media=false") as (client, run):
        told = run(client.send((tmp_path / "own.npz").read_bytes(), name="../some/own.npz"))
    assert [one["clip"] for one in told.json.get("clips", ())] == ["own/000000", "own/000001"], told.json


@pytest.mark.models
@pytest.mark.real_data
def test_photos_and_videos_are_answered_as_the_predictor_does(service, bundle, real_data):
    client, run = service
    photo = next((real_data / "silfa_images" / "B").iterdir())
    video = real_data / "msl150" / "yo_001.mp4"
    with landmarker.Landmarker(config.Extract()) as reader:  # pyright: ignore[reportCallIssue]
        for file in (photo, video):
            wanted = Predictor(bundle).predict([reader.read(ClipRef("a", str(file), ""))])[0]
            told = run(client.send(file.read_bytes())).json
            found = {one["gloss"]: one["probability"] for one in told["top"]}
            assert found == pytest.approx(dict(zip(bundle.labels, wanted, strict=True)), abs=1e-4)


@pytest.mark.models
@pytest.mark.real_data
def test_the_letter_of_a_photo_comes_with_the_hand_however_the_photo_was_held(service, real_data):
    client, run = service
    photo = Image.open(next((real_data / "silfa_images" / "B").iterdir()))
    turned, exif = photo.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6  # which is to be turned by 90 degrees to the right
    answers = []
    for one, about in ((photo, {}), (turned, {"exif": exif})):
        data = io.BytesIO()
        one.save(data, "PNG", **about)
        answers.append(run(client.send(data.getvalue(), ASL)))
    assert answers[0].status == 200
    assert set(answers[0].json) == {"letter", "confidence", "handedness"}
    assert answers[0].json["handedness"] == "right"
    assert answers[0].json == answers[1].json


@pytest.mark.models
def test_a_photo_without_a_hand_has_no_letter(service):
    client, run = service
    told = run(client.send(picture(), ASL))
    assert told.status == 422
    assert "no person or hand found" in told.json["error"]


@pytest.mark.models
def test_a_strangers_file_cannot_name_files_of_this_machine(tmp_path):
    """A bundle that was trained on a list of videos is sent a file that is such a list, and an archive as well."""
    video, listed = write(tmp_path / "private.mp4", 5), tmp_path / "list.csv"
    listed.write_text("path,gloss\nprivate.mp4,sign00\n")
    tree = config.load(
        [f"source.path={listed}", "source.kind=manifest"], base=settings().model_dump(exclude={"source"})
    )
    replace(untrained(), config=tree).save(tmp_path / "bundle")
    both = b"PK\x03\x04,path,gloss\nx," + str(video).encode() + b",PK\x05\x06" + bytes(18)
    with asked(tmp_path / "bundle", "any_extractor=true") as (client, run):
        told = run(client.send(both))
    assert told.status == 422
    assert "private" not in told.json["error"]


def test_a_bundle_that_has_gone_is_the_services_fault_and_its_place_is_not_told(bundle_dir, tmp_path, clip_file):
    shutil.copytree(bundle_dir, tmp_path / "bundle")
    with asked(tmp_path / "bundle", "media=false") as (client, run):
        shutil.rmtree(tmp_path / "bundle")
        told = run(client.send(clip_file.read_bytes()))
    assert (told.status, str(tmp_path) in told.json["error"]) == (503, False)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (b"", "/api/v1/recognitions"),
        (b"hello", "/api/v1/recognitions"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "/api/v1/recognitions"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "/api/v1/recognitions"),
        (b"\x00\x00\x00\x1cftypavif" + bytes(100), "/api/v1/recognitions"),
        (picture(format="GIF"), ASL),
        (b"PAR1" + bytes(100), ASL),
    ],
)
def test_a_file_is_known_by_its_content_and_others_are_not_taken(service, content, path):
    client, run = service
    told = run(client.send(content, path, name="photo.jpg"))
    assert told.status == 415
    assert set(told.json) == {"error"}


@pytest.mark.models
def test_no_more_than_is_told_is_decoded(service, tmp_path):
    client, run = service
    zeros = io.BytesIO()
    np.savez_compressed(zeros, x=np.zeros(70_000_000, np.float32))
    rows = io.BytesIO()
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(33_000_000, np.int8)), pa.array(["a"]))
    pq.write_table(pa.table({"x": column}), rows)
    for content in (png_of(60_000, 60_000), zeros.getvalue(), rows.getvalue(), film(tmp_path, 90)):
        assert len(content) < 4e6
        told = run(client.send(content))
        assert told.status == 413, told.body
        assert "limit" in told.json["error"] or "expected at most" in told.json["error"]
        assert str(tempfile.tempdir) not in told.json["error"]


@pytest.mark.models
def test_a_file_that_is_torn_is_its_senders_fault(service, tmp_path):
    client, run = service
    whole = film(tmp_path, 20)
    for content in (*(whole[:n] for n in (600, len(whole) // 2, len(whole) - 30)), picture()[:60], b"PAR1" + bytes(99),
                    b"PK\x03\x04" + bytes(600), b"\xff\xd8\xff" + bytes(9000)):  # fmt: skip
        told = run(client.send(content))
        assert told.status == 422, told.body
        assert str(tempfile.tempdir) not in told.json["error"]


def test_a_table_without_a_clip_is_its_senders_fault(service, tmp_path):
    client, run = service
    store.write_table(tmp_path / "shard-0.parquet", schema.to_table([], schema.LANDMARKS))
    told = run(client.send((tmp_path / "shard-0.parquet").read_bytes()))
    assert (told.status, told.json["error"]) == (422, "x.parquet: found no clip in it; give another file")


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (*form(b"x", field="image"), 400),
        (b"no form", form(b"")[1], 400),
        (b"", form(b"")[1], 400),
        (form(b"x")[0], "multipart/form-data", 400),
        (form(b"x")[0] + form(b"y")[0], form(b"")[1], 400),
        (b"x", "text/plain", 415),
        (*form(b"\0" * 5_000_000), 413),
    ],
)
def test_a_form_that_is_none_is_told_in_a_line(service, body, kind, status):
    client, run = service
    told = run(client.ask("POST", "/api/v1/recognitions", body, content_type=kind))
    assert told.status in (status, 415), told.body
    assert set(told.json) == {"error"}


@pytest.mark.parametrize("name", ["../../../tmp/escaped.png", "/etc/passwd", "a\0b.png", "x" * 5000, "\N{PILE OF POO}"])
def test_what_a_file_is_called_means_nothing(service, home, name):
    client, run = service
    before = sorted(home.rglob("*"))
    told = run(client.send(b"hello", name=name))
    assert told.status in (400, 415)
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (picture(), ".png"), (picture(format="JPEG"), ".jpg"), (picture(format="WEBP"), ".webp"),
        (picture(format="BMP"), ".bmp"), (picture(format="GIF"), ".gif"), (b"RIFF1234AVI ", ".avi"), (b"", None),
        (b"RIFF1234WAVE", None), (b"\x00\x00\x00\x18ftypmp42", ".mp4"), ((b"G" + bytes(187)) * 3, ".ts"), (b"G", None),
    ],
)  # fmt: skip
def test_the_kind_of_a_file_is_told_by_its_first_bytes(head, suffix):
    assert suffix_of(head[:512]) == suffix


# ---------------------------------------------------------------- readers that hang or die


@pytest.mark.models
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_reader_that_hangs_or_dies_costs_one_question_and_is_replaced(bundle_dir, home, how):
    async def sent() -> list:
        async with service_of(bundle_dir, "any_extractor=true", "request_seconds=60") as client:
            assert (await client.send(picture())).status == 422  # it is at work
            decoders = client.service.decoders
            (reader,) = decoders.idle
            decoders.settings = decoders.settings.model_copy(update={"request_seconds": 2})
            os.kill(reader.process.pid, how)
            stuck = await client.send(picture())
            decoders.settings = decoders.settings.model_copy(update={"request_seconds": 60})
            return [stuck, await client.send(picture()), reader.process.poll(), decoders.busy]

    stuck, after, code, busy = asyncio.run(sent())
    assert stuck.status == after.status == 422
    assert "no person" not in stuck.json["error"]
    assert "no person" in after.json["error"]
    assert code is not None and busy == 0
    assert all(not list(folder.iterdir()) for folder in home.iterdir())


@pytest.mark.models
def test_a_file_that_takes_too_much_memory_kills_nobody_elses_reader(service, tmp_path):
    """The reader may use 2 GB; a table says that it is small, and is not."""
    client, run = service
    lying = tmp_path / "a.npz"
    np.savez_compressed(lying, x=np.zeros(700_000_000, np.int8))
    data = bytearray(lying.read_bytes())
    assert len(data) < 4e6
    size, small = struct.pack("<I", 700_000_128), struct.pack("<I", 1000)
    data = bytes(data).replace(size, small)
    told = run(client.send(data))
    assert told.status in (413, 422), told.body
    assert run(client.send(picture())).status == 422


@pytest.mark.models
def test_who_goes_away_frees_his_reader(bundle_dir):
    async def leave() -> tuple:
        async with service_of(bundle_dir, "any_extractor=true", "request_seconds=60") as client:
            (reader,) = client.service.decoders.idle
            os.kill(reader.process.pid, signal.SIGSTOP)  # a file that would take very long
            body, kind = form(picture())
            left = asyncio.Event()
            question = client.ask("POST", "/api/v1/recognitions", body, left, content_type=kind)
            asyncio.get_running_loop().call_later(0.5, left.set)
            return await question, reader.alive, (await client.send(picture())).status, await client.get("/metrics")

    answer, alive, after, measured = asyncio.run(leave())
    assert (answer.status, alive, after) == (0, False, 422)
    assert b'raysign_requests_total{route="/api/v1/recognitions",status="499"} 1.0' in measured.body
