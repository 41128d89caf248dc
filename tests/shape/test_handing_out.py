"""What is handed out first is there."""

from __future__ import annotations

from handing_out import FIRST, TESTS


def test_every_file_that_is_handed_out_first_is_there_and_named_once() -> None:
    """A name that a file no longer has would send it to the end, where one worker waits for another."""
    assert [] == [name for name in FIRST if not (TESTS / name).exists()]
    assert len(FIRST) == len(set(FIRST))
