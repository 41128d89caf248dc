"""Leave and be called: once, with what is on record deleted afterwards. By phone: test_calls_by_phone.py."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from post_office import PostOffice, desk, open_office
from prometheus_client import REGISTRY
from waiting_people import OPEN, changed, publish

from emeterai.gate import call_store, callers, calls
from emeterai.gate import now as now_file
from emeterai.gate.callers import callers_of, letter
from emeterai.gate.calls import Calls
from emeterai.gate.now import NowFiles, NowServing
from emeterai.infra.database import Database
from emeterai.infra.settings import Settings, SettingsError
from emeterai.infra.tls import trusted_for_letters


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[tuple[PostOffice, Settings]]:
    """A post office, and settings that name it."""
    async with open_office(tmp_path) as found:
        yield found


async def test_people_are_called_when_their_turn_is_near(
    db: Database, tmp_path: Path, office: tuple[PostOffice, Settings]
) -> None:
    """Those within five minutes, once; the address is gone afterwards, and the gateway never heard of them."""
    post, settings = office
    publish(tmp_path, OPEN)
    for number in (150, 3_000, 50_000):
        await call_store.add_call(db, "retail", number, number, f"warga{number}@contoh.id")
    steward = await desk(db, tmp_path, settings)
    assert ("email", "whatsapp", "sms") == steward.offered("retail")
    assert 2 == await steward.call_due()
    assert 0 == await steward.call_due()
    texts = [email.message_from_bytes(found, policy=email.policy.default) for found in post.letters]
    assert {"warga150@contoh.id", "warga3000@contoh.id"} == {str(text["To"]) for text in texts}
    assert all("https://meterai.example/gate/retail" in text.get_content() for text in texts)
    assert [] == post.hooks
    rows = await db.fetch("SELECT number, state, email FROM gate.calls ORDER BY number")
    assert [("called", None), ("called", None), ("waiting", "warga50000@contoh.id")] == [
        (row["state"], row["email"]) for row in rows
    ]


class Quick:
    """Another way to call, which takes no time; when it has called `after` people, the line goes on to `then`."""

    channels = ("email",)

    def __init__(self, folder: Path, *, after: int = 0, then: NowServing = OPEN) -> None:
        self.folder, self.after, self.then = folder, after, then
        self.called: list[int] = []

    async def call(self, now: NowServing, number: int, turn: int, email: str) -> None:
        """Note whom."""
        self.called.append(number)
        if len(self.called) == self.after:
            publish(self.folder, self.then)


def counted(name: str) -> float:
    """What a metric says."""
    return REGISTRY.get_sample_value(name) or 0.0


async def test_in_a_rush_all_who_are_due_are_called_in_one_sweep(db: Database, tmp_path: Path) -> None:
    """Share after share, nearest turn first, and those who are not due are not."""
    publish(tmp_path, OPEN)
    due = list(range(150, 150 + 2 * calls.AT_ONCE + 50))
    for number in (*due, 50_000):
        await call_store.add_call(db, "retail", number, number, f"warga{number}@contoh.id")
    way = Quick(tmp_path)
    assert len(due) == await Calls(db, NowFiles(tmp_path / "now"), [way]).call_due()
    assert due == way.called


async def test_one_lane_keeps_no_other_waiting_for_ever(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are due, a sweep has its end; the rest is for the next one."""
    publish(tmp_path, OPEN)
    monkeypatch.setattr(calls, "ROUNDS_MAX", 2)
    monkeypatch.setattr(calls, "LETTERS_SHARE", 3)
    for number in range(150, 160):
        await call_store.add_call(db, "retail", number, number, f"warga{number}@contoh.id")
    desk = Calls(db, NowFiles(tmp_path / "now"), [Quick(tmp_path)])
    assert [6, 4, 0] == [await desk.call_due() for _ in range(3)]


async def test_a_letter_that_was_taken_is_not_sent_again_for_a_wrong_goodbye(
    db: Database, tmp_path: Path, office: tuple[PostOffice, Settings]
) -> None:
    """The answer to the letter itself is what counts."""
    _, settings = office
    publish(tmp_path, OPEN)
    await call_store.add_call(db, "retail", 150, 150, "warga@contoh.id")
    steward = await desk(db, tmp_path, Settings(public_url=settings.public_url, smtp_url=settings.smtp_url))
    assert 1 == await steward.call_due()
    assert "called" == await db.fetchval("SELECT state FROM gate.calls")


async def test_letters_are_sent_side_by_side(db: Database, tmp_path: Path, office: tuple[PostOffice, Settings]) -> None:
    """A mail server that takes its time for each keeps few from being called in time."""
    post, settings = office
    publish(tmp_path, OPEN)
    together = callers.LETTERS_AT_ONCE
    post.meet_at = asyncio.Barrier(together)
    for number in range(150, 150 + together):
        await call_store.add_call(db, "retail", number, number, f"warga{number}@contoh.id")
    steward = await desk(db, tmp_path, Settings(public_url=settings.public_url, smtp_url=settings.smtp_url))
    assert together == await steward.call_due()
    assert together == len(post.letters)


