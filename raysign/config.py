"""The config tree: every setting, its default, its unit and what it does, once.

YAML files state only differences from these defaults and are merged left to right; `a.b=value` overrides one
leaf. What sections are made of, and how a section's `kind` brings its own options, is in `raysign.kinds`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationInfo, WrapValidator, field_validator

from raysign.errors import ConfigError, nearest
from raysign.kinds import (
    AnyPath,
    ResultPath,
    Section,
    StoredPath,
    expand_result,
    kind_module,
    of_family,
    validated,
)
from raysign.trees import merged, override, tree_of

# ---------------------------------------------------------------- sections


class Extract(Section):
    """Videos and images to landmarks."""

    fps: float | None = Field(None, gt=0, description="resample to this many frames a second; None keeps every frame")
    detection_confidence: float = Field(0.5, ge=0, le=1, description="least score at which a person or hand counts")
    tracking_confidence: float = Field(0.5, ge=0, le=1, description="least score at which a track goes on")
    model: AnyPath | None = Field(None, description="holistic_landmarker.task to use instead of the cached one")
    features: Literal["inception_v3"] | None = Field(
        None, description="features of each frame beside its landmarks; inception_v3: 2,048 numbers, wants torchvision"
    )
    inception_weights: AnyPath | None = Field(
        None, description="inception_v3_google-0cc3c7bd.pth; None: the one in torchvision's cache"
    )
    pretrained: bool = Field(True, description="false: random weights for the features, to try things out without any")
    workers: int | None = Field(None, ge=1, description="landmarker processes, one CPU each; None takes all CPUs")
    retry_quarantined: bool = Field(False, description="try the clips of the quarantine table again")


class Split(Section):
    """Which clips train, which choose the best epoch (val) and which are only ever tested on."""

    kind: Literal["auto", "given", "signer", "stratified", "block"] = Field(
        "auto",
        description="auto: given when the source has splits, else signer when 2 or more are known, else stratified; "
        "block: as stratified, but neighbours stay together: for frames or clips recorded one after the other",
    )
    val: float = Field(0.15, ge=0, lt=1, description="share of clips (or of signers) for validation")
    test: float = Field(0.15, ge=0, lt=1, description="share of clips (or of signers) for testing")
    val_signers: tuple[str, ...] = Field((), description="signers of the validation split, instead of the share")
    test_signers: tuple[str, ...] = Field((), description="signers of the test split, instead of the share")


class Augment(Section):
    """Random changes of training clips, drawn anew each epoch from the seed. 0 switches one off."""

    # in time
    crop: float = Field(0.0, ge=0, lt=1, description="largest share of a clip's frames cut off at its ends")
    time_shift: float = Field(0.2, ge=0, lt=1, description="largest move along time, share of the clip's frames")
    time_stretch: float = Field(
        0.4, ge=0, lt=1, description="largest change of speed, share either way; frames are interpolated"
    )
    sample: int = Field(0, ge=0, description="frames drawn at random, one of each of so many equal stretches")
    window: int = Field(0, ge=0, description="frames of a window put at a random place of the clip, or around it")
    # in space
    fingers: float = Field(0.0, ge=0, description="largest turn of each finger about its root, degrees either way")
    yaw: float = Field(0.0, ge=0, description="largest turn about the upright axis, degrees either way; needs z")
    noise: float = Field(0.005, ge=0, description="standard deviation of the noise per coordinate, coordinate units")
    scale: float = Field(0.2, ge=0, lt=1, description="largest change of size, share either way")
    rotate: float = Field(15.0, ge=0, description="largest turn in the image plane, degrees either way")
    shift: float = Field(0.1, ge=0, description="largest move in x and y, in coordinate units")
    shear: float = Field(0.0, ge=0, description="largest slant of x by y and of y by x, share either way")
    drift: float = Field(
        0.0, ge=0, le=1,
        description="chance of a steady turn (10 degrees), change of size (0.1) and move (0.2) along the clip",
    )  # fmt: skip
    mirror: float | None = Field(
        None, ge=0, le=1, description="chance of a left-right mirror image; None: 0.5 when the skeleton has one, else 0"
    )
    # out of sight
    drop_hand: float = Field(0.3, ge=0, le=1, description="chance that one hand goes unseen for a stretch of frames")
    drop_frames: float = Field(0.3, ge=0, le=1, description="chance that all goes unseen for a stretch of frames")
    drop_part: float = Field(0.0, ge=0, le=1, description="chance that a part of the skeleton goes unseen")
    drop_points: float = Field(0.0, ge=0, lt=1, description="chance of each point that it goes unseen")
    drop_area: float = Field(0.0, ge=0, le=1, description="chance that a rectangle of the image goes unseen")


class Workers(Section):
    """A number of workers that follows the machines there are."""

    min: int = Field(1, ge=1, description="fewest that training goes on with")
    max: int = Field(ge=1, description="most that are used")

    @field_validator("max")
    @classmethod
    def _is_no_less(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("min", 1):
            raise ValueError("expected no less than min")
        return value


def _workers(value: Any, _: Any) -> int | Workers:
    """A number, or `Workers` of {min, max}."""
    if isinstance(value, dict):
        return validated(Workers, value, "train.workers.")
    if isinstance(value, Workers) or (type(value) is int and value >= 0):
        return value
    raise ValueError("expected a number of workers from 0, or {min: 1, max: 4}")


class Train(Section):
    """The training loop."""

    # where
    workers: Annotated[int | Workers, WrapValidator(_workers)] = Field(
        1,
        description="Ray Train workers; {min: 1, max: 4}: as many as there is room for while machines come and go; "
        "0 runs the same loop in this process, without Ray",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes a GPU when there is one")
    cpus_per_worker: int | None = Field(None, ge=1, description="CPUs of each worker; None shares all of them out")
    memory_gb: float = Field(4.0, gt=0, description="a worker's clips stay on the device up to this size, else stream")
    max_failures: int = Field(2, ge=0, description="worker or node losses survived by going on from a checkpoint")
    node_wait: int = Field(
        600, ge=0, description="seconds to wait for nodes: while an autoscaler starts them, or after too many were lost"
    )
    # how long
    smoke: bool = Field(
        False, description="one epoch over one batch of each split, to see that all works; earlier results stay"
    )
    epochs: int = Field(60, ge=1, validate_default=True)
    repeat: int = Field(1, ge=1, description="times that an epoch goes over the training clips; for small sets")
    best: str = Field("val/top1", description="metric that chooses the best epoch; ties go to the lower val/loss")
    patience: int = Field(0, ge=0, description="end after so many epochs without a new best one; 0: never")
    stop_at: float | None = Field(None, description="end when `best` is as good as this; None: never")
    # steps
    batch: int = Field(32, ge=1, description="clips a step over all workers together")
    accumulate: int = Field(
        1, ge=1,
        description="parts that a step's clips are computed in, to save memory; gradients are added up, batch "
        "normalisation and mixup see a part at a time",
    )  # fmt: skip
    optimizer: Literal["adamw", "adam", "sgd"] = Field("adamw", description="adam: weight decay adds to the gradient")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    nesterov: bool = Field(True, description="sgd looks a step ahead")
    weight_decay: float = Field(0.01, ge=0, description="of all but biases and the scales of norms")
    clip_norm: float = Field(1.0, ge=0, description="largest gradient norm; 0 switches clipping off")
    mixup: float = Field(
        0.0, ge=0, description="alpha of Beta(alpha, alpha), the share of a clip mixed with another; 0 mixes none"
    )
    ema: float = Field(
        0.0, ge=0, lt=1,
        description="share that the averaged weights keep at each step, such as 0.999; they are what is evaluated and "
        "kept; 0: the last weights are",
    )  # fmt: skip
    # learning rate
    lr: float = Field(1e-3, gt=0, description="learning rate at its peak")
    schedule: Literal["cosine", "step", "plateau", "constant"] = Field("cosine", description="what follows the warm-up")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of all steps over which the rate rises to lr")
    min_lr: float = Field(
        1e-5, ge=0, description="learning rate at the end of the cosine; a plateau goes no lower; at most lr"
    )
    steps: tuple[int, ...] = Field((), validate_default=True, description="step: epochs after which the rate falls")
    gamma: float = Field(0.1, gt=0, le=1, description="step: what the rate is multiplied by")
    plateau_patience: int = Field(
        10, ge=0, description="plateau: epochs without a new best one that are borne; after one more the rate falls"
    )
    factor: float = Field(0.5, gt=0, lt=1, description="plateau: what the rate is multiplied by")
    # what it begins with
    start_from: StoredPath | None = Field(None, description="folder of a bundle whose weights it starts from")
    ignore: tuple[str, ...] = Field(
        (), description="parts of start_from left out, or single weights, such as task.head; * is anything"
    )
    freeze: tuple[str, ...] = Field(
        (), description="parts that stay as they are, or single weights, such as encoder; * is anything"
    )
    restart: bool = Field(False, description="begin again although checkpoints of the same training exist")
    # how it is computed
    amp: Literal["auto", "off", "bf16", "fp16"] = Field("auto", description="auto: bf16 on a GPU, off on a CPU")
    compile: bool = Field(False, description="compile the network first (minutes), for speed; needs a C++ compiler")
    deterministic: bool = Field(
        False, description="only operations that give the same bits each time on the same machine; slower"
    )
    # full-state checkpoints
    checkpoint_every: int = Field(5, ge=1, description="epochs between them")
    keep_checkpoints: int = Field(2, ge=1, description="newest ones kept")

    @property
    def fewest(self) -> int:
        """Workers that training needs."""
        return self.workers if isinstance(self.workers, int) else self.workers.min

    @property
    def most(self) -> int:
        """Workers that training can use."""
        return self.workers if isinstance(self.workers, int) else self.workers.max

    @field_validator("epochs")
    @classmethod
    def _is_one_of_a_smoke_test(cls, value: int, info: ValidationInfo) -> int:
        return 1 if info.data.get("smoke") else value

    @field_validator("steps")
    @classmethod
    def _are_told(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if info.data.get("schedule") == "step" and not value:
            raise ValueError("expected the epochs after which the rate falls, such as [30, 40]")
        return value


class Evaluate(Section):
    """Scoring a bundle on one split."""

    bundle: StoredPath | None = Field(None, description="folder of the bundle to score; None: the one that is trained")
    split: Literal["train", "val", "test"] = "test"
    batch: int = Field(64, ge=1, description="clips a step")
    clips: int | None = Field(
        None, ge=1,
        description="samplings of a clip whose answers are averaged, as in 10-clip testing; None: as the bundle's own "
        "config says, else 1, the usual one",
    )  # fmt: skip
    mirror: bool | None = Field(
        None, description="average with the answers to the mirror image; None: as the bundle's own config says, else no"
    )


class Tune(Section):
    """A search for better settings; `train.best` says what is better, validation clips decide."""

    trials: int = Field(20, ge=1, description="trainings at most; the first is of the config as it is")
    search: Literal["optuna", "random", "grid"] = Field(
        "optuna", description="optuna: tree-structured Parzen estimators, which learn from the trials before"
    )
    scheduler: Literal["asha", "median", "none"] = Field(
        "asha", description="which trials end early: asha: all but the best at rungs, median: those below the median"
    )
    grace: int = Field(5, ge=1, description="epochs that every trial gets")
    reduction: int = Field(3, ge=2, description="asha: of so many trials at a rung, one goes on to the next")
    concurrent: int | None = Field(None, ge=1, description="trials at a time; None: as many as the cluster can hold")
    confirm: int = Field(0, ge=0, description="seeds to train the best and the first trial with, scored on test clips")
    restart: bool = Field(False, description="begin anew although there are trials of the same search")
    space: dict | None = Field(None, description="what to search, a tree like this one; None: the usual settings")


class Ensemble(Section):
    """Several recognisers that answer together."""

    members: tuple[dict, ...] | None = Field(
        None,
        description="what each differs in, such as {prepare.stream: bone}; None: one for each stream of the recipe, of "
        "one without streams three seeds",
    )
    weights: Literal["fitted", "equal"] = Field(
        "fitted", description="how much each member counts; fitted: as makes validation clips likeliest"
    )


class Mlflow(Section):
    """Where runs are recorded."""

    enabled: bool = True
    uri: str | None = Field(
        None,
        description="tracking server or database; None: MLFLOW_TRACKING_URI, else a file mlflow.db in `out`'s parent",
    )
    experiment: str | None = Field(None, description="experiment name; None takes the config's name")


class Ray(Section):
    """The cluster."""

    address: str | None = Field(None, description="cluster to join; None takes RAY_ADDRESS, else starts one here")
    cpus: int | None = Field(None, ge=1, description="CPUs of a cluster started here; None takes all")
    head_wait: float = Field(30, gt=0, description="seconds to wait for a head that does not answer, then to end")


class Config(Section):
    """Everything a run needs. `raysign config` prints it resolved."""

    name: str = Field("raysign", pattern=r"^[A-Za-z0-9._-]+$", description="names the run and its folder")
    out: ResultPath | None = Field(None, description="folder of all results, or s3://BUCKET/PREFIX; None: runs/<name>")
    landmarks: ResultPath | None = Field(
        None, description="landmark store to share between runs; None: <out>/landmarks"
    )
    seed: int = Field(0, ge=0, description="of splits, initial weights, shuffling and augmentation")
    source: of_family("source")  # type: ignore[valid-type]
    extract: Extract = Extract()  # pyright: ignore[reportCallIssue]
    prepare: of_family("prepare")  # type: ignore[valid-type]
    split: Split = Split()  # pyright: ignore[reportCallIssue]
    augment: Augment = Augment()  # pyright: ignore[reportCallIssue]
    model: of_family("model")  # type: ignore[valid-type]
    task: of_family("task")  # type: ignore[valid-type]
    train: Train = Train()  # pyright: ignore[reportCallIssue]
    evaluate: Evaluate = Evaluate()  # pyright: ignore[reportCallIssue]
    tune: Tune = Tune()  # pyright: ignore[reportCallIssue]
    ensemble: Ensemble = Ensemble()  # pyright: ignore[reportCallIssue]
    mlflow: Mlflow = Mlflow()  # pyright: ignore[reportCallIssue]
    ray: Ray = Ray()  # pyright: ignore[reportCallIssue]

    @property
    def home(self) -> Path:
        """Folder of all results of this config."""
        return self.out or expand_result(f"runs/{self.name}")

    @property
    def answers(self) -> Path:
        """Folder of the bundle and of what it was found to be worth; a smoke test's lie apart."""
        return self.home / "smoke" if self.train.smoke else self.home

    def of_split(self, name: str) -> Path:
        """Folder of what was found on clips of `evaluate.split`: named so of test clips, of others with the split's."""
        return self.answers / of_split(name, self.evaluate.split)

    @property
    def landmarks_dir(self) -> Path:
        """The LANDMARKS store."""
        return self.landmarks or self.home / "landmarks"

    def to_yaml(self) -> str:
        """The whole tree as YAML that `load` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


# ---------------------------------------------------------------- loading


def of_split(name: str, split: str) -> str:
    """The name of a folder of what was found on test clips, with the split's where it was on others."""
    return name if split == "test" else f"{name}-{split}"


