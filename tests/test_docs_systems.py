"""Coming from another system: each command that a page of docs/systems shows runs, and each setting it names exists.

The commands of a page's bash blocks run one after the other where a project would stand, on small data made up by the
function that is called like the page. Indented commands need videos or photographs, and are not run.
"""

import inspect
import json
import re
import shlex
import shutil
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from made_sources import write_cache, write_fsl, write_kinetics, write_npz, write_ntu, write_stgcn
from test_learn_imported import original_name

from raysign import config, store
from raysign.cli import main
from raysign.clips import form, handcrafted
from raysign.config import Config
from raysign.errors import ModelFileError
from raysign.extract import models
from raysign.kinds import FAMILIES, Section, kind_module, kinds
from raysign.learn.labels import Labels
from raysign.learn.recogniser import build

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "systems").glob("*.md"))
SMALL = ["train.epochs=2", "train.workers=0", "mlflow.enabled=false", "ray.cpus=2"]
LETTERS = [*"ABCDE"]
page_of = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


# ---------------------------------------------------------------- the data of each page, in the current folder


def asl_alphabet() -> None:
    """Features of five hand shapes, and weights as they were saved with their labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % len(LETTERS)
    hands = rng.normal(size=(len(LETTERS), 21, 3))[labels] + rng.normal(0, 0.1, (60, 21, 3))
    features = handcrafted.hand_shape(hands[None], "legacy")[0]
    write_npz(Path("data/asl_features.npz"), features=features, labels=labels, label_names=np.array(LETTERS))
    about = {"epoch": 9, "val_accuracy": 0.9, "label_mapping": dict(enumerate(LETTERS)),
             "model_config": {"model_type": "v1", "input_size": 84, "num_classes": len(LETTERS)}}  # fmt: skip
    weights = published("configs/asl_alphabet.yaml", "hand_21", LETTERS)
    saved("models/best_model.pt", {**about, "model_state_dict": weights})


def fsl_105() -> None:
    """Points, and apart from them features, of the same clips."""
    listed = {"train": [(f"{i}", f"{i % 3}", f"{i % 2}", f"{i % 2}") for i in range(12)],
              "val": [(f"{i}", f"{i % 3}", f"{i % 2}", "0") for i in range(12, 18)]}  # fmt: skip
    root = Path("data/processed")
    write_fsl(root, listed)
    rng = np.random.default_rng(0)
    for split, clips in listed.items():
        for name, *_ in clips:
            write_npz(root / f"features_{split}" / f"{name}.npz", X2048=rng.random((4, 2048), np.float32))
    weights = published("configs/fsl_transformer.yaml", "fsl_78", [f"{i}" for i in range(105)])
    saved("SignTransformer_best.pt", {"epoch": 3, "model": weights, "best_metric": 0.5, "args": None})


def gesture() -> None:
    """Made-up signers as a Parquet file a clip, listed without who signs."""
    folder = Path("scratch/gesture/data/wlaslvideos_processed")
    Path("made.yaml").write_text("source: {kind: synthetic, glosses: 3, signers: 2, takes: 4}\nout: made\n")
    folder.parent.mkdir(parents=True)
    done = raysign("convert", "made.yaml", folder, "to=gesture_parquet", "ray.cpus=2")
    assert done.exit_code == 0, done.output
    pd.read_csv(folder / "train.csv").drop(columns="participant_id").to_csv(folder / "train.csv", index=False)


def phase_1_ctc() -> None:
    """Caches of features, and the glosses of their videos."""
    Path("data/cache").mkdir(parents=True)
    videos = write_cache(Path("data/cache/phase1"))
    glosses = {video: ("book", "drink")[i % 2] for i, video in enumerate(videos)}
    Path("data/glosses.json").write_text(json.dumps(glosses))


def st_gcn() -> None:
    """Skeletons of performers and cameras on both sides, arrays, Kinetics, and weights for the 60 classes of NTU."""
    for performer, camera, action in product((1, 2, 3, 4), (1, 2), (1, 2)):
        name = f"S001C{camera:03d}P{performer:03d}R001A{action:03d}.skeleton"
        write_ntu(Path("data/nturgb+d_skeletons") / name, [[1], [1, 2], [1, 2], [1]])
    Path("data/NTU-RGB-D").mkdir()
    for split in ("train", "val"):
        write_stgcn(Path("data/NTU-RGB-D/xsub"), split=split)
        for label in ("dodgeball", "yoga"):
            folder = Path("data/Kinetics/kinetics-skeleton") / f"kinetics_{split}"
            write_kinetics(folder / f"{label}.json", label=label)
    weights = published("configs/st_gcn_ntu_xsub.yaml", "ntu_25", [f"{i}" for i in range(60)])
    saved("models/st_gcn.ntu-xsub.pt", weights)


MADE = {make.__name__: make for make in (asl_alphabet, fsl_105, gesture, phase_1_ctc, st_gcn)}


def published(settings: str, layout: str, glosses: list[str]) -> dict[str, torch.Tensor]:
    """Weights of the network of a config, by the names under which they were published; of ten categories."""
    tree = config.load([settings])
    weights = build(tree, *form.expected(tree, layout), Labels(glosses, [*"abcdefghij"])).state_dict()
    return {original_name(name, tree): value for name, value in weights.items()}


def saved(path: str, tree: dict) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    torch.save(tree, path)


# ---------------------------------------------------------------- the commands


def raysign(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def commands(page: Path, section: str = "") -> list[list[str]]:
    """The words of each line of the bash blocks of a page, or of one section of it, without comments."""
    text = page.read_text(encoding="utf-8")
    if section:
        text = re.split(r"^## ", text.split(f"## {section}\n")[1], flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [words for line in "".join(blocks).splitlines() if (words := shlex.split(line, comments=True))]


def left_by(verb: str, words: list[str]) -> list[Path]:
    """What a command promises to leave behind."""
    if verb == "import-weights":
        return [Path(words[words.index("--out") + 1]) / "card.json"]
    tree = config.load(words)
    trained, scored = tree.answers / "bundle" / "weights.pt", tree.of_split("evaluation") / "report.html"
    return {
        "import": [tree.landmarks_dir / "card.json"], "validate": [tree.home / "validation" / "report.html"],
        "train": [trained], "evaluate": [scored], "run": [trained, scored], "analyze": [tree.home / "curves.png"],
        "prepare": [next(tree.home.glob("clips/*/card.json"), tree.home / "clips" / "card.json")],
    }[verb]  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch, cluster) -> Path:  # noqa: ARG001 - reading files takes the cluster
    """A folder with the project's configs, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRATCH", str(tmp_path / "scratch"))
    Path("configs").symlink_to(ROOT / "configs")
    return tmp_path


