"""What every encoder lets be chosen."""

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from raysign.errors import ConfigError, in_line, nearest
from raysign.kinds import Section

Names = Annotated[
    tuple[str, ...] | None,
    Field(
        min_length=1,
        description="channels it is given, by name and in this order, such as x, y, or all but some, such as "
        "-visibility; None: all of the clip",
    ),
]


def _is_odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("expected an odd number of frames, so that the middle one keeps its place")
    return value


OddFrames = Annotated[int, AfterValidator(_is_odd)]


class Inputs(Section):
    """What an encoder is given of a clip. One with another default says `inputs: Names = ("-visibility",)`."""

    inputs: Names = None

    @field_validator("inputs")
    @classmethod
    def _are_of_one_sort(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value and len({name.startswith("-") for name in value}) == 2:
            raise ValueError("name the channels that it is given, or with a - those that it is not, not both")
        return value


def chosen(inputs: tuple[str, ...] | None, channels: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the channels that an encoder is given of clips with these. ConfigError for one they lack."""
    for name in inputs or ():
        if name.removeprefix("-") not in channels:
            near = nearest(name.removeprefix("-"), channels)
            raise ConfigError(f"model.inputs: found {name!r}, expected some of {in_line(channels)}{near}")
    if inputs is None or not inputs[0].startswith("-"):
        return inputs or channels
    left = tuple(name for name in channels if f"-{name}" not in inputs)
    if not left:
        raise ConfigError(f"model.inputs: found {', '.join(inputs)}, which leaves none of the channels; leave one in")
    return left
