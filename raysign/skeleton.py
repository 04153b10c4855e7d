"""Which point is where: named parts, bones, mirror images and graphs of every landmark layout raysign knows.

Each skeleton is written down once; adjacency, bones of a part and left-right pairs are derived from it.
Sources: PoseLandmarksConnections and FACE_LANDMARKS_CONTOURS of MediaPipe 0.10.33; HAND_CONNECTIONS of 0.10.21, whose
index finger starts at the wrist, as the models of the field were trained with.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from raysign.errors import ConfigError, nearest

POSE_BONES = (
    (0, 1), (1, 2), (2, 3), (3, 7), (0, 4), (4, 5), (5, 6), (6, 8), (9, 10), (11, 12), (11, 13), (13, 15), (15, 17),
    (15, 19), (15, 21), (17, 19), (12, 14), (14, 16), (16, 18), (16, 20), (16, 22), (18, 20), (11, 23), (12, 24),
    (23, 24), (23, 25), (24, 26), (25, 27), (26, 28), (27, 29), (28, 30), (29, 31), (30, 32), (27, 31), (28, 32),
)  # fmt: skip
POSE_MIRROR = (
    0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23, 26, 25, 28, 27, 30, 29,
    32, 31,
)  # fmt: skip
HAND_BONES = (
    (0, 1), (0, 5), (0, 17), (1, 2), (2, 3), (3, 4), (5, 6), (5, 9), (6, 7), (7, 8), (9, 10), (9, 13), (10, 11),
    (11, 12), (13, 14), (13, 17), (14, 15), (15, 16), (17, 18), (18, 19), (19, 20),
)  # fmt: skip
# Lips, eyes, eyebrows and the oval of the 468-point face mesh, as closed or open chains of points.
FACE_CHAINS = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291), (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308), (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    (263, 249, 390, 373, 374, 380, 381, 382, 362), (263, 466, 388, 387, 386, 385, 384, 398, 362),
    (33, 7, 163, 144, 145, 153, 154, 155, 133), (33, 246, 161, 160, 159, 158, 157, 173, 133),
    (276, 283, 282, 295, 285), (300, 293, 334, 296, 336), (46, 53, 52, 65, 55), (70, 63, 105, 66, 107),
    (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
     136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10),
)  # fmt: skip
FACE_BONES = tuple((a, b) for chain in FACE_CHAINS for a, b in pairwise(chain))
FACE_ROOT = 1  # tip of the nose: no contour passes it, but it ties the face to pose point 0
FACE_POINTS = tuple(sorted({FACE_ROOT, *(point for bone in FACE_BONES for point in bone)}))

NOSE, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_WRIST, RIGHT_WRIST = 0, 11, 12, 15, 16  # indices within `pose`


@dataclass(frozen=True)
class Skeleton:
    """A layout of V points.

    parts: (name, number of points) in storage order. bones: pairs of point indices, written from the body outwards.
    mirror: for each point the index of its left-right twin (itself on the mid-line), or empty when unknown.
    """

    name: str
    parts: tuple[tuple[str, int], ...]
    bones: tuple[tuple[int, int], ...]
    mirror: tuple[int, ...] = ()

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Part name -> slice of its points."""
        found, start = {}, 0
        for part, count in self.parts:
            found[part] = slice(start, start + count)
            start += count
        return found

    @property
    def points(self) -> int:
        """V, the number of points."""
        return sum(count for _, count in self.parts)

    def adjacency(self) -> np.ndarray:
        """(V, V) float32 D^-1/2 (A + I) D^-1/2, the symmetric normalisation of Kipf and Welling (2017)."""
        graph = np.eye(self.points, dtype=np.float32)
        for a, b in self.bones:
            graph[a, b] = graph[b, a] = 1.0
        scale = 1.0 / np.sqrt(graph.sum(0))
        return (graph * scale[:, None] * scale[None, :]).astype(np.float32)

    def parents(self) -> list[int]:
        """For each point the one it hangs on: the start of the first bone that ends in it, or itself without one.

        A bone that would close a ring is passed over, so that every chain of parents ends.
        """
        found = list(range(self.points))
        for a, b in self.bones:
            root = a
            while found[root] != root:
                root = found[root]
            if found[b] == b and root != b:
                found[b] = a
        return found


_BONES = {"pose": POSE_BONES, "face": FACE_BONES, "left_hand": HAND_BONES, "right_hand": HAND_BONES}
_COUNTS = {"pose": 33, "face": 468, "left_hand": 21, "right_hand": 21}
PARTS = tuple(_COUNTS)


def of_parts(name: str, kept: dict[str, tuple[int, ...]]) -> Skeleton:
    """A MediaPipe skeleton of the given points of each part, its parts joined at wrists and nose.

    kept: part -> indices of the kept points within the part, in order. The mirror is known unless there is a face.
    """
    start, place = 0, {}
    for part, points in kept.items():
        place.update({(part, point): start + i for i, point in enumerate(points)})
        start += len(points)
    joints = [
        (("left_hand", 0), ("pose", LEFT_WRIST)),
        (("right_hand", 0), ("pose", RIGHT_WRIST)),
        (("face", FACE_ROOT), ("pose", NOSE)),
    ]
    bones = [((part, a), (part, b)) for part in kept for a, b in _BONES[part]] + joints
    mirror = ()
    if "face" not in kept:
        mirror = tuple(place[_twin(part, point)] for part, point in place if _twin(part, point) in place)
    return Skeleton(
        name,
        tuple((part, len(points)) for part, points in kept.items()),
        tuple((place[a], place[b]) for a, b in bones if a in place and b in place),
        mirror if len(mirror) == len(place) else (),
    )


def _twin(part: str, point: int) -> tuple[str, int]:
    """The (part, point) that takes this one's place in a mirror image."""
    if part == "pose":
        return part, POSE_MIRROR[point]
    return {"left_hand": "right_hand", "right_hand": "left_hand"}.get(part, part), point


def _whole(name: str, *parts: str) -> Skeleton:
    return of_parts(name, {part: tuple(range(_COUNTS[part])) for part in parts})


LAYOUTS: dict[str, Skeleton] = {
    skeleton.name: skeleton
    for skeleton in (
        _whole("holistic_543", "pose", "face", "left_hand", "right_hand"),
        _whole("holistic_75", "pose", "left_hand", "right_hand"),
        _whole("hands_42", "left_hand", "right_hand"),
        _whole("pose_33", "pose"),
    )
}


def layout(name: str) -> Skeleton:
    """The skeleton named `name`. ConfigError with the nearest name when there is none."""
    if name not in LAYOUTS:
        raise ConfigError(f"layout: found {name!r}, expected one of {', '.join(LAYOUTS)}{nearest(name, LAYOUTS)}")
    return LAYOUTS[name]


def border_visibility(xy: np.ndarray) -> np.ndarray:
    """How far inside the image hand and face points are, which stands in for the score MediaPipe does not give them.

    xy: (..., 2) in image units (0 to 1). Returns (...) float32 in [0, 1]: 1 from a tenth of the image inside the
    border on, falling to 0 at the border and outside; NaN where xy is NaN.
    """
    inside = np.minimum(xy, 1.0 - xy).min(axis=-1)
    return np.clip(inside * 10.0, 0.0, 1.0).astype(np.float32)
