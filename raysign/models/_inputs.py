"""What every encoder lets be chosen."""

from pydantic import Field

from raysign.kinds import Section


class Inputs(Section):
    """What an encoder is given of a clip."""

    inputs: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="channels it is given, by name and in this order, such as x, y; None: all of the clip",
    )
