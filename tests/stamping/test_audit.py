"""The audit of stamps: each rule is broken by hand, and whole audit and look name it and no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from emeterai.core.ledger import Reason
from emeterai.infra.database import Database
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.ledger.check import Rule
from emeterai.stamping.audit import HAS_STAMP, check_all_stamps, check_stamps
from emeterai.stamping.model import Stamp
from spine import Spine, some_seal

STATE = "a stamp is held, sealed or given back as its hold is open, settled or released"
SERIAL = "a stamp has its serial: taken, affixed or void as it is held, sealed or given back"
JOB = "a held stamp has the job that ends it, and one that has ended has none"
SHAPE = "every serial carries its right check character"
BREAKS = [
    (
        STATE,
        """
        UPDATE stamping.stamps SET state = 'given_back', reason = 'expired', tail_key = NULL, tail_bytes = NULL,
            sealed_digest = NULL, sealed_size_bytes = NULL, sealed_at = NULL, level = NULL WHERE id = '{sealed}'
        """,
        {SERIAL},
    ),
    (STATE, "DELETE FROM ledger.transfers WHERE hold_id = '{given_back_hold}'", set()),
    (STATE, "UPDATE stamping.stamps SET ending_id = id WHERE id = '{sealed}'", set()),
    (STATE, "UPDATE stamping.stamps SET account_id = id WHERE id = '{held}'", set()),
    (SERIAL, "UPDATE ledger.serials SET state = 'void', ended_at = now() WHERE subject = '{held}'", set()),
    (SERIAL, "DELETE FROM ledger.serials WHERE subject = '{sealed}'", set()),
    (SERIAL, "UPDATE ledger.serials SET digest = sha256('x') WHERE subject = '{given_back}'", set()),
    (JOB, "DELETE FROM infra.jobs WHERE id = '{held}'", set()),
    (JOB, "INSERT INTO infra.jobs (id, kind) VALUES ('{given_back}', 'seal')", set()),
    (HAS_STAMP, "DELETE FROM stamping.stamps WHERE id = '{sealed}'", set()),
    (
        SHAPE,
        """
        UPDATE ledger.serials SET serial = CASE left(serial, 1) WHEN 'A' THEN 'B' ELSE 'A' END || substr(serial, 2)
            WHERE subject = '{held}';
        UPDATE stamping.stamps SET serial = (SELECT serial FROM ledger.serials WHERE subject = '{held}')
            WHERE id = '{held}'
        """,
        set(),
    ),
]


@pytest.fixture
def spine(db: Database, tmp_path: Path) -> Spine:
    """The spine on this test's own database."""
    return Spine(db, tmp_path / "blobs")


@pytest.fixture
async def stamps(spine: Spine) -> dict[str, Stamp]:
    """A held stamp, a sealed one and one that was given back."""
    sealed, given_back = await spine.held(), await spine.held()
    claims = [claim for claim in await spine.claim() if claim.id == sealed.id]
    assert 1 == await spine.endings.settle(claims, {sealed.id: sealed}, {sealed.id: some_seal(sealed)})
    assert 1 == await spine.endings.give_back({given_back.id: (Reason.EXPIRED, None)})
    return {"sealed": sealed, "given_back": given_back, "held": await spine.held()}


@pytest.fixture
async def intruder(postgres: EmbeddedPostgres, database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A superuser for whom no trigger fires."""
    connection = await asyncpg.connect(postgres.admin_url(urlsplit(database_url).path.removeprefix("/")))
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()


def broken(rules: list[Rule]) -> dict[str, int]:
    """How many places break each rule, of those that are broken."""
    return {rule.name: rule.broken for rule in rules if rule.broken}


async def look(spine: Spine, stamps: dict[str, Stamp]) -> dict[str, int]:
    """What a look at these stamps finds broken."""
    async with spine.db.transaction() as tx:
        return broken(await check_stamps(tx, [stamp.id for stamp in stamps.values()]))


async def test_true_stamps_hold(spine: Spine, stamps: dict[str, Stamp]) -> None:
    """Whole audit and look agree; a look at nothing finds nothing."""
    assert {} == broken(await check_all_stamps(spine.db))
    assert {} == await look(spine, stamps)
    assert {} == await look(spine, {})
    await spine.assert_sound(*stamps.values())


def test_every_rule_is_broken_below() -> None:
    """A rule that is added without a test of its failure is found here."""
    assert {STATE, SERIAL, JOB, HAS_STAMP, SHAPE} == {name for name, _, _ in BREAKS}


@pytest.mark.parametrize(("name", "statement", "too"), BREAKS)
async def test_the_broken_rule_is_named(
    spine: Spine, stamps: dict[str, Stamp], intruder: asyncpg.Connection, name: str, statement: str, too: set[str]
) -> None:
    """By a look at once; by the whole audit too, which leaves the shape of serials to the ledger's."""
    ids = {state: stamp.id for state, stamp in stamps.items()}
    await intruder.execute(statement.format(**ids, given_back_hold=stamps["given_back"].hold_id))
    assert {name, *too} == set(await look(spine, stamps))
    assert {name, *too} - {SHAPE} == set(broken(await check_all_stamps(spine.db)))


async def test_a_repaired_document_is_known_by_its_repaired_bytes(
    spine: Spine, stamps: dict[str, Stamp], intruder: asyncpg.Connection
) -> None:
    """The register holds the digest of what the seal lies on."""
    stamp = stamps["sealed"]
    await intruder.execute(
        "UPDATE stamping.documents SET repaired_key = 'k', repaired_bytes = 1, repaired_digest = sha256('y')"
        f" WHERE id = '{stamp.document_id}'"
    )
    assert {SERIAL: 1} == await look(spine, stamps)
    await intruder.execute(f"UPDATE ledger.serials SET digest = sha256('y') WHERE subject = '{stamp.id}'")
    assert {} == await look(spine, stamps)


async def test_many_places_are_counted_over_all_queries(
    spine: Spine, intruder: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven broken stamps in queries of three are seven, with five examples."""
    monkeypatch.setattr("emeterai.stamping.audit._STAMPS_A_QUERY", 3)
    held = {str(number): await spine.held() for number in range(7)}
    await intruder.execute("DELETE FROM infra.jobs")
    async with spine.db.transaction() as tx:
        rules = await check_stamps(tx, [stamp.id for stamp in held.values()])
    assert {JOB: 7} == broken(rules)
    assert [5] == [len(rule.examples) for rule in rules if rule.broken]