def load(arguments: Iterable[str] = (), base: dict | None = None) -> Config:
    """The config told by command-line arguments, left to right.

    An argument is a YAML file, a dotted override (`train.lr=3e-4`) or a path to read from, which sets `source.path`
    and, where none of the others has, `source.kind`.
    `base` is a tree the arguments are merged over. Raises ConfigError naming the file or key at fault.
    """
    tree, arguments = dict(base or {}), list(arguments)
    told = any(argument.startswith("source.kind=") for argument in arguments)
    for argument in arguments:
        part = tree_of(argument, detecting=not told)
        told = told or _kind_of_source(part) is not None
        tree = merged(tree, part)
    for key in tree:  # before anything else, or a section that is missing would hide a misspelt one
        if key not in Config.model_fields:
            raise ConfigError(f"{key}: unknown key{nearest(key, Config.model_fields)}")
    return validated(Config, tree)


def section(family: str, arguments: Iterable[str]) -> Section:
    """The options of one kind of a family that is no section of the tree: `family=KIND`, then `family.key=value`.

    Raises ConfigError naming the key at fault.
    """
    tree = {}
    for argument in arguments:
        told = override(argument)[family]
        tree = merged(tree, told if isinstance(told, dict) else {"kind": told})
    kind = str(tree.get("kind", ""))
    return validated(kind_module(family, kind).Options, {**tree, "kind": kind}, f"{family}.")


def _kind_of_source(tree: dict) -> str | None:
    source = tree.get("source")
    return source.get("kind") if isinstance(source, dict) else None
