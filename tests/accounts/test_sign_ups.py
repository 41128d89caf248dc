"""How many accounts one network may open: generous for people, narrow for a program that opens thousands."""

from __future__ import annotations

import asyncio
from itertools import count

import httpx
import pytest
from account_app import create_account_app
from counting_hasher import CountingHasher

from emeterai.accounts.passwords import Passwords
from emeterai.accounts.service import Accounts
from emeterai.accounts.sign_ups import BLOCK_TIMES, DAY_S, HOUR_S, USUAL, bounds_of
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.settings import Settings

PASSWORD = "kopi-hangat-di-teras"
HOME = "198.51.100.7"
_number = count(1)


def bounded(db: Database, *, an_hour: int = 3, a_day: int = 5, busy: bool = False) -> Accounts:
    """A web process of a service with these bounds; a `busy` one has no place before the hashing."""
    bounds = bounds_of(Settings(address_sign_ups_an_hour_max=an_hour, address_sign_ups_a_day_max=a_day))
    passwords = Passwords(CountingHasher(), waiting_max=0) if busy else Passwords(CountingHasher())
    return Accounts(db, session_life_s=3600, passwords=passwords, sign_up_bounds=bounds)


async def opened(accounts: Accounts, *addresses: str | None) -> list[str]:
    """What becomes of somebody new from each of these addresses, one after another."""
    outcomes = []
    for address in addresses:
        try:
            await accounts.register(
                name="Siti", password=PASSWORD, email=f"warga-{next(_number)}@contoh.id", address=address
            )
            outcomes.append("opened")
        except Refused as refused:
            outcomes.append(refused.code)
    return outcomes


async def let_pass(db: Database, seconds: int) -> None:
    """Let every window be so much nearer to its end."""
    await db.fetch("UPDATE accounts.guesses SET ends_at = ends_at - make_interval(secs => $1::int)", seconds)


async def test_an_address_opens_so_many_accounts_an_hour(db: Database) -> None:
    """The fourth is refused, in every process, and says when; neighbours are not, and signing in is not."""
    accounts, other = bounded(db), bounded(db)
    assert ["opened"] * 3 == await opened(accounts, HOME, f"::ffff:{HOME}", HOME)
    assert ["sign_ups_paused", "opened"] == await opened(other, HOME, "198.51.100.8")
    with pytest.raises(Refused, match="sign_ups_paused") as refused:
        await accounts.register(name="Siti", password=PASSWORD, email="siti@contoh.id", address=HOME)
    wait_s = int(refused.value.facts["retry_after_s"])
    assert HOUR_S - 60 < wait_s <= HOUR_S
    assert 60 == refused.value.facts["minutes"]
    assert "60 menit" in refused.value.id
    await let_pass(db, wait_s)
    assert ["opened"] == await opened(accounts, HOME)


async def test_and_so_many_a_day(db: Database) -> None:
    """Hour after hour; those that were refused in an hour take nothing of the day."""
    accounts = bounded(db, an_hour=3, a_day=5)
    assert ["opened"] * 3 + ["sign_ups_paused"] * 4 == await opened(accounts, *[HOME] * 7)
    await let_pass(db, HOUR_S)
    assert ["opened", "opened", "sign_ups_paused"] == await opened(accounts, *[HOME] * 3)
    await let_pass(db, HOUR_S)
    with pytest.raises(Refused, match="sign_ups_paused") as refused:
        await accounts.register(name="Siti", password=PASSWORD, email="siti@contoh.id", address=HOME)
    assert HOUR_S < int(refused.value.facts["retry_after_s"]) <= DAY_S


async def test_a_block_opens_no_more_than_some_addresses_might(db: Database) -> None:
    """An IPv6 /64 is one address, and of a /48 each opens some until 200 times as many are open in all."""
    accounts = bounded(db, an_hour=2, a_day=100)
    assert ["opened", "opened", "sign_ups_paused"] == await opened(accounts, *(f"2001:db8::{one}" for one in "123"))
    hosts = [f"2001:db8:0:{host:x}::1" for host in range(1, 2 * BLOCK_TIMES + 5)]
    outcomes = await opened(accounts, *hosts)
    assert 2 * BLOCK_TIMES - 2 == outcomes.count("opened")
    assert {"sign_ups_paused"} == set(outcomes[-5:])
    assert ["opened"] == await opened(accounts, "2001:db8:1::1")


async def test_a_carrier_s_gateways_open_what_their_people_need(db: Database) -> None:
    """A hundred phones of one /24 or one /48 are refused nothing, and nobody is sent to a carrier's network."""
    accounts = bounded(db, an_hour=1, a_day=1)
    phones = [f"198.51.100.{host}" for host in range(50)] + [f"2001:db8:0:{host:x}::1" for host in range(50)]
    assert ["opened"] * 100 == await opened(accounts, *phones)
    with pytest.raises(Refused, match="sign_ups_paused") as refused:
        await accounts.register(name="Siti", password=PASSWORD, email="siti@contoh.id", address=phones[0])
    assert not any(word in refused.value.id + refused.value.en for word in ("seluler", "mobile"))


async def test_whoever_was_told_that_too_many_sign_in_is_not_counted(db: Database) -> None:
    """A whole school may try again as soon as there is room: nothing was opened."""
    busy = bounded(db, busy=True)
    assert ["sign_in_busy"] * 5 == await opened(busy, *[HOME] * 5)
    assert ["opened"] * 3 + ["sign_ups_paused"] == await opened(bounded(db), *[HOME] * 4)


