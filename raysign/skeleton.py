"""Which point is where: named parts, bones and mirror images of every landmark layout raysign knows.

Each skeleton is written down once, from the tables of `raysign.bones`; graphs (`raysign.graph`), parents and
sub-skeletons are derived from it.
"""

import json
from collections import deque
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import AfterValidator

from raysign.bones import (
    FACE_BONES,
    FACE_ROOT,
    FINGERS,
    FSL_FACE,
    FSL_TWINS,
    HAND_BONES,
    HANDS,
    LEFT_WRIST,
    MINIMAL,
    NOSE,
    NTU,
    NTU_NAMES,
    NTU_TWINS,
    OPENPOSE_ARMS,
    OPENPOSE_CHAINS,
    POSE_BONES,
    POSE_MIRROR,
    RIGHT_WRIST,
)
from raysign.errors import ConfigError, nearest


@dataclass(frozen=True)
class Skeleton:
    """A layout of V points.

    parts: (name, number of points) in storage order. bones: pairs of point indices, undirected. mirror: for each point
    the index of its left-right twin (itself on the mid-line), or empty when unknown. centre: the point that the others
    hang on. names: (name, index) of the points that have a name.
    """

    name: str
    parts: tuple[tuple[str, int], ...]
    bones: tuple[tuple[int, int], ...]
    mirror: tuple[int, ...] = ()
    centre: int = 0
    names: tuple[tuple[str, int], ...] = ()

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

    @property
    def fingers(self) -> list[tuple[int, ...]]:
        """The points of each finger, from its root on; empty when no part is a hand raysign knows."""
        hands = [self.slices[part] for part in HANDS if part in self.slices]
        chains = [(hand.start, chain) for hand in hands for chain in FINGERS.get(hand.stop - hand.start, ())]
        return [tuple(start + point for point in chain) for start, chain in chains]

    @property
    def sides(self) -> list[str]:
        """Of each point "left" or "right", as the signer has it, or "" on the mid-line and where it is not known.

        Of twins in a body the left one has the lower number in every layout raysign knows but OpenPose's, whose feet
        alone (from 19 on) have it so.
        """
        found = [""] * self.points
        openpose = self.name.startswith("openpose")
        for part, points in self.slices.items():
            for i, point in enumerate(range(points.start, points.stop)):
                if part in ("left_hand", "right_hand"):
                    found[point] = part.removesuffix("_hand")
                elif part in ("pose", "body") and (self.mirror or part == "pose"):
                    twin = self.mirror[point] if self.mirror else points.start + POSE_MIRROR[i]
                    right = (point < twin) == (openpose and i < 19)
                    found[point] = "" if twin == point else "right" if right else "left"
        return found

    def parents(self) -> list[int]:
        """For each point the next one on the shortest way to the centre; itself for the centre.

        A piece that no bone ties to the centre hangs on its first point.
        """
        neighbours = [[] for _ in range(self.points)]
        for a, b in self.bones:
            neighbours[a].append(b)
            neighbours[b].append(a)
        found = [-1] * self.points
        for root in (self.centre, *range(self.points)):
            if found[root] >= 0:
                continue
            found[root], reached = root, deque([root])
            while reached:
                point = reached.popleft()
                for other in neighbours[point]:
                    if found[other] < 0:
                        found[other] = point
                        reached.append(other)
        return found


_NAMES = {  # (part, point) -> name; a hand's own wrist stands for the pose's where there is no pose
    ("left_hand", 0): "left_wrist", ("right_hand", 0): "right_wrist",
    ("pose", 0): "nose", ("pose", 2): "left_eye", ("pose", 5): "right_eye",
    ("pose", 11): "left_shoulder", ("pose", 12): "right_shoulder", ("pose", 13): "left_elbow",
    ("pose", 14): "right_elbow", ("pose", 15): "left_wrist", ("pose", 16): "right_wrist",
}  # fmt: skip
_BONES = {"pose": POSE_BONES, "face": FACE_BONES, "left_hand": HAND_BONES, "right_hand": HAND_BONES}
COUNTS = {"pose": 33, "face": 468, "left_hand": 21, "right_hand": 21}


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
        names=tuple({name: place[point] for point, name in _NAMES.items() if point in place}.items()),
    )


def _twin(part: str, point: int) -> tuple[str, int]:
    """The (part, point) that takes this one's place in a mirror image."""
    if part == "pose":
        return part, POSE_MIRROR[point]
    return {"left_hand": "right_hand", "right_hand": "left_hand"}.get(part, part), point


def _whole(name: str, *parts: str) -> Skeleton:
    return of_parts(name, {part: tuple(range(COUNTS[part])) for part in parts})


