"""How messages name what they are about."""

import pytest

from raysign.errors import some


@pytest.mark.parametrize("count", range(6))
def test_of_many_names_the_first_few_are_told_and_how_many_more_there_are(count):
    names = list("abcdef")[:count]
    told, _, more = some(iter(names)).partition(" and ")
    assert told == ", ".join(names[:3])
    assert more == (f"{count - 3} more" if count > 3 else "")
    assert some(names, count) == ", ".join(names)
