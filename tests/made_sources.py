"""Small files of every kind that raysign reads landmarks from: a few clips each, made up from a seed.

`samples` writes one of each kind. A new source adds its own there, and the tests of what every source owes cover it.
"""

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from made_people import HAND, POSE, pose_values, someone, write_frames, write_mmskeleton, write_pose

from raysign.kinds import Section, kind_module


def body(rng, identity, state=2):
    """One body's lines, and its joints (25, 3)."""
    joints = rng.normal(size=(25, 3)).round(4)
    lines = [f"{identity} 0 1 1 1 1 0 0.01 -0.2 2", "25"]
    lines += [f"{x} {y} {z} 277.4 191.8 1036.2 519.0 -0.2 0.03 0.98 0.01 {state}" for x, y, z in joints]
    return lines, joints


def write_ntu(file, frames):
    """frames: for each the ids of its bodies. Returns the joints by (frame, id)."""
    rng, lines, truth = np.random.default_rng(0), [str(len(frames))], {}
    for t, ids in enumerate(frames):
        lines.append(str(len(ids)))
        for identity in ids:
            told, truth[t, identity] = body(rng, identity)
            lines += told
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return truth


def write_stgcn(folder, points=25, clips=3, frames=8, protocol=2, split="train"):
    rng = np.random.default_rng(points)
    x = rng.uniform(-0.4, 0.4, (clips, 3, frames, points, 2)).astype(np.float32)
    x[:, 2] = rng.uniform(0.2, 1, x[:, 2].shape)
    x[0, :, 5:] = x[0, :, :, 3] = x[1, ..., 1] = 0
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{split}_data.npy", x)
    names = [f"clip{i}.skeleton" for i in range(clips)]
    with (folder / f"{split}_label.pkl").open("wb") as file:
        pickle.dump((names, list(range(clips))), file, protocol)
    return x


def write_kinetics(file, frames=(1, 2, 4), label="dodgeball"):
    rng = np.random.default_rng(3)
    poses = {number: (rng.uniform(0.1, 0.9, (3, 18, 2)), rng.uniform(0.2, 1, (3, 18))) for number in frames}
    poses[frames[0]][1][:, 7] = 0
    data = [
        {"frame_index": number,
         "skeleton": [{"pose": p.ravel().tolist(), "score": s.tolist()} for p, s in zip(*people, strict=True)]}
        for number, people in poses.items()
    ]  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"data": data, "label": label, "label_index": 3}))
    return poses


def write_pyskl(file, *, channels=2, points=17, **change):
    rng = np.random.default_rng(channels)
    keypoint = rng.uniform(10, 400, (3, 2, 6, points, channels)).astype(np.float16)
    score = rng.uniform(0.1, 1, keypoint.shape[:4]).astype(np.float16)
    score[0, 1, 2] = 0
    annotations = [
        {"frame_dir": f"clip{i}", "label": i % 2, "total_frames": 6, "img_shape": (480, 640), "keypoint": keypoint[i],
         **({"keypoint_score": score[i]} if channels == 2 else {})}
        for i in range(3)
    ]  # fmt: skip
    split = {"xsub_train": ["clip0", "clip2"], "xsub_val": ["clip1"], "xview_train": ["clip1"], "xview_val": []}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps({"split": split, "annotations": annotations, **change}))
    return keypoint.astype(np.float32), score.astype(np.float32)


def write_parquet(file):
    rng, count = np.random.default_rng(5), 33 + 21
    keys = {"type": ["pose"] * 33 + ["left_hand"] * 21, "landmark_index": [*range(33), *range(21)]}
    columns = {name: cells * 2 for name, cells in keys.items()} | {"frame": [0] * count + [1] * count}
    values = {name: rng.uniform(0.1, 0.9, 2 * count).astype(np.float32) for name in "xyz"}
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns | values), file)


def write_npy_tree(folder, frames=3):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(frames):
        np.save(folder / f"{i}.npy", np.random.default_rng(i).random(1662))


def write_npz(file, **arrays):
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **arrays)
    return file


def write_ctrgcn(file, clips=3, frames=6, save=np.savez):
    """Clips of two people of whom the second is in every other clip only, the last frame of each empty."""
    x = np.random.default_rng(6).normal(size=(clips, frames, 2, 25, 3)).astype(np.float32)
    x[::2, :, 1] = x[:, -1] = x[:, 2, :, 4] = 0
    flat, classes = x.reshape(clips, frames, 150), np.eye(clips, dtype=np.float64)
    file.parent.mkdir(parents=True, exist_ok=True)
    save(file, x_train=flat, y_train=classes, x_test=flat[:1], y_test=classes[:1])
    return x


def write_hands(file, clips=3):
    hands = np.random.default_rng(7).normal(size=(clips, 84)).astype(np.float32)
    hands[:, :3] = 0  # the wrist
    write_npz(file, features=hands, labels=np.arange(clips), label_names=np.array([*"ABCDEFG"]))
    return hands


