"""Changes in space: where points are. They move coordinates (B, M, T, V, C-1), of which x and y are the image plane;
the visibility stays, and a point that is not seen (zero in every channel) does not appear."""

import torch

from raysign import config
from raysign.clips.augment.draws import Draws, below, column
from raysign.clips.augment.occlusion import seen
from raysign.skeleton import Skeleton

STEPS = ("fingers", "yaw", "noise", "scale", "rotate", "shift", "shear", "drift")
DRIFT = (torch.arange(-10.0, 11, 5), torch.arange(0.9, 1.15, 0.1), *[torch.arange(-0.2, 0.25, 0.1)] * 2)


class Geometry:
    """`Geometry(options, skeleton, channels)`, then a call for each batch; without x and y nothing changes."""

    def __init__(self, options: config.Augment, skeleton: Skeleton, channels: tuple[str, ...]):
        self.options = options
        self.on = {"x", "y"} <= set(channels) and any(getattr(options, name) for name in STEPS)
        self.x, self.y, self.z = (channels.index(name) if name in channels else -1 for name in "xyz")
        # of each point: the finger it is on, counted from 1, and the root of that finger; 0 and itself for the others
        self.finger = torch.zeros(skeleton.points, dtype=torch.int64)
        self.root = torch.arange(skeleton.points)
        for number, finger in enumerate(skeleton.fingers, 1):
            self.finger[list(finger)], self.root[list(finger)] = number, finger[0]

    def __call__(self, clips: torch.Tensor, frames: torch.Tensor, draw: Draws) -> torch.Tensor:
        """Clips (B, M, T, V, C) of so many frames (B,) with every change in space that is switched on."""
        if not self.on:
            return clips
        options, x, y, xyz = self.options, self.x, self.y, clips[..., :-1]
        shown = seen(clips)
        if options.fingers:
            xyz = self._fingers_turned(xyz, shown, draw)
        if options.yaw:
            xyz = turned(xyz, x, self.z, column(torch.deg2rad(draw.either_way("yaw", options.yaw))))
        if options.noise:
            xyz = xyz + options.noise * draw.noise(xyz.shape[1], xyz[0, 0].numel()).view(xyz.shape)
        if options.scale:
            wide, high = (column(1 + draw.either_way(name, options.scale)) for name in ("scale_x", "scale_y"))
            xyz = xyz * wide[..., None]  # depth is in units of x
            xyz = with_axes(xyz, {y: xyz[..., y] * high / wide})
        if options.rotate:
            xyz = turned(xyz, x, y, column(torch.deg2rad(draw.either_way("rotate", options.rotate))))
        if options.shift:
            across, down = (column(draw.either_way(name, options.shift)) for name in ("shift_x", "shift_y"))
            xyz = with_axes(xyz, {x: xyz[..., x] + across, y: xyz[..., y] + down})
        if options.shear:
            across, down = (column(draw.either_way(name, options.shear)) for name in ("shear_x", "shear_y"))
            xyz = with_axes(xyz, {x: xyz[..., x] + across * xyz[..., y], y: xyz[..., y] + down * xyz[..., x]})
        if options.drift:
            xyz = self._drifted(xyz, frames, draw)
        return torch.cat([xyz * shown, clips[..., -1:]], dim=-1)

    def _fingers_turned(self, xyz: torch.Tensor, shown: torch.Tensor, draw: Draws) -> torch.Tensor:
        """Each finger turned in the image plane about its root, where that is seen, the same throughout the clip."""
        finger, root = self.finger.to(xyz.device), self.root.to(xyz.device)
        numbers = 2 * draw.many("fingers", int(self.finger.max()) + 1) - 1
        angle = (self.options.fingers * numbers * (torch.arange(numbers.shape[1], device=xyz.device) > 0))[:, finger]
        start = xyz[..., root, :]
        angle = torch.deg2rad(angle)[:, None, None] * shown[..., root, 0]
        return start + turned(xyz - start, self.x, self.y, angle)

    def _drifted(self, xyz: torch.Tensor, frames: torch.Tensor, draw: Draws) -> torch.Tensor:
        """Clips that turn, grow and move from one random pose of the camera to another, linearly in time.

        ST-GCN (Yan et al. 2018), random moving, with the choices of its Kinetics training.
        """
        steps = torch.arange(xyz.shape[2], device=xyz.device)
        share = (steps / (frames[:, None] - 1).clamp(min=1))[:, None, :, None]  # of the way from pose to pose
        numbers = draw.many("drift", 9)
        path = []
        for i, choices in enumerate(DRIFT):
            start, end = (choices.to(xyz.device)[below(numbers[:, place], len(choices))] for place in (i, i + 4))
            path.append(column(start) + share * column(end - start))
        angle, size, across, down = path
        moved = turned(xyz, self.x, self.y, torch.deg2rad(angle))
        plane = {self.x: moved[..., self.x] * size + across, self.y: moved[..., self.y] * size + down}
        chosen = (numbers[:, 8] < self.options.drift)[:, None, None, None, None]
        return torch.where(chosen, with_axes(moved, plane), xyz)


def turned(xyz: torch.Tensor, a: int, b: int, angle: torch.Tensor) -> torch.Tensor:
    """Coordinates turned about the origin from axis a towards axis b by an angle in radians, (B, M, T, V) or wider."""
    cosine, sine = angle.cos(), angle.sin()
    p, q = xyz[..., a], xyz[..., b]
    return with_axes(xyz, {a: cosine * p - sine * q, b: sine * p + cosine * q})


def with_axes(xyz: torch.Tensor, values: dict[int, torch.Tensor]) -> torch.Tensor:
    """A copy of the coordinates with other values of some axes."""
    xyz = xyz.clone()
    for axis, value in values.items():
        xyz[..., axis] = value
    return xyz


def mirrored(x: torch.Tensor, twins: torch.Tensor, axis: int) -> torch.Tensor:
    """The left-right mirror image of clips (..., V, C): twins change places, channel `axis` changes its sign."""
    x = x[..., twins, :].clone()
    x[..., axis] = -x[..., axis]
    return x
