"""Sentences of made-up signers: signs that follow one another without a pause, as features of each frame; those to
test on are of takes that training has not seen."""

import json
import pickle
from pathlib import Path

import numpy as np

from raysign.clips.recipes import phonological_36
from raysign.sources import synthetic

SOURCE = synthetic.Options(glosses=4, signers=4, takes=3)  # pyright: ignore[reportCallIssue]
GLOSSES = [f"sign{i:02d}" for i in range(4)]


def write(folder: Path, train: int = 90, test: int = 20) -> Path:
    """A cache of features and labels.json beside it: of train and test so many sentences of one or two signs."""
    recipe = phonological_36.Options()  # pyright: ignore[reportCallIssue]
    signs = {ref.id: phonological_36.apply(synthetic.read(ref, SOURCE), recipe)[0, ::2, 0, :-1]
             for ref in synthetic.clips(SOURCE)}  # fmt: skip
    rng, told = np.random.default_rng(0), {}
    folder.mkdir(parents=True)
    for split, count, takes in (("train", train, [0, 1]), ("test", test, [2])):
        clips = {}
        for i in range(count):
            words, signer = (
                rng.choice(GLOSSES, 1 + (i % 3 > 0)),
                rng.integers(4),
            )  # one sentence of three is a sign alone
            parts = [signs[f"signer{signer}/{word}/{rng.choice(takes)}"] for word in words]
            clips[f"{split}{i}"], told[f"{split}{i}"] = np.concatenate(parts), words.tolist()
        (folder / f"{split}_4glosses.pkl").write_bytes(pickle.dumps(clips))
    (folder / "labels.json").write_text(json.dumps(told))
    return folder


def tree(folder: Path, out: Path) -> dict:
    """A config that trains the BiLSTM-CTC recogniser on them."""
    return {
        "name": "sentences", "out": str(out), "mlflow": {"enabled": False},
        "source": {"kind": "feature_cache", "path": str(folder), "labels": str(folder / "labels.json")},
        "prepare": {"kind": "stored_features", "features": "phonological_36"},
        "model": {"kind": "bilstm", "dropout": 0.2}, "task": {"kind": "ctc"},
        "train": {"workers": 0, "epochs": 16, "batch": 8, "lr": 5e-3, "warmup": 0.1},
    }  # fmt: skip