def write_fsl(root, rows, frames=5, fps=30.0, folder="keypoints"):
    """rows: split -> (file, gloss, cat, occluded) of each. Returns x and mask by file."""
    rng, made = np.random.default_rng(8), {}
    for split, told in rows.items():
        for name, *_ in told:
            x, mask = rng.uniform(0.1, 0.9, (frames, 156)).astype(np.float32), rng.random((frames, 78)) < 0.8
            made[name] = x * np.repeat(mask, 2, axis=1), mask
            meta = json.dumps({"file": name})
            times = np.arange(frames) * 1000 / fps
            write_npz(root / f"{folder}_{split}" / f"{name}.npz", X=made[name][0], mask=mask, timestamps_ms=times,
                      meta=np.array(meta))  # fmt: skip
        lines = [",".join(row) for row in (("file", "gloss", "cat", "occluded"), *told)]
        (root / f"{split}_labels.csv").write_text("\n".join(lines) + "\n")
    return made


def write_joints(file, points=3, frames=4):
    x = np.random.default_rng(9).normal(size=(frames, points, 4)).round(6)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(" ".join(map(str, joint)) + "\n" for joint in x.reshape(-1, 4)))
    return x


def write_csv(file, labels=("0", "1", "2"), frames=1, points=21):
    x = np.random.default_rng(10).normal(size=(len(labels), frames, points, 2)).round(6)
    x[:, 0, 0] = 0
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = (",".join([label, *map(str, row.ravel())]) for label, row in zip(labels, x, strict=True))
    file.write_text("\r\n".join(rows) + "\r\n")
    return x


def write_openhands(file, points=75, channels=3, frames=4):
    rng = np.random.default_rng(11)
    x, scores = rng.uniform(0.1, 0.9, (frames, points, channels)), rng.uniform(0.1, 1, (frames, points))
    x[1, 33:54] = scores[1, 33:54] = 0
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps({"keypoints": x, "confidences": scores}))
    return x, scores


def write_cache(folder, *, size=36, **more):
    """Caches of the features of two videos for each split, of 3 and more frames. Returns all arrays by video."""
    rng, arrays = np.random.default_rng(0), {}
    folder.mkdir(exist_ok=True)
    for split, names in (("train", ["00001", "00002"]), ("val", ["00003", "00004"])):
        made = {name: rng.normal(size=(2 + int(name), size)) for name in names}
        (folder / f"{split}_2glosses.pkl").write_bytes(pickle.dumps({**made, **more}))
        arrays.update(made)
    return arrays


TRIANGLE = {"name": "triangle", "points": ["a", "b", "c"], "bones": [["a", "b"], ["b", "c"]]}


def samples(folder: Path) -> dict[str, Section]:
    """Kind -> how to read the sample of it that is written below `folder / kind`."""
    extra = {
        "feature_cache": {"labels": folder / "feature_cache" / "labels.csv"},
        "pyskl_pickle": {"path": "a.pkl"},
        "npz": {"path": "a.npz", "layout": "hands_42", "gloss": "y"},
        "ctrgcn_npz": {"path": "a.npz"},
        "hand_features_npz": {"path": "a.npz"},
        "joint_text": {"skeleton": TRIANGLE, "parts": [{"part": "body", "channels": ["x", "y", "z", "skip"]}]},
        "landmark_csv": {"path": "a.csv", "layout": "hand_21", "parts": [{"part": "hand", "channels": ["x", "y"]}]},
    }
    write_ntu(folder / "ntu_skeleton" / "S001C001P001R001A001.skeleton", [[1], [1, 2]])
    write_stgcn(folder / "stgcn_npy")
    write_kinetics(folder / "kinetics_json" / "a.json")
    write_pyskl(folder / "pyskl_pickle" / "a.pkl", split={})
    write_parquet(folder / "landmark_parquet" / "hello" / "1.parquet")
    write_npy_tree(folder / "npy_tree" / "hello" / "1")
    hands = np.random.default_rng(12).uniform(0.1, 0.9, (2, 3, 42, 3))
    write_npz(folder / "npz" / "a.npz", x=hands, y=["a", "b"])
    write_ctrgcn(folder / "ctrgcn_npz" / "a.npz")
    write_hands(folder / "hand_features_npz" / "a.npz")
    write_fsl(folder / "fsl_npz", {"train": [("a", "1", "0", "1"), ("b", "0", "0", "0")]})
    write_joints(folder / "joint_text" / "wave" / "a.txt")
    write_csv(folder / "landmark_csv" / "a.csv")
    write_openhands(folder / "openhands_pickle" / "hello" / "a.pkl")
    few = {"POSE_LANDMARKS": POSE[:5], "LEFT_HAND_LANDMARKS": HAND}
    for version in (0.0, 0.1, 0.2):
        write_pose(folder / "pose_format" / "hello" / f"{version}.pose", few, *pose_values(few), version)
    person = someone(np.random.default_rng(13), scale=(1, 1), parts=("left_hand",))
    write_frames(folder / "openpose_json" / "hello" / "a", [[person], []])
    write_mmskeleton(folder / "mmskeleton_json" / "a.json")
    write_cache(folder / "feature_cache")
    (folder / "feature_cache" / "labels.csv").write_text("video_id,gloss\n00001,a\n00002,b\n00003,a\n00004,b\n")
    return {
        place.name: kind_module("source", place.name).Options.model_validate(
            {**extra.get(place.name, {}), "path": place / extra.get(place.name, {}).get("path", "")}
        )
        for place in sorted(folder.iterdir())
    }