def _body(name: str, count: int, bones: str, twins: str, centre: int, named: str, start: int = 0) -> Skeleton:
    """One part `body`; bones and twins as `a-b` words, names as `name-a`, the points counted from `start`."""

    def pairs(words: str) -> list[tuple[int, int]]:
        return [(int(a) - start, int(b) - start) for a, b in (word.split("-") for word in words.split())]

    names = tuple((word, int(point) - start) for word, point in (pair.split("-") for pair in named.split()))

    mirror = list(range(count))
    for a, b in pairs(twins):
        mirror[a], mirror[b] = b, a
    return Skeleton(name, (("body", count),), tuple(pairs(bones)), tuple(mirror), centre, names)


def _fsl() -> Skeleton:
    """Pose, hands and eleven points of the face, which hang on the tip of the nose and with it on the pose's nose."""
    body = of_parts("", {"pose": tuple(range(25)), "left_hand": tuple(range(21)), "right_hand": tuple(range(21))})
    face = body.points
    bones = (*body.bones, (NOSE, face), *((face, face + i) for i in range(1, len(FSL_FACE))))
    mirror = (*body.mirror, *(face + twin for twin in FSL_TWINS))
    return replace(body, name="fsl_78", parts=(*body.parts, ("face", len(FSL_FACE))), bones=bones, mirror=mirror)


_HAND = Skeleton("hand_21", (("hand", 21),), HAND_BONES, tuple(range(21)), names=(("wrist", 0),))
_OPENPOSE_18 = _body(
    "openpose_18", 18, "4-3 3-2 7-6 6-5 13-12 12-11 10-9 9-8 11-5 8-2 5-1 2-1 0-1 15-0 14-0 17-15 16-14",
    "2-5 3-6 4-7 8-11 9-12 10-13 14-15 16-17", 1,
    "nose-0 neck-1 left_eye-15 right_eye-14 " + OPENPOSE_ARMS,
)  # fmt: skip
_OPENPOSE_25 = _body(
    "openpose_25", 25,
    "1-8 1-2 2-3 3-4 1-5 5-6 6-7 8-9 9-10 10-11 8-12 12-13 13-14 1-0 0-15 15-17 0-16 16-18 14-19 19-20 14-21 11-22 "
    "22-23 11-24",
    "2-5 3-6 4-7 9-12 10-13 11-14 15-16 17-18 19-22 20-23 21-24", 1,
    "nose-0 neck-1 left_eye-16 right_eye-15 " + OPENPOSE_ARMS,
)  # fmt: skip
_OPENPOSE_FACE = _body(
    "", 70, " ".join(f"{a}-{b}" for chain in OPENPOSE_CHAINS for a, b in pairwise(chain)),
    "0-16 1-15 2-14 3-13 4-12 5-11 6-10 7-9 17-26 18-25 19-24 20-23 21-22 31-35 32-34 36-45 37-44 38-43 39-42 40-47 "
    "41-46 48-54 49-53 50-52 55-59 56-58 60-64 61-63 65-67 68-69", 30, "",
)  # fmt: skip


def _openpose(name: str, body: Skeleton, *, face: bool = False) -> Skeleton:
    """OpenPose's body, the 70 points of its face if wanted, and its hands, tied at nose and wrists.

    The hands have MediaPipe's points in MediaPipe's order, and so its bones.
    """
    parts, bones, mirror = [*body.parts], [*body.bones], [*body.mirror]
    pieces = [("left_hand", _HAND, 7), ("right_hand", _HAND, 4)]  # wrists have the same numbers in both bodies
    for part, piece, tie in [("face", _OPENPOSE_FACE, 0), *pieces] if face else pieces:
        start = sum(count for _, count in parts)
        twin = start + {"left_hand": piece.points, "right_hand": -piece.points}.get(part, 0)
        parts.append((part, piece.points))
        bones += [(tie, start + piece.centre), *((start + a, start + b) for a, b in piece.bones)]
        mirror += [twin + point for point in piece.mirror]
    return replace(body, name=name, parts=tuple(parts), bones=tuple(bones), mirror=tuple(mirror))


