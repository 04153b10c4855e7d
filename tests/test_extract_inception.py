"""InceptionV3 features of frames, with random weights; and beside the landmarks of real recordings."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from test_extract_frames import write

from raysign import config
from raysign.errors import ConfigError, ModelFileError
from raysign.extract import frames, inception, landmarker, models
from raysign.schema import FEATURE_SIZES, ClipRef, Landmarks
from raysign.skeleton import NO_POINTS

SIZE = FEATURE_SIZES["inception_v3"]
_DECLARED = []


def options(**changes) -> config.Extract:
    return config.Extract.model_validate({"features": "inception_v3", "pretrained": False, **changes})


@pytest.fixture(scope="module")
def torchvision():
    """torchvision, also one for CUDA beside a CPU-only torch: that lacks two operators which nothing here uses."""
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    try:
        import torchvision  # pyright: ignore[reportMissingImports]
    except RuntimeError:
        _DECLARED.append(library := torch.library.Library("torchvision", "DEF"))
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        try:
            import torchvision  # pyright: ignore[reportMissingImports]
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"torchvision cannot be imported: {error}")
    return torchvision


@pytest.fixture(scope="module")
def read(torchvision):  # noqa: ARG001
    return inception.reader(options())


def pictures(count: int, side=(40, 60)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*side, 3), np.uint8) for _ in range(count)]


def ref(path, **cut) -> ClipRef:
    return ClipRef(str(path), str(path), "", **cut)


def numbers(found: Landmarks) -> np.ndarray:
    assert found.features is not None
    return found.features


def without_points(count: int) -> Landmarks:
    values = np.empty((1, count, 0, 3), np.float32)
    return Landmarks(values, values[..., 0], NO_POINTS.name)


# ---------------------------------------------------------------- the network


def test_the_same_frame_gives_the_same_features_whatever_frames_come_with_it(read):
    many = pictures(inception.BATCH + 3)
    together = read(iter(many))
    assert (together.shape, together.dtype) == ((len(many), SIZE), np.float32)
    assert (together >= 0).all()
    for i in (0, inception.BATCH - 1, inception.BATCH, len(many) - 1):
        np.testing.assert_allclose(read([many[i]])[0], together[i], rtol=1e-3, atol=1e-4)
    assert np.abs(together[0] - together[1]).max() > 0.01  # a hundred times what the tolerance allows


def test_random_weights_are_the_same_each_time_and_leave_other_randomness_alone(read):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = inception.reader(options())
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(again(pictures(2)), read(pictures(2)))


def test_a_file_of_weights_gives_what_torchvision_gives_with_its_own_preprocessing(torchvision, tmp_path):
    from torchvision.models import Inception_V3_Weights  # pyright: ignore[reportMissingImports]

    network = torchvision.models.inception_v3(weights=None, transform_input=True, init_weights=False).eval()
    inception._randomise(network)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    network.fc = torch.nn.Identity()
    pixels = np.stack(pictures(2, (inception.SIDE, inception.SIDE)))
    ready = Inception_V3_Weights.IMAGENET1K_V1.transforms(resize_size=inception.SIDE)
    with torch.inference_mode():
        expected = network(ready(torch.from_numpy(pixels).permute(0, 3, 1, 2)))
    given = options(pretrained=True, inception_weights=tmp_path / "weights.pth")
    np.testing.assert_allclose(inception.reader(given)(pixels), expected, rtol=1e-3, atol=1e-4)
    assert Inception_V3_Weights.IMAGENET1K_V1.url == inception.WEIGHTS


@pytest.mark.parametrize("content", [b"", b"torn", {"fc.weight": torch.ones(3)}, [1]])
def test_a_file_that_holds_no_such_weights_is_refused(torchvision, tmp_path, content):  # noqa: ARG001
    file = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(ModelFileError, match=r"weights\.pth: no InceptionV3 weights \(.*give torchvision's https"):
        inception.reader(options(pretrained=True, inception_weights=file))


def test_a_worker_that_has_one_cpu_computes_on_one_thread(read):
    threads, pixels = torch.get_num_threads(), pictures(2)
    try:
        alone = inception.reader(options(), threads=1)(pixels)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(alone, read(pixels), rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------- what is lacking


def test_weights_that_are_not_there_are_not_downloaded_but_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ModelFileError, match=r"checkpoints.*0cc3c7bd\.pth: no InceptionV3 weights; put https"):
        inception.weights(options(pretrained=True))
    with pytest.raises(ModelFileError, match=r"mine\.pth: no InceptionV3 weights; put"):
        inception.weights(options(pretrained=True, inception_weights=tmp_path / "mine.pth"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "inception_v3_google-0cc3c7bd.pth").write_bytes(b"")
    assert inception.weights(options(pretrained=True)).is_relative_to(tmp_path)


def test_without_torchvision_the_driver_says_so(monkeypatch):
    for name in ("torchvision", "torchvision.models"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"needs torchvision; pip install 'raysign\[features\]'"):
        inception.fingerprint(options())


def test_a_torchvision_for_another_torch_is_named(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    for ask in (inception.reader, inception.fingerprint):
        with pytest.raises(ModelFileError, match=r"nms does not exist\), expected a build for torch \d"):
            ask(options())


def test_the_fingerprint_changes_with_the_features_and_their_weights(torchvision, tmp_path):  # noqa: ARG001
    bundles = tmp_path / "any.task", tmp_path / "other.task"
    for bundle in bundles:
        bundle.write_bytes(b"model")
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"other" if name == "b" else b"some")
    given = [options(pretrained=True, inception_weights=tmp_path / name) for name in ("a", "b", "c")]
    plain, same_plain = options(features=None), options(features=None, pretrained=True)
    first, other, same = (landmarker.fingerprint(each, bundles) for each in given)
    assert first == same
    assert len({first, other, landmarker.fingerprint(options(), bundles), landmarker.fingerprint(plain, bundles)}) == 4
    assert landmarker.fingerprint(plain, bundles) == landmarker.fingerprint(same_plain, bundles)


# ---------------------------------------------------------------- beside landmarks


def test_every_frame_that_landmarks_are_of_has_features_of_the_same_frame(read, tmp_path):
    video = write(tmp_path / "a.mp4", 12)
    pixels = [pixels for _, pixels in frames.Video(str(video))]
    reader = landmarker.Landmarker(options(), (tmp_path / "not used",) * 2)
    whole = reader._with_features(ref(video), without_points(12))
    assert whole.features_kind == "inception_v3"
    assert np.array_equal(numbers(whole), read(pixels))
    cut = reader._with_features(ref(video, first_frame=5, last_frame=8), without_points(4))
    assert np.array_equal(numbers(cut), read(pixels[4:8]))
    slow = landmarker.Landmarker(options(fps=10), (tmp_path / "not used",) * 2)
    assert np.array_equal(numbers(slow._with_features(ref(video), without_points(4))), read(pixels[::3]))


@pytest.mark.models
@pytest.mark.real_data
@pytest.mark.usefixtures("torchvision")
def test_a_real_recording_has_features_beside_its_landmarks(real_data):
    hello = ref(real_data / "fsl_videos_mit" / "Basic_Greetings" / "Hello.mp4", first_frame=1, last_frame=5)
    photo = ref(next((real_data / "silfa_images").rglob("*.jpg")))
    try:
        plain, given = (landmarker.Landmarker(chosen, models.pair()) for chosen in (options(features=None), options()))
    except ModelFileError as error:
        pytest.skip(f"no model files: {error}")
    with plain, given:
        for clip, count in ((hello, 5), (photo, 1)):
            without, found = plain.read(clip), given.read(clip)
            assert np.array_equal(without.values, found.values, equal_nan=True)
            assert (without.features, found.features_kind) == (None, "inception_v3")
            assert numbers(found).shape == (count, SIZE)
            assert np.isfinite(numbers(found)).all()
            assert numbers(found).std(axis=1).min() > 0
