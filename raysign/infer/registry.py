"""A bundle into MLflow's registry of models, as a pyfunc that answers without raysign being installed.

The model is code and data, no pickle: `pyfunc.py`, the package it is of, and the bundle's own files.
"""

import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

import raysign
from raysign import config, schema, store
from raysign.clips import form
from raysign.errors import BundleError, ConfigError, RaysignError
from raysign.infer.example import landmarks
from raysign.learn import bundle as bundles
from raysign.learn import mlflow_server, tracking
from raysign.learn.bundle import Bundle

# what answering imports; a test holds it to that
NEEDS = ("mlflow", "numpy", "packaging", "pandas", "pyarrow", "pydantic", "pyyaml", "torch")
MEDIA_NEEDS = ("av", "mediapipe", "pillow", "platformdirs", "requests")  # of a model that reads videos and images
OPTIONAL = {"fps", "width", "height", "features", "features_kind"}


def register(
    bundle_dir: Path, arguments: tuple[str, ...], name: str | None, alias: str | None, media: bool = False
) -> str:
    """Make the bundle a version of the registered model `name` (None: the bundle's own), and give it the alias.

    arguments: settings over those of the bundle, such as mlflow.uri. media: it may also be asked with the path of a
    video or an image. A bundle that is such a version already is not registered again. Returns what to say.
    BundleError when there is no bundle or `media` is not for it, RaysignError when MLflow refuses.
    """
    bundle = bundles.load(bundle_dir)
    if media:
        _require_mediapipe(bundle)
    settings = config.load(arguments, base=bundle.config.model_dump(mode="json"))
    name, uri = name or settings.name, mlflow_server.uri_of(settings)
    mlflow_server.prepare()
    try:
        client = mlflow_server.client_of(uri)
        key = store.fingerprint({**bundle.card["sha256"], "media": True} if media else bundle.card["sha256"])
        version = _known(client, name, key) or _added(client, settings, bundle_dir, bundle, name, key, media)
        if alias:
            client.set_registered_model_alias(name, alias, version)
    except RaysignError:
        raise
    except Exception as error:  # any of a server's, database's or network's own errors
        raise RaysignError(f"mlflow.uri {uri}: {mlflow_server.reason(error)}") from error
    return f"models:/{name}/{version}" + (f"   models:/{name}@{alias}" if alias else "") + f"   in {uri}"


def _known(client: Any, name: str, key: str) -> str | None:
    """The version that is this bundle already."""
    versions = client.search_model_versions(f"name = '{name}'")
    return next((found.version for found in versions if found.tags.get("raysign.bundle") == key), None)


def _require_mediapipe(bundle: Bundle) -> None:
    """BundleError when its clips are not made of MediaPipe's landmarks alone."""
    from raysign.extract.landmarker import LAYOUT

    try:
        made = form.of_layouts([LAYOUT], bundle.config)
    except ConfigError:
        made = None
    features = bundle.config.extract.features or hasattr(bundle.config.prepare, "features")
    if made != (bundle.skeleton, bundle.channels) or features:
        raise BundleError(f"--media: found clips of {bundle.skeleton.name}, expected some that MediaPipe's landmarks "
                          "alone make; register it without, and ask with landmarks")  # fmt: skip


def _added(
    client: Any, settings: config.Config, bundle_dir: Path, bundle: Bundle, name: str, key: str, media: bool
) -> str:
    """The bundle as a new version, kept with the run of its training, else with a run of its own."""
    from mlflow.exceptions import MlflowException

    run = _run(client, settings, bundle_dir, bundle)
    with tempfile.TemporaryDirectory() as folder:
        save(bundle_dir, bundle, Path(folder) / "model", media)
        client.log_artifacts(run.info.run_id, str(Path(folder) / "model"), "model")
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {"raysign.bundle": key, "raysign.training": str(bundle.card.get("training", ""))}
    figures = {metric: f"{value:.4f}" for metric, value in (bundle.card.get("metrics") or {}).items()
               if metric.startswith("val/")}  # fmt: skip
    source = f"{run.info.artifact_uri}/model"
    return client.create_model_version(name, source, run.info.run_id, {**tags, **figures}).version


