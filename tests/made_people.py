"""Small files of people with a score for each point: of pose-format, OpenPose and mmskeleton."""

import json
import struct

import numpy as np

from raysign.sources import pose_format

SIZE = (640, 360)  # of the picture

# ---------------------------------------------------------------- pose-format

POSE, FACE = pose_format.NAMES["POSE_LANDMARKS"], pose_format.NAMES["FACE_LANDMARKS"]
HAND = [f"H{i}" for i in range(21)]
BODY = [f"B{i}" for i in range(25)]
HOLISTIC = {
    "POSE_LANDMARKS": POSE, "FACE_LANDMARKS": FACE, "LEFT_HAND_LANDMARKS": HAND, "RIGHT_HAND_LANDMARKS": HAND,
    "POSE_WORLD_LANDMARKS": POSE,
}  # fmt: skip


def _text(word):
    return struct.pack("<H", len(word.encode())) + word.encode()


def pose_header(components, version=0.2, size=SIZE, limbs=((0, 1),), form="XYZC"):
    out = struct.pack("<f4H", version, *size, 0, len(components))
    for name, points in components.items():
        out += _text(name) + _text(form) + struct.pack("<3H", len(points), len(limbs), 1) + b"".join(map(_text, points))
        out += b"".join(struct.pack("<2H", *limb) for limb in limbs) + struct.pack("<3H", 255, 0, 0)
    return out


def pose_body(values, confidence, version, fps=25):
    """values (T, M, V, D), confidence (T, M, V)."""
    frames, people = confidence.shape[:2]
    if version:
        counts = struct.pack("<fIH" if version > 0.15 else "<3H", fps, frames, people)
        return counts + values.astype("<f4").tobytes() + confidence.astype("<f4").tobytes()
    out = struct.pack("<2H", fps, frames)
    for t in range(frames):
        out += struct.pack("<H", people)
        for person in range(people):
            out += struct.pack("<h", -1)
            both = np.concatenate([values[t, person], confidence[t, person, :, None]], axis=-1).astype("<f4")
            out += both.tobytes()  # component after component, as their points are
    return out


def pose_values(components, frames=4, people=1, seed=0, dimensions=3):
    rng, points = np.random.default_rng(seed), sum(map(len, components.values()))
    values = rng.uniform(0.2, 0.8, (frames, people, points, dimensions)).astype(np.float32)
    values[..., :2] *= SIZE
    return values, rng.uniform(0.2, 1, (frames, people, points)).astype(np.float32)


def write_pose(file, components, values, confidence, version=0.2, **about):
    form = "XYC" if values.shape[-1] == 2 else "XYZC"
    file.parent.mkdir(parents=True, exist_ok=True)
    data = pose_header(components, version, form=form, **about) + pose_body(values, confidence, version)
    file.write_bytes(data)
    return data


# ---------------------------------------------------------------- OpenPose

KEYS = {"body": "pose_keypoints_2d", "left_hand": "hand_left_keypoints_2d", "right_hand": "hand_right_keypoints_2d",
        "face": "face_keypoints_2d"}  # fmt: skip


def someone(rng, body=25, scale=SIZE, parts=("left_hand", "right_hand", "face")):
    """Part -> (points, 3) of x, y and score."""
    counts = {"body": body, "left_hand": 21, "right_hand": 21, "face": 70}
    found = {part: rng.uniform(0.1, 0.9, (counts[part], 3)) for part in ("body", *parts)}
    return {part: points * np.array([*scale, 1]) for part, points in found.items()}


def write_frames(folder, frames, ending="", first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number, people in enumerate(frames, first):
        told = [
            {KEYS[part].removesuffix(ending): points.ravel().tolist() for part, points in person.items()}
            for person in people
        ]
        file = folder / f"{folder.name}_{number:012d}_keypoints.json"
        file.write_text(json.dumps({"version": 1.3, "people": told}))


# ---------------------------------------------------------------- mmskeleton


def write_mmskeleton(file, category=1, **info):
    rng = np.random.default_rng(7)
    people = rng.uniform(0.1, 0.9, (2, 17, 3)) * [*SIZE, 1]
    people[1, :, 2] *= 0.1
    people[0, 3, 2] = 0
    annotations = [
        {"frame_index": t, "id": i, "person_id": None, "keypoints": people[i].tolist()}
        for t, i in ((0, 1), (0, 0), (2, 0))
    ]
    about = {"video_name": file.stem, "resolution": SIZE, "num_frame": 4, "num_keypoints": 17,
             "keypoint_channels": ["x", "y", "score"], "version": "1.0", **info}  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"info": about, "annotations": annotations, "category_id": category}))
    return people
