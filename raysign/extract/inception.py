"""InceptionV3 features of frames, 2,048 numbers each: the only file that knows torchvision.

A frame goes in whole, scaled to 299x299 whatever its shape and normalised as ImageNet is; out come the numbers that
torchvision's network gives to its last layer. Recognisers of FSL-105 are given such features of frames whose
background is blacked out first; that is not done here.
"""

import pickle
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raysign import config
from raysign.errors import ConfigError, ModelFileError
from raysign.extract.models import sha256
from raysign.schema import FEATURE_SIZES

WEIGHTS = "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth"  # torchvision's IMAGENET1K_V1
REVISION = 1  # to be raised by whoever changes what the same frames give
SIDE, BATCH, SEED = 299, 16, 0
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, red, green, blue in 0..1
# what a torn file, or one of another network, makes of loading it
_TORN = (OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, pickle.UnpicklingError)


def fingerprint(options: config.Extract) -> dict:
    """What the features follow from beside the frames. One set of weights is one network in any torchvision.

    ConfigError without torchvision, ModelFileError for one that cannot be imported and without the weights.
    """
    _architecture()  # said here, in the driver, and not by each worker
    made_by = sha256(weights(options)) if options.pretrained else f"random, seed {SEED}"
    return {"name": "inception_v3", "revision": REVISION, "weights": made_by}


def weights(options: config.Extract) -> Path:
    """The file of weights: `extract.inception_weights`, else that of torchvision's cache. Nothing is downloaded.

    ModelFileError when it is not there.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS.rpartition("/")[2]
    path = options.inception_weights or cached
    if not path.is_file():
        raise ModelFileError(
            f"{path}: no InceptionV3 weights; put {WEIGHTS} there, or set extract.inception_weights to where it is"
        )
    return path


def reader(options: config.Extract, threads: int | None = None) -> Callable[[Iterable[np.ndarray]], np.ndarray]:
    """What gives (T, 2048) float32, each 0 or more, for T upright (H, W, 3) uint8 RGB frames.

    Runs on a GPU if there is one. threads: CPU threads torch may use in this process; None leaves that alone.
    ModelFileError when torchvision or the weights cannot be loaded.
    """
    if threads:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = _network(options).eval().to(device)
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - 1.4 times as fast on a CPU
    mean, std = (torch.tensor(numbers, device=device)[:, None, None] for numbers in (_MEAN, _STD))

    @torch.inference_mode()
    def read(pixels: Iterable[np.ndarray]) -> np.ndarray:
        scaled, found = map(_scaled, pixels), [np.empty((0, FEATURE_SIZES["inception_v3"]), np.float32)]
        while batch := list(islice(scaled, BATCH)):  # memory stays flat, however long the video is
            x = torch.from_numpy(np.stack(batch)).to(device).permute(0, 3, 1, 2) / 255
            found.append(network((x - mean) / std).cpu().numpy())
        return np.concatenate(found)

    return read


def _scaled(pixels: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _architecture() -> Callable[..., Any]:
    """torchvision's maker of the network."""
    try:
        from torchvision.models import inception_v3  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise ConfigError("extract.features: inception_v3 needs torchvision; pip install 'raysign[features]'") from None
    except (ImportError, RuntimeError, OSError) as error:  # a build for another torch fails in the middle of itself
        raise ModelFileError(
            f"torchvision: found one that cannot be imported ({' '.join(str(error).split())[:120]}), expected a build "
            f"for torch {torch.__version__}; pip install it from where that torch came from"
        ) from None
    return inception_v3


def _network(options: config.Extract) -> torch.nn.Module:
    """The network without its last layer, and without the branch that is for training alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        # transform_input: the weights want pixels in -1..1, and the network rescales those normalised as ImageNet's
        network = _architecture()(weights=None, transform_input=True, init_weights=False)
        if options.pretrained:
            _load(network, weights(options))
        else:
            _randomise(network)
    network.fc, network.AuxLogits = torch.nn.Identity(), None
    return network


def _load(network: torch.nn.Module, path: Path) -> None:
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except _TORN as error:
        reason = " ".join(str(error).split())[:120]
        raise ModelFileError(f"{path}: no InceptionV3 weights ({reason}); give torchvision's {WEIGHTS}") from None


def _randomise(network: torch.nn.Module) -> None:
    """Weights that neither fade nor burst through the layers, so that different frames differ in their features."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