_UPPER = {"pose": tuple(range(17)), "left_hand": tuple(range(21)), "right_hand": tuple(range(21))}
LAYOUTS: dict[str, Skeleton] = {
    skeleton.name: skeleton
    for skeleton in (
        _whole("holistic_543", "pose", "face", "left_hand", "right_hand"),
        _whole("holistic_75", "pose", "left_hand", "right_hand"),
        _whole("hands_42", "left_hand", "right_hand"),
        _whole("pose_33", "pose"),
        of_parts("top_body_59", _UPPER),
        _fsl(),
        _HAND,
        replace(
            _body(
                "minimal_27", 27, MINIMAL, "1-2 3-4 5-6 " + " ".join(f"{i}-{i + 10}" for i in range(7, 17)), 0,
                "nose-0 left_eye-1 right_eye-2 left_shoulder-3 right_shoulder-4 left_elbow-5 right_elbow-6 "
                "left_wrist-7 right_wrist-17",
            ),
            parts=(("pose", 7), ("left_hand", 10), ("right_hand", 10)),
        ),
        _OPENPOSE_18,
        _openpose("openpose_60", _OPENPOSE_18),
        _openpose("openpose_130", _OPENPOSE_18, face=True),
        _OPENPOSE_25,
        _openpose("openpose_67", _OPENPOSE_25),
        _openpose("openpose_137", _OPENPOSE_25, face=True),
        _body(
            "coco_17", 17, "15-13 13-11 16-14 14-12 11-5 12-6 9-7 7-5 10-8 8-6 5-0 6-0 1-0 3-1 2-0 4-2",
            "1-2 3-4 5-6 7-8 9-10 11-12 13-14 15-16", 0,
            "nose-0 left_eye-1 right_eye-2 left_shoulder-5 right_shoulder-6 left_elbow-7 right_elbow-8 "
            "left_wrist-9 right_wrist-10",
        ),
        _body("ntu_25", 25, NTU + "22-23 23-8 24-25 25-12", NTU_TWINS + "22-24 23-25", 20, NTU_NAMES, start=1),
        # pyskl ties the tip of each hand to the wrist instead of to the thumb
        _body("ntu_25_pyskl", 25, NTU + "22-8 23-8 24-12 25-12", NTU_TWINS + "22-24 23-25", 20, NTU_NAMES, start=1),
        # without the spine between the shoulders, so that the hands are 21 to 24; centred on the neck (3)
        _body(
            "ntu_edge_24", 24,
            "1-2 3-2 4-3 5-2 6-5 7-6 8-7 9-2 10-9 11-10 12-11 13-1 14-13 15-14 16-15 17-1 18-17 19-18 20-19 "
            "21-22 22-8 23-24 24-12",
            NTU_TWINS + "21-23 22-24", 2, NTU_NAMES, start=1,
        ),
    )
}  # fmt: skip


NO_POINTS = Skeleton("no_points", (), ())  # the layout of clips that hold features alone


def layout(name: str) -> Skeleton:
    """The skeleton that a table's `layout` column means: one of LAYOUTS by its name, one written out, or NO_POINTS.

    ConfigError with the nearest name when there is none.
    """
    if name in LAYOUTS:
        return LAYOUTS[name]
    if name == NO_POINTS.name:
        return NO_POINTS
    if name.startswith("{"):
        return _written(name)
    raise ConfigError(f"layout: found {name!r}, expected one of {', '.join(LAYOUTS)}{nearest(name, LAYOUTS)}")


def _is_known(name: str) -> str:
    try:
        layout(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return name


LayoutName = Annotated[str, AfterValidator(_is_known)]  # a setting that `layout` can read


@lru_cache(maxsize=256)
def _written(text: str) -> Skeleton:
    try:
        return of_dict(json.loads(text))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ConfigError(f"layout: found {text[:80]!r}, expected a skeleton as JSON ({error})") from None


def of_dict(tree: dict) -> Skeleton:
    """The inverse of `dataclasses.asdict`, from lists as JSON gives them. ValueError when the points do not fit."""
    made = Skeleton(
        str(tree["name"]),
        tuple((str(part), int(count)) for part, count in tree["parts"]),
        tuple((int(a), int(b)) for a, b in tree["bones"]),
        tuple(int(point) for point in tree["mirror"]),
        int(tree["centre"]),
        tuple((str(name), int(point)) for name, point in tree.get("names", ())),
    )
    if any(count < 0 for _, count in made.parts):
        raise ValueError("a part has fewer than no points")
    known = range(made.points)
    told = (made.centre, *(point for bone in made.bones for point in bone), *(point for _, point in made.names))
    if any(point not in known for point in told):
        raise ValueError(f"a bone, a name or the centre is none of {made.points} points")
    if made.mirror and sorted(made.mirror) != list(known):
        raise ValueError("the mirror must name each point once")
    return made


def text_of(skeleton: Skeleton) -> str:
    """What a table's `layout` column says of a skeleton: its name when raysign knows it, else all of it as JSON."""
    return skeleton.name if LAYOUTS.get(skeleton.name) == skeleton else json.dumps(asdict(skeleton))


def border_visibility(xy: np.ndarray) -> np.ndarray:
    """How far inside the image hand and face points are, which stands in for the score MediaPipe does not give them.

    xy: (..., 2) in image units (0 to 1). Returns (...) float32 in [0, 1]: 1 from a tenth of the image inside the
    border on, falling to 0 at the border and outside; NaN where xy is NaN.
    """
    x, y = xy[..., 0], xy[..., 1]  # two long steps instead of many of two numbers
    inside = np.minimum(np.minimum(x, 1.0 - x), np.minimum(y, 1.0 - y))
    return (np.clip(inside, 0.0, 0.1) * 10.0).astype(np.float32)  # clipped first: places may be as far as numbers go
