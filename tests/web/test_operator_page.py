"""The operator's page says of a lane only what means something there."""

from __future__ import annotations

import re

from rendering import html_of
from samples import SAMPLES

LET_IN = re.compile(r"Let in a second</small></dt><dd>([^<]*)</dd>")


def let_in(key: str) -> list[str]:
    """How many people each lane of a sample lets in a second, as it is shown."""
    return LET_IN.findall(html_of(next(sample for sample in SAMPLES if sample.key == key)))


def test_where_the_door_is_open_nobody_is_let_in_by_number() -> None:
    """There people walk in: the pace of the line would be the lane's floor, which looks like a broken door."""
    assert ["–"] == let_in("operator_calm")
    assert ["23,4", "–", "23,4"] == let_in("operator")
