"""Array text: what goes in as Python values comes out of PostgreSQL as the same values."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emeterai.infra.arrays import Cell, array_text
from emeterai.infra.database import Database

PLAIN = st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cc", "Cs"]))
COLUMNS = st.one_of(
    st.tuples(st.just("uuid"), st.lists(st.none() | st.uuids())),
    st.tuples(st.just("bigint"), st.lists(st.none() | st.integers(-(2**63), 2**63 - 1))),
    st.tuples(st.just("float8"), st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False))),
    st.tuples(st.just("text"), st.lists(st.none() | PLAIN)),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(COLUMNS)
async def test_a_column_arrives_as_it_was(db: Database, column: tuple[str, list[Cell]]) -> None:
    """Ids, numbers and text with commas, braces, spaces and the word null; None is NULL."""
    kind, cells = column
    assert cells == await db.fetchval(f"SELECT $1::text::{kind}[]", array_text(cells))


@pytest.mark.parametrize("text", ['a "quoted" word', "a\\b", "two\nlines"])
def test_text_that_needs_an_escape_is_refused(text: str) -> None:
    """JSON and PostgreSQL escape differently."""
    with pytest.raises(ValueError, match="escape"):
        array_text([text])
