"""The bundle: all that is needed to use a recogniser, so that nothing prepares clips in another way than training did.

Files: config.yaml (the whole tree), labels.json, weights.pt (tensors only) and card.json, which is written last and
knows the checksum of the others.
"""

import io
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import yaml

from raysign import __version__, config, remote, store
from raysign.errors import BundleError, RaysignError
from raysign.learn.labels import Labels
from raysign.learn.recogniser import Recogniser, build
from raysign.skeleton import Skeleton, of_dict

FILES = ("config.yaml", "labels.json", "weights.pt")
TORN = (OSError, ValueError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, pickle.UnpicklingError)


@dataclass(frozen=True)
class Bundle:
    """A recogniser ready for use.

    config: as it was trained. skeleton: the points of its clips. channels: their names. names: glosses in the order of
    the logits, and categories. network: in eval mode on the CPU after `load`. card: metrics of the best epoch, data
    key, extractor, versions.
    """

    config: config.Config
    skeleton: Skeleton
    names: Labels
    channels: tuple[str, ...]
    network: Recogniser
    card: dict = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """The glosses, in the order of the logits."""
        return self.names.glosses

    def save(self, directory: Path) -> None:
        """Write the bundle's files; the card last, so that a bundle without one is not finished."""
        directory.mkdir(parents=True, exist_ok=True)
        store.unlink(directory / "card.json")
        store.write_bytes(directory / "config.yaml", self.config.to_yaml().encode())
        store.write_json(directory / "labels.json", asdict(self.names))
        weights = {name: value.detach().cpu() for name, value in self.network.state_dict().items()}
        store.write_bytes(directory / "weights.pt", tensor_bytes(weights))
        card = {
            "raysign": __version__, "torch": torch.__version__, "channels": list(self.channels),
            "skeleton": asdict(self.skeleton), **self.card,
            "sha256": {name: store.sha256(directory / name) for name in FILES},
        }  # fmt: skip
        store.write_json(directory / "card.json", card)


def load(directory: Path) -> Bundle:
    """The bundle in a directory, its network on the CPU in eval mode. BundleError when it is missing, torn or wrong."""
    directory = Path(directory)
    if not remote.pull(directory / "card.json").is_file():
        found = "no card.json" if directory.is_dir() else "no such folder"
        raise BundleError(f"{directory}: {found}; give the folder of a bundle that `raysign train` has finished")
    try:
        card = store.read_json(directory / "card.json")
        if "members" in card:
            inside = f"such as {directory / 'members' / '0'}"
            raise BundleError(f"{directory}: found an ensemble, expected a bundle; give one of its members, {inside}")
        for name in FILES:
            if store.sha256(directory / name) != card["sha256"][name]:
                raise BundleError(f"{directory / name}: not the file its card.json knows; copy the whole bundle again")
        tree = config.load(base=yaml.safe_load((directory / "config.yaml").read_text(encoding="utf-8")))
        names, channels = Labels(**store.read_json(directory / "labels.json")), tuple(card["channels"])
        skeleton = of_dict(card["skeleton"])
        network = build(tree, skeleton, channels, names)
        network.load_state_dict(torch.load(directory / "weights.pt", weights_only=True, map_location="cpu"))
    except BundleError:
        raise
    except (*TORN, RaysignError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BundleError(
            f"{directory}: not a whole bundle of this raysign ({reason}); copy or train it again"
        ) from None
    return Bundle(tree, skeleton, names, channels, network.eval(), card)


def fingerprint(directory: Path) -> str:
    """What tells a bundle's weights, or an ensemble, from others, wherever it lies. BundleError when there is none."""
    try:
        card = store.read_json(directory / "card.json")
        return store.fingerprint(card["members"]) if "members" in card else card["sha256"]["weights.pt"]
    except (RaysignError, OSError, KeyError, TypeError):
        raise BundleError(f"{directory}: found no bundle, expected one that `raysign train` has finished") from None


def training_of(directory: Path, training: str | None) -> Path | None:
    """The folder of the training `training` that a bundle is of: the one it lies in, or where the pipeline keeps it;
    None where it is neither.
    """
    places = (directory.parent, directory.parent / "train" / str(training))
    return next((place for place in places if place.name == training and place.is_dir()), None)


def tensor_bytes(state: dict) -> bytes:
    """`torch.save` into memory, to be written whole."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
