"""The steward's minute: a look, a signed line, and no line when it could not look."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import msgspec
import pytest

from emeterai.audits import AUDITS
from emeterai.infra.database import Database
from emeterai.ledger import watch as watching
from emeterai.ledger.check import Rule
from emeterai.purchase.money_audit import OF_NEW_MONEY
from emeterai.stamping.audit import check_all_stamps
from emeterai.status import service as module
from emeterai.status.lines import Line, SignedLine, verify_lines
from emeterai.status.service import Invariants, PublicLines
from spine import Spine

SECRET = b"s" * 32
DOCS = Path(__file__).parents[2] / "docs"
OWED_TO_NOBODY = """
    INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, subject)
    SELECT gen_random_uuid(), 'money', 'paid_other', 5, '00000000-0000-0000-0000-00000000000b',
        '00000000-0000-0000-0000-00000000000c', gen_random_uuid()
"""


@pytest.fixture
def spine(db: Database, tmp_path: Path) -> Spine:
    """The spine on this test's own database."""
    return Spine(db, tmp_path / "blobs")


def steward(db: Database, *, every_s: float = 0, audit_every_s: float = 3_600, secret: bytes = SECRET) -> Invariants:
    """What a steward has."""
    return Invariants(db, secret=secret, every_s=every_s, audit_every_s=audit_every_s)


async def published(db: Database) -> list[SignedLine]:
    """Every line."""
    return (await PublicLines(db).newest(limit=1_000))[0]


def read(line: SignedLine) -> Line:
    """What a line says."""
    return msgspec.json.decode(line.line, type=Line)


async def test_each_minute_has_a_line_with_the_sums_of_the_moment(spine: Spine) -> None:
    """The chain is proven, and the numbers are those of the books."""
    invariants = steward(spine.db)
    await invariants.audit_if_due()
    await invariants.minute()
    held = await spine.held(quota=3)
    await invariants.minute()
    await spine.let_holds_run_out()
    await spine.endings.sweep()
    await invariants.minute()
    lines = await published(spine.db)
    assert [] == verify_lines(lines).faults
    seen = [(line.bought, line.available, line.held, line.used, line.broken) for line in map(read, lines)]
    assert [(0, 0, 0, 0, 0), (3, 2, 1, 0, 0), (3, 3, 0, 0, 0)] == seen
    await spine.assert_sound(held)


async def test_before_the_first_audit_there_is_no_line(spine: Spine) -> None:
    """Nothing has been verified, so nothing is told."""
    await steward(spine.db).minute()
    assert [] == await published(spine.db)


async def test_a_look_that_cannot_end_leaves_a_gap(spine: Spine, monkeypatch: pytest.MonkeyPatch) -> None:
    """No number is ever made up: the line of that minute is missing, and the next one goes on."""
    invariants = steward(spine.db)
    await invariants.audit_if_due()
    await invariants.minute()

    async def cut_off(*_: object) -> None:
        raise asyncpg.ConnectionDoesNotExistError("cut")

    with monkeypatch.context() as patch:
        patch.setattr(module, "check_stamps", cut_off)
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await invariants.minute()
    assert 1 == len(await published(spine.db))
    await invariants.minute()
    assert [1, 2] == [read(line).number for line in await published(spine.db)]


async def test_an_audit_that_is_merely_due_waits_while_people_are_in_line(spine: Spine) -> None:
    """Up to as long again; the first one, and one that a look has asked for, waits for nobody."""

    async def crowded() -> bool:
        return True

    invariants = Invariants(spine.db, secret=SECRET, every_s=0, audit_every_s=1_000, is_crowded=crowded)

    async def audited_again_after(seconds: float) -> bool:
        past = "UPDATE ledger.watch SET audited_at = now() - make_interval(secs => $1) RETURNING audited_at"
        before = await spine.db.fetchval(past, seconds)
        await invariants.audit_if_due()
        return bool(before != await spine.db.fetchval("SELECT audited_at FROM ledger.watch"))

    await invariants.audit_if_due()
    assert 1 == await spine.db.fetchval("SELECT count(*) FROM ledger.watch")
    assert not await audited_again_after(1_500)
    assert await audited_again_after(2_500)
    await spine.db.fetchval("UPDATE ledger.watch SET audit_wanted = true RETURNING 1")
    assert await audited_again_after(10)