@pytest.mark.parametrize(("scheme", "made"), [("smtp", 10), ("smtps", 0)])
async def test_the_authorities_are_read_once_and_not_for_every_letter(
    db: Database,
    tmp_path: Path,
    office: tuple[PostOffice, Settings],
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    made: int,
) -> None:
    """It takes more of a processor than all else about a letter: a share of letters would hold a core for a second.
    The office here knows no TLS, so whoever wants it sends no letter.
    """
    read, context = list[ssl.SSLContext](), ssl.create_default_context()
    for module, name in ((ssl, "create_default_context"), (httpx, "create_ssl_context")):
        monkeypatch.setattr(module, name, lambda **_: read.append(context) or context)
    trusted_for_letters.cache_clear()
    publish(tmp_path, OPEN)
    for number in range(150, 160):
        await call_store.add_call(db, "retail", number, number, f"warga{number}@contoh.id")
    url = str(office[1].smtp_url).replace("smtp", scheme, 1)
    steward = await desk(db, tmp_path, Settings(public_url=office[1].public_url, smtp_url=url))
    assert made == await steward.call_due()
    assert 1 == len(read)
    trusted_for_letters.cache_clear()


@pytest.mark.parametrize(
    ("now_serving", "asked_ago_s", "ahead_at_most", "late"),
    [(100, 3_600, "300.0", 0), (2_800, 3_600, "60.0", 1), (2_800, 30, "60.0", 0), (3_100, 3_600, "0.0", 1)],
)
async def test_how_long_before_the_turn_a_call_went_out_is_measured(
    db: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    now_serving: int,
    asked_ago_s: int,
    ahead_at_most: str,
    late: int,
) -> None:
    """By where the line is when the letter has gone; who asked only just now is not late, however near the turn."""
    monkeypatch.setattr(now_file, "_LOOK_AGAIN_S", 0.0)
    publish(tmp_path, changed(OPEN, now_serving=90))
    await call_store.add_call(db, "retail", 3_000, 3_000, "warga@contoh.id")
    await db.fetch("UPDATE gate.calls SET asked_at = now() - make_interval(secs => $1)", float(asked_ago_s))
    way = Quick(tmp_path, after=1, then=changed(OPEN, now_serving=now_serving))
    bucket = {"le": ahead_at_most}
    before = REGISTRY.get_sample_value("emeterai_gate_call_ahead_seconds_bucket", bucket) or 0.0
    lates = counted("emeterai_gate_calls_late_total")
    assert 1 == await Calls(db, NowFiles(tmp_path / "now"), [way]).call_due()
    assert 1 == (REGISTRY.get_sample_value("emeterai_gate_call_ahead_seconds_bucket", bucket) or 0.0) - before
    assert late == counted("emeterai_gate_calls_late_total") - lates


async def test_when_the_post_is_down_it_is_tried_again_and_then_given_up(
    db: Database, tmp_path: Path, office: tuple[PostOffice, Settings]
) -> None:
    """Not at once, at most five times; then the address is deleted."""
    post, settings = office
    post.down = True
    publish(tmp_path, OPEN)
    await call_store.add_call(db, "retail", 150, 150, "warga@contoh.id")
    steward = await desk(db, tmp_path, Settings(public_url=settings.public_url, smtp_url=settings.smtp_url))
    for tries in range(1, calls.TRIES_MAX + 1):
        assert 0 == await steward.call_due()
        assert 0 == await steward.call_due()
        assert tries == await db.fetchval("SELECT tries FROM gate.calls")
        await db.fetch("UPDATE gate.calls SET again_at = now()")
    assert [("failed", None)] == [tuple(row) for row in await db.fetch("SELECT state, email FROM gate.calls")]
    assert [] == post.letters


async def test_nobody_is_called_while_the_line_stands(
    db: Database, tmp_path: Path, office: tuple[PostOffice, Settings]
) -> None:
    """A paused lane would call them for nothing."""
    publish(tmp_path, changed(OPEN, state="paused"))
    await call_store.add_call(db, "retail", 150, 150, "warga@contoh.id")
    assert 0 == await (await desk(db, tmp_path, office[1])).call_due()


async def test_nobody_is_called_to_a_turn_that_is_over(
    db: Database, tmp_path: Path, office: tuple[PostOffice, Settings]
) -> None:
    """Their address is deleted; whoever may still come is called, also late."""
    post, settings = office
    publish(tmp_path, changed(OPEN, now_serving=150, grace_from=100))
    for number in (98, 99, 100):
        await call_store.add_call(db, "retail", number, number, f"warga{number}@contoh.id")
    assert 1 == await (await desk(db, tmp_path, settings)).call_due()
    texts = [email.message_from_bytes(found, policy=email.policy.default) for found in post.letters]
    assert ["warga100@contoh.id"] == [str(text["To"]) for text in texts]
    rows = await db.fetch("SELECT state, email FROM gate.calls ORDER BY number")
    assert [("failed", None), ("failed", None), ("called", None)] == [tuple(row) for row in rows]


async def test_calls_are_offered_where_there_is_a_way_and_room(
    db: Database, tmp_path: Path, office: tuple[PostOffice, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without settings nobody is promised anything; nor when too many wait to be called."""
    assert () == (await desk(db, tmp_path, Settings())).offered("retail")
    publish(tmp_path, OPEN)
    await call_store.add_call(db, "retail", 90_000, 90_000, "warga@contoh.id")
    monkeypatch.setattr(calls, "CALLS_MAX", 1)
    steward = await desk(db, tmp_path, office[1])
    await steward.call_due()
    assert () == steward.offered("retail")
    assert ("email", "whatsapp", "sms") == steward.offered("cpns-2026")


def test_a_letter_holds_no_ticket_and_no_header_of_others() -> None:
    """Who reads it cannot take the place; a lane's title cannot add headers."""
    made = letter(
        changed(OPEN, title="Umum"), 150, 150, sender="emeterai@meterai.example", base_url="https://m.example"
    )
    text = made.as_string()
    assert "t1." not in text
    assert "auto-generated" == made["Auto-Submitted"]
    with pytest.raises(SettingsError):
        callers_of(Settings(smtp_url="http://mail"))