async def test_whoever_is_refused_takes_no_turn_of_those_who_sign_in(db: Database) -> None:
    """A program that goes on asking hears it at once, also while every place before the hashing is taken."""
    assert ["opened"] * 3 == await opened(bounded(db), *[HOME] * 3)
    busy = bounded(db, busy=True)
    assert ["sign_ups_paused"] * 3 == await opened(busy, *[HOME] * 3)
    assert ["sign_in_busy"] == await opened(busy, "192.0.2.9")


async def again(accounts: Accounts, contact: str, *, address: str = HOME) -> str:
    """What becomes of somebody with this contact."""
    try:
        await accounts.register(name="Siti", password=PASSWORD, email=contact, address=address)
    except Refused as refused:
        return refused.code
    return "opened"


async def test_a_second_click_costs_nothing_and_asking_for_many_contacts_does(db: Database) -> None:
    """The same contact from the same address is counted once in a minute, three times over; others are counted each."""
    accounts = bounded(db, an_hour=3)
    answers = [await again(accounts, "siti@contoh.id") for _ in range(4)]
    assert ["opened"] + ["account_exists"] * 3 == answers
    assert "opened" == await again(accounts, "budi@contoh.id")
    assert "account_exists" == await again(accounts, "siti@contoh.id")
    assert ["sign_ups_paused"] * 2 == [await again(accounts, f"{name}@contoh.id") for name in ("rina", "siti")]


async def test_whoever_was_refused_is_refused_again_however_often_he_asks(db: Database) -> None:
    """Only what was counted is not counted once more; nor does a minute that is over spare anybody."""
    accounts = bounded(db, an_hour=1)
    assert "opened" == await again(accounts, "siti@contoh.id")
    assert ["sign_ups_paused"] * 3 == [await again(accounts, "budi@contoh.id") for _ in range(3)]
    assert "account_exists" == await again(accounts, "siti@contoh.id")
    await let_pass(db, 60)
    assert "sign_ups_paused" == await again(accounts, "siti@contoh.id")


async def test_accounts_of_one_moment_are_counted(db: Database) -> None:
    """Twenty at once are three."""
    accounts = bounded(db)
    outcomes = await asyncio.gather(*(opened(accounts, HOME) for _ in range(20)))
    assert 3 == sum(one == ["opened"] for one in outcomes)


async def test_nothing_is_counted_of_this_machine_and_of_what_cannot_be_an_account(db: Database) -> None:
    """Whoever runs the service measures it; a form with a mistake is sent again."""
    accounts = bounded(db, an_hour=1)
    assert ["opened"] * 8 == await opened(accounts, *["127.0.0.1", "::1", None, "::ffff:127.0.0.1"] * 2)
    for _ in range(3):
        with pytest.raises(Refused, match="password_unusable"):
            await accounts.register(name="Siti", password="pendek", email="siti@contoh.id", address=HOME)
    assert ["opened"] == await opened(accounts, HOME)


def browser(accounts: Accounts, address: str) -> httpx.AsyncClient:
    """A browser or a program at this address."""
    transport = httpx.ASGITransport(create_account_app(accounts), client=(address, 4711))
    return httpx.AsyncClient(transport=transport, base_url="https://meterai.example")


def person() -> dict[str, str]:
    """Somebody who signs up by a program."""
    return {"name": "Siti", "password": PASSWORD, "email": f"warga-{next(_number)}@contoh.id"}


async def test_programs_and_pages_are_counted_together(db: Database) -> None:
    """Both say so with 429; the page keeps what was typed, without the password, and says when to come back."""
    accounts = bounded(db, an_hour=2)
    async with browser(accounts, HOME) as client:
        answers = [await client.post("/v1/accounts", json=person()) for _ in range(3)]
        assert [201, 201, 429] == [answer.status_code for answer in answers]
        assert "sign_ups_paused" == answers[2].json()["code"]
        form = await client.get("/daftar")
        csrf = form.text.partition('name="csrf" value="')[2].partition('"')[0]
        typed = {"csrf": csrf, "name": "Siti", "contact": "siti@contoh.id", "password": PASSWORD, "zone": "WIB"}
        page = await client.post("/daftar", data=typed)
        assert 429 == page.status_code
        assert 0 < int(page.headers["retry-after"]) <= HOUR_S
        assert "terlalu banyak akun dibuat" in page.text
        assert "siti@contoh.id" in page.text
        assert PASSWORD not in page.text


async def test_what_an_unnamed_proxy_of_this_machine_passes_on_is_one_address(db: Database) -> None:
    """Whoever stands behind it could otherwise open any number, since this machine is not counted."""
    async with browser(bounded(db, an_hour=2), "127.0.0.1") as client:
        answers = [
            (
                await client.post("/v1/accounts", json=person(), headers={"x-forwarded-for": f"192.0.2.{host}"})
            ).status_code
            for host in range(1, 5)
        ]
        assert [201, 201, 429, 429] == answers
        assert 201 == (await client.post("/v1/accounts", json=person())).status_code


def test_without_settings_the_bounds_are_the_usual_ones() -> None:
    """A campus or a carrier's gateway: sixty an hour and three hundred a day."""
    assert USUAL == bounds_of(Settings()) == ((60, HOUR_S), (300, DAY_S))