async def test_a_broken_stamp_is_told_and_audited_at_once(spine: Spine) -> None:
    """The look names the rule, the audit takes over, and the lines repeat it until it is mended."""
    invariants = steward(spine.db)
    await invariants.audit_if_due()
    stamp = await spine.held()
    await spine._write("UPDATE ledger.serials SET state = 'void', ended_at = now()")
    await invariants.minute()
    await invariants.audit_if_due()
    await invariants.minute()
    assert [True, True] == [read(line).broken > 0 for line in await published(spine.db)]
    assert not await invariants._watch.wants_audit(3_600)
    found = await spine.db.fetchval("SELECT broken FROM ledger.watch")
    assert "a stamp has its serial: taken, affixed or void as it is held, sealed or given back" in found
    assert stamp


async def test_what_breaks_behind_the_audit_is_told_and_audited_again(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit had passed the place already when a look found it broken: no line forgets it."""
    invariants = steward(spine.db)
    await invariants.audit_if_due()
    await spine.held()

    async def broken_behind(db: Database) -> list[Rule]:
        rules = await check_all_stamps(db)
        await spine._write("UPDATE ledger.serials SET state = 'void', ended_at = now()")
        await invariants.minute()
        return rules

    with monkeypatch.context() as patch:
        patch.setattr(module, "check_all_stamps", broken_behind)
        await spine._write("UPDATE ledger.watch SET audit_wanted = true")
        await invariants.audit_if_due()
    assert await invariants._watch.wants_audit(3_600)
    await invariants.audit_if_due()
    await invariants.minute()
    assert [True, True] == [read(line).broken > 0 for line in await published(spine.db)]


async def test_stewards_at_once_publish_one_chain(spine: Spine) -> None:
    """Each minute has one line, whoever made it, and keys of several stewards stand beside each other."""
    one, other = steward(spine.db), steward(spine.db, secret=b"o" * 32)
    await asyncio.gather(one.audit_if_due(), other.audit_if_due())
    for _ in range(5):
        await asyncio.gather(*(it.minute() for it in (one, other)))
    await one.minute()
    await other.minute()
    proof = verify_lines(await published(spine.db))
    assert ([], 1) == (proof.faults, proof.first)
    assert 2 == len(proof.keys)


async def test_a_steward_asks_often_and_looks_seldom(spine: Spine) -> None:
    """Its pace is on record, so a restart or a second steward makes no line more."""
    for _ in range(3):
        invariants = steward(spine.db, every_s=600)
        await invariants.audit_if_due()
        await invariants.minute()
    assert 1 == len(await published(spine.db))


async def test_a_published_line_cannot_be_changed(spine: Spine) -> None:
    """Not even by us: the table refuses it."""
    invariants = steward(spine.db)
    await invariants.audit_if_due()
    await invariants.minute()
    for statement in ("UPDATE status.lines SET line = ''", "DELETE FROM status.lines", "TRUNCATE status.lines"):
        with pytest.raises(asyncpg.RaiseError, match="stays as it was published"):
            await spine._write(statement)


async def test_lines_are_read_a_page_at_a_time(spine: Spine) -> None:
    """From the newest back to the first."""
    invariants = steward(spine.db)
    await invariants.audit_if_due()
    for _ in range(5):
        await invariants.minute()
    lines, pages, before = PublicLines(spine.db), [], None
    while True:
        page, before = await lines.newest(before=before, limit=2)
        pages.append([read(line).number for line in page])
        if before is None:
            break
    assert [[4, 5], [2, 3], [1]] == pages
    assert bytes.fromhex((await published(spine.db))[-1].key) == await lines.key()


async def test_new_money_that_nobody_accounts_for_is_told_within_the_minute(spine: Spine) -> None:
    """The look asks the rules of money too, on what is new; what was verified before is not read again."""
    invariants = steward(spine.db)
    await invariants.audit_if_due()
    await spine._write(OWED_TO_NOBODY)
    await invariants.minute()
    (line,) = await published(spine.db)
    assert 1 == read(line).broken
    assert await invariants._watch.wants_audit(3_600)


async def test_every_rule_of_every_capability_is_listed(db: Database) -> None:
    """The page says of each by its name whether it is looked at each minute or once a day."""
    text = " ".join((DOCS / "invariants.md").read_text(encoding="utf-8").split())
    by_the_minute, _, by_the_day = text.partition("## Once a day only")
    rules = [rule.name for audit in AUDITS for rule in await audit(db)]
    assert list(OF_NEW_MONEY) == [rule for rule in rules if rule in by_the_minute]
    assert [] == [rule for rule in rules if rule not in OF_NEW_MONEY and rule not in by_the_day]


def test_what_is_added_up_is_named() -> None:
    """The rule over all accounts is one of those that the documentation lists."""
    text = " ".join((DOCS / "invariants.md").read_text(encoding="utf-8").split())
    assert watching.ADDS_UP in text
