"""How the clips of each format are usually read: one process, one clip after the other, dense arrays.

A function for each format of `bench import`, called by its name, takes the folder and yields an array for each clip.
"""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from raysign.skeleton import LAYOUTS


def gesture_parquet(folder: Path) -> Iterator[np.ndarray]:
    """pandas, file by file."""
    for file in sorted(folder.rglob("*_landmarks.parquet")):
        yield long_rows(file, "holistic_75")


def long_rows(file: Path, layout: str) -> np.ndarray:
    """(T, V, 4) by pandas: one read, and for each part one selection and reshape."""
    import pandas

    table = pandas.read_parquet(file)
    return np.concatenate([
        table.loc[table["type"] == part, ["x", "y", "z", "visibility"]].to_numpy(np.float32).reshape(-1, size, 4)
        for part, size in LAYOUTS[layout].parts
    ], axis=1)  # fmt: skip


def gislr_parquet(folder: Path) -> Iterator[np.ndarray]:
    """pandas: the three columns of numbers, reshaped to 543 points."""
    import pandas

    for file in sorted(folder.rglob("train_landmark_files/**/*.parquet")):
        yield pandas.read_parquet(file, columns=["x", "y", "z"]).to_numpy(np.float32).reshape(-1, 543, 3)


def stgcn_npy(folder: Path) -> Iterator[np.ndarray]:
    """numpy: each row of the mapped array."""
    for file in sorted(folder.glob("*_data.npy")):
        with file.with_name(file.name.replace("_data.npy", "_label.pkl")).open("rb") as labels:
            pickle.load(labels)
        for clip in np.load(file, mmap_mode="r"):
            yield np.array(clip)


def npz(folder: Path) -> Iterator[np.ndarray]:
    """numpy: the array of all clips, cut to each one's length."""
    with np.load(folder / "landmarks.npz") as arrays:
        values, lengths = arrays["x"], arrays["lengths"]
    for clip, length in zip(values, lengths, strict=True):
        yield clip[:length]


def fsl_npz(folder: Path) -> Iterator[np.ndarray]:
    """numpy: points and mask of each file."""
    for file in sorted(folder.rglob("*.npz")):
        with np.load(file) as arrays:
            yield np.concatenate([arrays["X"].reshape(len(arrays["X"]), -1, 2), arrays["mask"][..., None]], axis=-1)


def pyskl_pickle(folder: Path) -> Iterator[np.ndarray]:
    """pickle: points and scores of each annotation."""
    with next(folder.glob("*.pkl")).open("rb") as file:
        tree = pickle.load(file)
    for clip in tree["annotations"]:
        scores = clip.get("keypoint_score")
        values = clip["keypoint"].astype(np.float32)
        yield values if scores is None else np.concatenate([values, scores.astype(np.float32)[..., None]], axis=-1)


def pose_format(folder: Path) -> Iterator[np.ndarray]:
    """The package pose-format, where it is installed."""
    from pose_format import Pose  # pyright: ignore[reportMissingImports]

    for file in sorted(folder.rglob("*.pose")):
        body = Pose.read(file.read_bytes()).body
        yield np.concatenate([body.data.filled(np.nan), body.confidence[..., None]], axis=-1)


def ntu_skeleton(folder: Path) -> Iterator[np.ndarray]:
    """Line by line, as the readers that come with NTU's models do."""
    for name in sorted(folder.rglob("*.skeleton")):
        with name.open() as file:
            frames = int(file.readline())
            values = np.zeros((2, frames, 25, 3), np.float32)
            for t in range(frames):
                for person in range(int(file.readline())):
                    file.readline()
                    for joint in range(int(file.readline())):
                        values[person, t, joint] = [float(word) for word in file.readline().split()[:3]]
        yield values


def kinetics_json(folder: Path) -> Iterator[np.ndarray]:
    """json: frame by frame and person by person, the two surest kept, as the feeder of st-gcn does."""
    for file in sorted(folder.rglob("*.json")):
        clip = json.loads(file.read_text())
        values = np.zeros((5, len(clip["data"]), 18, 3), np.float32)
        for t, frame in enumerate(clip["data"]):
            for person, found in enumerate(frame["skeleton"][:5]):
                values[person, t, :, 0], values[person, t, :, 1] = found["pose"][0::2], found["pose"][1::2]
                values[person, t, :, 2] = found["score"]
        order = (-values[..., 2].sum(-1)).argsort(axis=0)
        yield np.stack([values[order[:, t], t] for t in range(values.shape[1])], axis=1)[:2]


def npy_tree(folder: Path) -> Iterator[np.ndarray]:
    """numpy: the files of each folder, in the order of their numbers."""
    for clip in sorted({file.parent for file in folder.glob("*/*/*.npy")}):
        yield np.stack([np.load(file) for file in sorted(clip.glob("*.npy"), key=lambda file: int(file.stem))])
