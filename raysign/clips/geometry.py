"""Where points are and how far apart: steps that recipes are composed of.

x is (M, T, V, C) float32 with NaN for points not seen; its first channels are x, y (downwards) and, where there is
one, z; the last is the visibility, which no step here changes. Each step returns a new array.
"""

import numpy as np


def in_width(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """y in units of the image's width, as x and z are: times height / width. As it is when either is 0, unknown."""
    if not (width > 0 and height > 0):
        return values
    values = values.copy()
    values[..., 1] *= np.float32(height / width)
    return values


def middle(x: np.ndarray, points: list[int]) -> np.ndarray:
    """The middle of some points in each frame, (M, T, 3); NaN unless all of them are seen."""
    return x[:, :, points, :3].mean(axis=2)


def apart(x: np.ndarray, a: int, b: int) -> np.ndarray:
    """How far two points are from each other in each frame, depth included: (M, T); NaN unless both are seen."""
    return np.linalg.norm(x[:, :, a, :3] - x[:, :, b, :3], axis=-1)


def origin(at: np.ndarray, per: str) -> np.ndarray:
    """Where the origin is, given where the centre is seen, at (M, T, 3): (1, 1, 1, 3) per clip, (1, T, 1, 3) per frame.

    All persons share the origin of the first of them who shows the centre, which keeps how they stand to each other.
    clip: where it is in the first frame that shows it. frame: where it is in each frame; a frame that does not show it
    takes the last that did, or the first that will. At least one frame must show it.
    """
    shown = ~np.isnan(at[..., 0])
    line = at[shown.argmax(0), np.arange(at.shape[1])]
    known = np.flatnonzero(shown.any(0))
    if per == "clip":
        return line[known[0]][None, None, None]
    last = known[np.maximum(np.searchsorted(known, np.arange(len(line)), side="right") - 1, 0)]
    return line[last][None, :, None]


def shifted(x: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Coordinates less `by`, whose shape broadcasts to (M, T, V, 3)."""
    x = x.copy()
    for c in range(3):  # channel by channel: the inner loop runs over points instead of over three numbers
        x[..., c] -= by[..., c]
    return x


def scaled(x: np.ndarray, size: np.ndarray | float) -> np.ndarray:
    """Coordinates divided by `size`, one number or one for each frame (M or 1, T or 1); by 1 where it is 0 or NaN."""
    size = np.asarray(size, np.float32)
    share = 1 / np.where(size > 0, size, np.float32(1))[..., None]
    x = x.copy()
    for c in range(3):
        x[..., c] *= share
    return x


def distances(x: np.ndarray) -> np.ndarray:
    """How far each point is from the origin, (M, T, V)."""
    return np.sqrt(x[..., 0] ** 2 + x[..., 1] ** 2 + x[..., 2] ** 2)


def swapped_hands(roots: np.ndarray, wrists: np.ndarray) -> np.ndarray:
    """The frames in which each hand lies nearer to the other's wrist: indices into N.

    roots: (N, 2, 3) of the left and right hand, wrists (N, 2, 3) of the pose; NaN where not seen. Two hands are judged
    by the sum of both distances, one by its own. Distances are taken in the image, as the depth of a hand is counted
    from its own wrist and cannot be compared with that of the pose. Unseen or equal: not swapped.
    """
    way = roots[:, :, None, :2] - wrists[:, None, :, :2]  # (N, hand, wrist, 2)
    distance = np.sqrt(np.einsum("nhwc,nhwc->nhw", way, way))
    distance[np.isnan(distance)] = 0
    told = ~np.isnan(wrists[..., 0]).any(axis=1)  # which of two is nearer, only when both are seen
    return np.flatnonzero(told & (distance[:, 0, 1] + distance[:, 1, 0] < distance[:, 0, 0] + distance[:, 1, 1]))


def with_own_hands(x: np.ndarray, left: slice, right: slice, wrists: list[int]) -> np.ndarray:
    """x with the two hands exchanged in the frames in which `swapped_hands` says so. wrists: of the pose."""
    flat = x.reshape(-1, *x.shape[2:])
    wrong = swapped_hands(flat[:, [left.start, right.start], :3], flat[:, wrists, :3])
    if not len(wrong):
        return x
    out = flat.copy()
    out[wrong, left], out[wrong, right] = flat[wrong, right], flat[wrong, left]
    return out.reshape(x.shape)


def upright(x: np.ndarray, nose: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Seen from the nose, in shoulder widths, the line of the shoulders level: a similarity of its own each frame.

    x (M, T, V, 3); nose, left and right shoulder (M, T, 3). The rotation is about z, by the angle of the line from the
    right to the left shoulder in the image. NaN in frames that do not show all three.
    """
    line = left - right
    angle = np.arctan2(line[..., 1], line[..., 0])
    cosine, sine = np.cos(angle)[..., None], np.sin(angle)[..., None]
    x = scaled(shifted(x, nose[:, :, None]), np.linalg.norm(line, axis=-1))
    flat = x[..., 0] * cosine + x[..., 1] * sine, x[..., 1] * cosine - x[..., 0] * sine
    known = ~np.isnan(angle)[..., None]
    return np.stack([*flat, np.where(known, x[..., 2], np.nan)], axis=-1)


def rotation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(3, 3): the shortest rotation that turns the direction of a into that of b; none when one of them is 0."""
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    if not lengths > 0:
        return np.eye(3)
    axis, cosine = np.cross(a, b) / lengths, np.dot(a, b) / lengths
    if cosine < -1 + 1e-9:  # opposite: half a turn about any line across
        across = np.cross(a, np.eye(3)[np.argmin(np.abs(a))])
        across /= np.linalg.norm(across)
        return 2 * np.outer(across, across) - np.eye(3)
    x, y, z = axis
    turn = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + turn + turn @ turn / (1 + cosine)  # Rodrigues


def turned(x: np.ndarray, spine: tuple[int, int], shoulders: tuple[int, int], frame: int) -> np.ndarray:
    """Turned as the first person stands in one frame: the spine to +z, then the line of the shoulders to +x.

    spine: points below and above; shoulders: the line runs from the second to the first. All are seen in that frame.
    The second turn may take the spine a little out of z again, as in PreNormalize3D of 2s-AGCN and pyskl.
    """
    at = x[0, frame, :, :3].astype(np.float64)
    stand = rotation(at[spine[1]] - at[spine[0]], np.array([0.0, 0.0, 1.0]))
    at = at @ stand.T
    turn = rotation(at[shoulders[0]] - at[shoulders[1]], np.array([1.0, 0.0, 0.0])) @ stand
    x = x.copy()
    x[..., :3] = x[..., :3] @ turn.T.astype(np.float32)
    return x


def in_image(x: np.ndarray, threshold: float) -> np.ndarray:
    """x and y from -1 to 1 across the image, instead of 0 to 1; points of a visibility up to `threshold` not seen.

    PreNormalize2D of pyskl, which works in pixels.
    """
    x = x.copy()
    x[..., :2] = 2 * x[..., :2] - 1
    x[x[..., -1] <= threshold] = np.nan
    return x


def body_box(x: np.ndarray, left: np.ndarray, right: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """x and y in SPOTER's box about the upper body (Bohacek and Hruz, WACV-W 2022), from -0.5 to 0.5.

    left, right: the shoulders, eye: the left eye, each (M, T, 3). The unit is the shoulders' distance in the image. The
    box is 6 units wide about the middle of the shoulders and 6 high, from half a unit above the eye. A frame that does
    not show all three takes the box of the last that did. NaN as long as none has.
    """
    unit = np.linalg.norm(left[..., :2] - right[..., :2], axis=-1, keepdims=True)  # (M, T, 1)
    centre = np.concatenate([(left + right)[..., :1] / 2, eye[..., 1:2] + 2.5 * unit], axis=-1)
    box = np.concatenate([centre, np.where(unit > 0, 6 * unit, np.nan)], axis=-1)  # (M, T, 3): where and how large
    shown = ~np.isnan(box).any(-1)
    box[~shown] = np.nan  # whole: a box that misses the eye alone has an x
    last = np.maximum.accumulate(np.where(shown, np.arange(box.shape[1]), 0), axis=1)
    box = np.take_along_axis(box, last[..., None], axis=1)[:, :, None]
    x = x.copy()
    for c in range(2):
        x[..., c] = (x[..., c] - box[..., c]) / box[..., 2]
    return x


MARGIN = 0.1  # of SPOTER's boxes about the hands: added on each side, share of the longer side


def square_box(x: np.ndarray) -> np.ndarray:
    """x and y within the tight box of the seen points of each frame, with a MARGIN and made square, from -0.5 to 0.5.

    A box without size leaves zeros.
    """
    low, high = (
        np.stack([reach(x[..., c], axis=2) for c in range(2)], -1) for reach in (np.fmin.reduce, np.fmax.reduce)
    )
    side = (high - low).max(axis=-1)[..., None] * np.float32(1 + 2 * MARGIN)  # NaN in frames that show nothing
    x = x.copy()
    for c in range(2):
        x[..., c] = (x[..., c] - (low + high)[..., None, c] / 2) / np.where(side > 0, side, 1)
    return x
