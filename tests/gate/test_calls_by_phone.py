"""Leave and be called on the phone, by somebody else's gateway; and who asked before the draw."""

from __future__ import annotations

import base64
import hmac
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from post_office import KEY, PostOffice, desk, open_office
from waiting_people import DRAWN, NOT_DRAWN, OPEN, changed, make_lane, publish

from emeterai.gate import call_store, callers, calls
from emeterai.gate import now as now_file
from emeterai.gate.callers import call_words, callers_of
from emeterai.gate.lanes import Lane
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.settings import Settings, SettingsError


def name_of(number: int, phone: str) -> str:
    """What a call to a phone is called."""
    return f"call_retail_{number}_{hmac.digest(KEY, phone.encode(), 'sha256').hex()[:8]}"


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[tuple[PostOffice, Settings]]:
    """A post office, and settings that name it."""
    async with open_office(tmp_path) as found:
        yield found


async def test_who_left_a_phone_number_is_called_there(
    db: Database, tmp_path: Path, office: tuple[PostOffice, Settings]
) -> None:
    """The gateway is told the number and the words, signed; once, and what is on record is gone afterwards."""
    post, settings = office
    publish(tmp_path, OPEN)
    await call_store.add_call(db, "retail", 150, 150, phone="+6281234567890")
    steward = await desk(db, tmp_path, settings)
    assert [1, 0] == [await steward.call_due() for _ in range(2)]
    words = call_words(OPEN, 150, base_url="https://meterai.example")
    assert [
        {
            "lane": "retail",
            "title": "Umum",
            "number": 150,
            "turn": 150,
            "now_serving": 100,
            "wait": {"low_s": 4, "high_s": 7},
            "channels": ["whatsapp", "sms"],
            "phone": "+6281234567890",
            "room": "https://meterai.example/gate/retail",
            "text": {"id": words.id, "en": words.en},
        }
    ] == post.hooks
    head = post.heads[0]
    told = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + post.bodies[0]
    assert f"v1,{base64.b64encode(hmac.digest(KEY, told, 'sha256')).decode()}" == head["webhook-signature"]
    assert (name_of(150, "+6281234567890"), "application/json") == (head["webhook-id"], head["content-type"])
    assert [] == post.letters
    rows = await db.fetch("SELECT state, email, phone FROM gate.calls")
    assert [("called", None, None)] == [tuple(row) for row in rows]


@pytest.mark.parametrize("answers", [b"503 Service Unavailable", b"302 Found", None])
async def test_a_gateway_that_fails_is_tried_again_and_then_given_up(
    db: Database,
    tmp_path: Path,
    office: tuple[PostOffice, Settings],
    monkeypatch: pytest.MonkeyPatch,
    answers: bytes | None,
) -> None:
    """Also one that takes what it is told and says nothing; under the same name each time, and not all at once."""
    post, settings = office
    post.answers = answers
    if answers is None:  # only who hears nothing waits for so long; a busy machine may stand for half a second
        monkeypatch.setattr(callers, "_HOOK_S", 1.5)
    publish(tmp_path, OPEN)
    for number in (150, 151, 152):
        await call_store.add_call(db, "retail", number, number, phone="+6281234567890")
    steward = await desk(db, tmp_path, settings)
    for tries in range(1, calls.TRIES_MAX + 1):
        assert 0 == await steward.call_due()
        assert [tries] * 3 == [row["tries"] for row in await db.fetch("SELECT tries FROM gate.calls")]
        assert 3 == await db.fetchval("SELECT count(DISTINCT again_at) FROM gate.calls")
        await db.fetch("UPDATE gate.calls SET again_at = now()")
    expected = {name_of(number, "+6281234567890") for number in (150, 151, 152)}
    assert expected == {head["webhook-id"] for head in post.heads}
    assert 3 * calls.TRIES_MAX == len(post.heads)
    rows = await db.fetch("SELECT DISTINCT state, email, phone FROM gate.calls")
    assert [("failed", None, None)] == [tuple(row) for row in rows]


async def test_whoever_corrects_their_number_is_called_at_the_right_one(
    db: Database, tmp_path: Path, office: tuple[PostOffice, Settings]
) -> None:
    """Under another name, so a gateway that sends nothing twice sends this; and the name does not give the number away:
    it needs the key.
    """
    post, settings = office
    post.answers = b"503 Service Unavailable"
    publish(tmp_path, OPEN)
    steward = await desk(db, tmp_path, settings)
    for phone in ("+6281234567890", "+6281234567891"):
        await call_store.add_call(db, "retail", 150, 150, phone=phone)
        await db.fetch("UPDATE gate.calls SET again_at = now()")
        assert 0 == await steward.call_due()
    names = [name_of(150, "+6281234567890"), name_of(150, "+6281234567891")]
    assert names == [head["webhook-id"] for head in post.heads]
    assert 2 == len(set(names))


