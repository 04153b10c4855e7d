"""What a service says of its bundles, and whether they can be asked about videos and images."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from raysign import config
from raysign.errors import BundleError
from raysign.extract import landmarker
from raysign.learn import ensemble as ensembles
from raysign.learn.ensemble import AnyBundle, Ensemble
from raysign.serve.settings import Serve

_ONLY = "takes landmarks only, because"


@dataclass(frozen=True)
class About:
    """A bundle that is served.

    labels: its glosses. metrics: of its best epoch, those of validation. recipe, model, task: their kinds, of an
    ensemble those of its members. media: whether videos and images are taken; note: why they are not.
    extract: how they are read.
    """

    name: str
    labels: list[str]
    recipe: str
    model: str
    task: str
    metrics: dict
    media: bool
    note: str
    extract: dict = field(repr=False)

    def public(self) -> dict:
        """For those who ask; without settings that name files of this machine."""
        told = {key: value for key, value in asdict(self).items() if key not in ("labels", "extract")}
        return {**told, "glosses": len(self.labels)}


def about(name: str, directory: Path, settings: Serve) -> About:
    """What is to be said of a bundle. BundleError when it cannot be loaded, or was trained on landmarks that are made
    otherwise than here.
    """
    bundle = ensembles.load(directory)
    tree, extract = bundle.config, _extract(bundle.config.extract, settings)
    note = _unlike(name, bundle, extract, settings) if settings.media else f"{_ONLY} the service has media=false"
    metrics = {key: value for key, value in (bundle.card.get("metrics") or {}).items() if key.startswith("val/")}
    trees = [one.config for one in (bundle.members if isinstance(bundle, Ensemble) else [bundle])]
    recipes, models = (
        ", ".join(dict.fromkeys(getattr(one, part).kind for one in trees)) for part in ("prepare", "model")
    )
    return About(
        name, bundle.labels, recipes, models, tree.task.kind, metrics, not note, note,
        extract.model_dump(mode="json"),
    )  # fmt: skip


def _extract(trained: config.Extract, settings: Serve) -> config.Extract:
    """How media are read for the bundle: as in its training, with what this service changes."""
    lacking = {n: None for n in ("model", "inception_weights") if (file := getattr(trained, n)) and not file.exists()}
    told = {n: getattr(settings, n) for n in ("detection_confidence", "tracking_confidence")}
    return trained.model_copy(update={**lacking, **{n: value for n, value in told.items() if value is not None}})


def _unlike(name: str, bundle: AnyBundle, extract: config.Extract, settings: Serve) -> str:
    """Why the bundle takes no media; empty when it does."""
    known = bundle.card.get("extractor")
    trained = {known} if isinstance(known, str) else set(known or ())
    if settings.any_extractor:
        return ""
    if not trained or any(extractor.startswith("import ") for extractor in trained):
        return f"{_ONLY} it was trained on imported landmarks; any_extractor=true takes videos and photos too"
    here = landmarker.fingerprint(extract)
    if trained != {here}:
        raise BundleError(
            f"bundles.{name}: found an extractor {here} here, expected {', '.join(sorted(trained))} of its training "
            "(another mediapipe, model file or confidence); use the same, or any_extractor=true, or media=false"
        )
    return ""