def _run(client: Any, settings: config.Config, bundle_dir: Path, bundle: Bundle) -> Any:
    """The run of the bundle's training in this store, else a new one that has ended."""
    training = bundle.card.get("training")
    folder = bundles.training_of(bundle_dir.absolute(), training)
    if folder and (run_id := tracking.note_of(folder, mlflow_server.uri_of(settings)).get("run_id")):
        return client.get_run(run_id)
    experiment = mlflow_server.experiment_of(client, settings)
    if training and (found := client.search_runs([experiment], f"tags.`raysign.training` = '{training}'")):
        return found[0]
    run = client.create_run(experiment, run_name=f"{settings.name}-registered")
    client.set_terminated(run.info.run_id)
    return run


# ---------------------------------------------------------------- the model


def save(bundle_dir: Path, bundle: Bundle, path: Path, media: bool = False) -> None:
    """Write the bundle as a pyfunc: signature, input example, the versions that are installed here, and the code; for
    `media` also MediaPipe's model files.
    """
    import mlflow.pyfunc

    with tempfile.TemporaryDirectory() as folder:
        mlflow.pyfunc.save_model(
            path,
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"bundle": str(bundle_dir), **({"models": _models(bundle, Path(folder))} if media else {})},
            code_paths=[str(Path(raysign.__file__).parent)],
            signature=signature(media),
            input_example=example(bundle),  # pyright: ignore[reportArgumentType] - None is its default
            pip_requirements=[_pinned(package) for package in (*NEEDS, *(MEDIA_NEEDS if media else ()))],
            metadata={"raysign": raysign.__version__, "glosses": len(bundle.labels)},
        )


def _pinned(package: str) -> str:
    """Without what follows a +, such as +cpu: that torch is not where others look for it."""
    return f"{package}=={metadata.version(package).split('+')[0]}"


def _models(bundle: Bundle, folder: Path) -> str:
    """A folder of the MediaPipe files that the bundle's landmarks come from. ModelFileError when there are none."""
    from raysign.extract import models

    for name, file in zip(("holistic", "hand"), models.pair(bundle.config.extract.model), strict=True):
        shutil.copyfile(file, folder / models.file_of(name))
    return str(folder)


def signature(media: bool = False):
    """Columns of LANDMARKS in, or for `media` instead of them a path; glosses and their probabilities, likeliest
    first, out.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    from raysign.infer.pyfunc import ASKED, PATH

    kinds = {pa.string(): "string", pa.large_binary(): "binary", pa.int32(): "long", pa.float32(): "double"}
    optional = set(ASKED.names) if media else OPTIONAL
    asked: list = [ColSpec(kinds[field.type], field.name, required=field.name not in optional) for field in ASKED]
    asked += [ColSpec("string", PATH, required=False)] if media else []
    told: list = [
        ColSpec(Array("string"), "glosses"), ColSpec(Array("double"), "probabilities"),
        ColSpec("string", "error", required=False),
    ]  # fmt: skip
    return ModelSignature(Schema(asked), Schema(told), ParamSchema([ParamSpec("top", "long", 5)]))


def example(bundle: Bundle) -> pd.DataFrame | None:
    """Made-up landmarks as a row to ask; None where none can be made up (see infer.example)."""
    clip = landmarks(bundle)
    return row_of(clip) if clip else None


def row_of(clip: schema.Landmarks) -> pd.DataFrame:
    """Landmarks as a table of one row to ask."""
    from raysign.infer.pyfunc import ASKED

    row = schema.landmarks_row(schema.ClipRef("", "", ""), "", clip)
    cells = {name: row[name] for name in ASKED.names if row[name] is not None}
    return pd.DataFrame([{
        name: cell.astype("<f4").tobytes() if isinstance(cell, np.ndarray) else cell for name, cell in cells.items()
    }])  # fmt: skip