async def test_who_cannot_be_called_now_stays_on_record(
    db: Database, tmp_path: Path, office: tuple[PostOffice, Settings]
) -> None:
    """A gateway that was taken out of the settings costs nobody their wish; the others are called."""
    _, settings = office
    publish(tmp_path, OPEN)
    await call_store.add_call(db, "retail", 150, 150, phone="+6281234567890")
    await call_store.add_call(db, "retail", 151, 151, "warga@contoh.id")
    by_letter = Settings(public_url=settings.public_url, smtp_url=settings.smtp_url)
    steward = await desk(db, tmp_path, by_letter)
    assert ("email",) == steward.offered("retail")
    assert 1 == await steward.call_due()
    assert ("waiting", 0) == tuple(await db.fetchrow("SELECT state, tries FROM gate.calls WHERE number = 150"))
    assert 1 == await (await desk(db, tmp_path, settings)).call_due()


async def test_whoever_asked_before_the_draw_is_called_by_the_turn_that_they_drew(
    db: Database, tmp_path: Path, office: tuple[PostOffice, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody before it; afterwards those whose turns are near, and whoever drew a late one when that comes near."""
    monkeypatch.setattr(now_file, "_LOOK_AGAIN_S", 0.0)
    monkeypatch.setattr(calls, "TURNS_AT_ONCE", 7)
    post, settings = office
    before = changed(OPEN, state="before_opening", draw=NOT_DRAWN, now_serving=0, grace_from=1)
    publish(tmp_path, before)
    for number in range(1, 51):
        await call_store.add_call(db, "retail", number, None, phone=f"+62812345678{number:02}")
    steward = await desk(db, tmp_path, settings)
    assert 0 == await steward.call_due()
    assert 50 == await db.fetchval("SELECT count(*) FROM gate.calls WHERE turn IS NULL")
    drawn = changed(before, state="open", draw=DRAWN, turns_per_s=now_file.Turns(0.05, 0.06, 0.07))
    publish(tmp_path, drawn)
    assert 21 == await steward.call_due()
    expected = {number: drawn.turn_of(number) for number in range(1, 51)}
    assert expected == {row["number"]: row["turn"] for row in await db.fetch("SELECT number, turn FROM gate.calls")}
    assert set(range(1, 22)) == {hook["turn"] for hook in post.hooks}
    publish(tmp_path, changed(drawn, now_serving=40))
    assert 29 == await steward.call_due()
    assert 50 == len({hook["phone"] for hook in post.hooks})


@pytest.mark.parametrize(("closed_for", "kept"), [(timedelta(hours=23), 2), (timedelta(hours=25), 0)])
async def test_when_a_lane_is_closed_for_good_the_addresses_are_deleted(
    db: Database, tmp_path: Path, office: tuple[PostOffice, Settings], closed_for: timedelta, kept: int
) -> None:
    """Not at once: it may have been closed by mistake."""
    lane = Lane(name="retail", title="Umum", closes_at=utc_now() - closed_for)
    await make_lane(db, lane)
    publish(tmp_path, changed(OPEN, state="closed", closes_at=lane.closes_at))
    await call_store.add_call(db, "retail", 150, 150, "warga@contoh.id")
    await call_store.add_call(db, "retail", 151, None, phone="+6281234567890")
    assert 0 == await (await desk(db, tmp_path, office[1])).call_due()
    assert kept == await db.fetchval("SELECT count(*) FROM gate.calls WHERE num_nonnulls(email, phone) = 1")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CALL_WEBHOOK_URL", "gateway.example/call"),
        ("CALL_WEBHOOK_URL", "ftp://gateway.example"),
        ("CALL_WEBHOOK_CHANNELS", ""),
        ("CALL_WEBHOOK_CHANNELS", "telegram"),
        ("CALL_WEBHOOK_CHANNELS", "sms,sms"),
        ("CALL_WEBHOOK_SECRET_FILE", ""),
        ("CALL_WEBHOOK_SECRET_FILE", "/nowhere"),
    ],
)
async def test_a_gateway_that_cannot_be_trusted_stops_the_start(
    office: tuple[PostOffice, Settings], variable: str, value: str
) -> None:
    """Above all one without a secret: numbers go to nobody who cannot tell who sent them."""
    with pytest.raises(SettingsError, match=f"EMETERAI_{variable}: "):
        callers_of(msgspec.structs.replace(office[1], **{variable.lower(): value}))


@pytest.mark.parametrize("secret", ["geheim", "whsec_", "whsec_dG9vIHNob3J0", "whsec_!!!!", KEY.hex()])
async def test_a_secret_that_could_be_guessed_stops_the_start(
    office: tuple[PostOffice, Settings], tmp_path: Path, secret: str
) -> None:
    """It is at least 24 bytes, written as Standard Webhooks has it; and the complaint does not show it."""
    (tmp_path / "weak").write_text(secret)
    with pytest.raises(SettingsError, match="EMETERAI_CALL_WEBHOOK_SECRET_FILE: whsec_ and at least") as said:
        callers_of(msgspec.structs.replace(office[1], call_webhook_secret_file=str(tmp_path / "weak")))
    assert "dG9v" not in str(said.value)