@page_of
def test_every_command_of_a_page_runs_in_its_order(page, project):
    assert page.stem in MADE, f"{page}: write the function {page.stem}() that makes the data of its commands"
    MADE[page.stem]()
    shown = commands(page)
    assert shown, f"{page}: no bash block with a command in it"
    for program, *words in shown:
        if program != "raysign":  # a small thing done by the shell
            subprocess.run(["bash", "-c", " ".join([program, *words])], check=True)
            continue
        trained = set(project.glob("runs/*/train/*"))
        verb, *words = [*words, *SMALL]
        done = raysign(verb, *words)
        assert done.exit_code == 0, f"{shlex.join([program, verb, *words])}\n{done.output}"
        assert [path for path in left_by(verb, words) if not path.exists()] == []
        if verb == "evaluate":  # of what was trained before, not of something new
            assert set(project.glob("runs/*/train/*")) == trained


# ---------------------------------------------------------------- the settings that pages name

NAME = re.compile(r"(?<!\S)(\w+)\.(?!csv\b)(\w+)")  # train.csv is a file
NAMES = re.compile(r"(\w+)\.(\w+(?:, \w+)+)")  # train.epochs, batch, lr
KIND = re.compile(r"(\w+)\.kind(?:=|: )(\w+(?:, \w+)*)")  # model.kind=mlp, mlp_residual


def sections() -> dict[str, list[type[Section]]]:
    """Section of the tree -> what may stand there: the options of each kind, where there are several."""
    fixed = {name: field.annotation for name, field in Config.model_fields.items()}
    found = {name: [it] for name, it in fixed.items() if inspect.isclass(it) and issubclass(it, Section)}
    return found | {family: [kind_module(family, kind).Options for kind in kinds(family)] for family in FAMILIES}


def code_of(page: Path) -> list[str]:
    """What stands in backticks on a page, but in a table's left column, where the other system's words are."""
    lines = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE).splitlines()
    ours = (line.strip("| ").split(" | ")[-1] if line.startswith("|") else line for line in lines)
    return [word for line in ours for word in re.findall(r"`([^`]+)`", line)]


@page_of
def test_every_setting_that_a_page_names_exists(page):
    words, known = code_of(page), sections()
    listed = [NAMES.fullmatch(word) for word in words]
    named = [found.groups() for word in words for found in NAME.finditer(word)]
    named += [(found[1], name) for found in listed if found for name in found[2].split(", ")]
    ours = [(section, name) for section, name in named if section in known]
    assert len(ours) > 10
    fields = {section: {name for one in options for name in one.model_fields} for section, options in known.items()}
    assert [f"{section}.{name}" for section, name in ours if name not in fields[section]] == []
    told = [(found[1], kind) for word in words for found in KIND.finditer(word) for kind in found[2].split(", ")]
    assert [f"{family}.kind={kind}" for family, kind in told if family in FAMILIES and kind not in kinds(family)] == []


# ---------------------------------------------------------------- photographs


@pytest.mark.real_data
@pytest.mark.models
def test_photographs_of_letters_become_clips(real_data, project):
    try:
        models.pair()
    except ModelFileError as error:
        pytest.skip(f"no model files: {error}")
    for letter in "ABC":
        shutil.copytree(real_data / "silfa_images" / letter, project / "data" / "asl_alphabet" / letter)
    Path("data/asl_alphabet/A/torn.jpg").write_bytes(b"no picture")
    for verb in ("extract", "prepare"):
        done = raysign(verb, "configs/asl_alphabet.yaml", "extract.detection_confidence=0.5", *SMALL)
        assert done.exit_code == 0, done.output
    home = config.load(["configs/asl_alphabet.yaml"]).home
    lost = store.read_table(home / "landmarks" / "quarantine.parquet").to_pylist()
    assert [row["id"] for row in lost] == ["A/torn.jpg"]
    assert store.read_json(next(home.glob("clips/*/card.json")))["counts"]["clips"] == 3
