"""The door to Ray: what it keeps to itself."""

import os

import pytest

from raysign import engine


def test_lines_with_some_words_are_kept_back_and_the_others_come_also_when_something_fails(capfd):
    with pytest.raises(ValueError, match="wrong"), engine._without(b"log level"):
        os.write(2, b"[1] Set ray log level to 3\nout of memory\n")
        raise ValueError("wrong")
    os.write(2, b"after\n")
    assert capfd.readouterr().err.splitlines() == ["out of memory", "after"]
