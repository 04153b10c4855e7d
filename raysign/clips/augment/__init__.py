"""Random changes of training clips: torch, on the batch, on its device.

All randomness of a clip follows from (seed, epoch) and its row in the split, so a clip is changed in the same way
whatever batch it is in and however many workers there are. Unseen points (zero in every channel) stay so, geometry
leaves the visibility alone, and padding is neither read nor written. A step that is switched off costs nothing.
"""

from dataclasses import replace

import torch

from raysign import config
from raysign.clips.augment import time
from raysign.clips.augment.draws import Draws, column
from raysign.clips.augment.geometry import Geometry, mirrored
from raysign.clips.augment.occlusion import Occlusion
from raysign.clips.batch import Batch
from raysign.errors import ConfigError
from raysign.skeleton import Skeleton


class Augment:
    """`Augment(options, skeleton, channels, seed)`; then `start(epoch, clips)` and, for each batch, a call.

    channels: their names; those called x, y and z are places, the last one is the visibility. Clips without x and y
    are changed in time and in sight alone. ConfigError when a step is asked for that clips of this kind cannot have.
    """

    def __init__(self, options: config.Augment, skeleton: Skeleton, channels: tuple[str, ...], seed: int):
        lacking = _lacking(skeleton, channels)
        for name, reason in lacking.items():
            if getattr(options, name):
                raise ConfigError(f"augment.{name}: skeleton {skeleton.name!r} has {reason}; set augment.{name}=0")
        self.options, self.draw = options, Draws(seed)
        self.geometry = Geometry(options, skeleton, channels)
        self.occlusion = Occlusion(options, skeleton, channels)
        self.mirror = options.mirror if options.mirror is not None else 0.5 * ("mirror" not in lacking)
        self.twins, self.x = torch.tensor(skeleton.mirror, dtype=torch.int64), self.geometry.x

    def start(self, epoch: int, clips: int) -> None:
        """Draw the numbers of an epoch over a split of so many clips."""
        self.draw.start(epoch, clips)

    def __call__(self, batch: Batch) -> Batch:
        """The batch changed; a new one, of another length in time."""
        if not len(batch.rows):
            return batch
        draw = self.draw.at(batch.rows, batch.x.device)
        batch = time.changed(batch, self.options, draw)
        x = self.occlusion(self.geometry(batch.x, batch.frames, draw), batch.frames, draw)
        if self.mirror:
            flipped = mirrored(x, self.twins.to(x.device), self.x)
            x = torch.where(column(draw("mirror") < self.mirror)[..., None], flipped, x)
        return replace(batch, x=x)


def _lacking(skeleton: Skeleton, channels: tuple[str, ...]) -> dict[str, str]:
    """The steps that clips of a skeleton and these channels cannot have, and why."""
    found = {}
    if "z" not in channels:
        found["yaw"] = "clips without z"
    if not skeleton.fingers:
        found["fingers"] = "no hand whose fingers are known"
    if not skeleton.mirror:
        found["mirror"] = "no mirror image"
    if len(skeleton.parts) < 2:
        found["drop_part"] = "one part only"
    if skeleton.points < 2:
        found["drop_points"] = "one point only"
    if not {"x", "y"} <= set(channels):
        found |= dict.fromkeys(("fingers", "yaw", "shear", "drift", "mirror", "drop_area"), "clips without x and y")
    return found
