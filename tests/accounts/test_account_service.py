"""People register, sign in and out, and give keys to programs; on a real database."""

from __future__ import annotations

import asyncio
from datetime import date
from uuid import UUID

import pytest
from counting_hasher import CountingHasher

from emeterai.accounts.guesses import GuessLimit, guess_key
from emeterai.accounts.passwords import Passwords
from emeterai.accounts.service import Accounts, Caller, Timezone
from emeterai.accounts.tokens import new_token, token_digest
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database

PASSWORD = "kopi-hangat-di-teras"
ADDRESS = "203.0.113.7"


async def test_a_person_registers_and_signs_in_by_mail_or_phone(accounts: Accounts) -> None:
    """One account, found by either contact however it is typed."""
    account = await accounts.register(
        name=" Siti  Rahayu ", email="Siti@Contoh.id", phone="0812 3456 7890", password=PASSWORD, timezone="WITA"
    )
    assert ("Siti Rahayu", "siti@contoh.id", "+6281234567890") == (account.name, account.email, account.phone)
    for contact in ("siti@contoh.id", "SITI@CONTOH.ID ", "6281234567890"):
        signed_in = await accounts.sign_in(contact=contact, password=PASSWORD, address=ADDRESS)
        assert account == signed_in.account
        assert Caller(account.id, "Siti Rahayu", Timezone.WITA, "session") == await accounts.identify(signed_in.token)


async def test_an_address_has_one_account(accounts: Accounts) -> None:
    """Two registrations of one address or number, at the same moment too, make one account and one refusal."""
    outcomes = await asyncio.gather(
        accounts.register(name="Siti", email="siti@contoh.id", phone="0812345678", password=PASSWORD),
        accounts.register(name="Sita", email="SITI@contoh.id", password=PASSWORD),
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert ["account_exists"] == [refusal.code for refusal in refused]


async def test_no_password_and_no_token_is_stored(accounts: Accounts, db: Database) -> None:
    """Who reads the tables can neither sign in nor call."""
    account = await accounts.register(name="Siti", email="siti@contoh.id", password=PASSWORD)
    signed_in = await accounts.open_session(account)
    key = await accounts.create_api_key(await accounts.identify(signed_in.token), "Server")
    rows = [
        *await db.fetch("SELECT t::text AS row FROM accounts.accounts AS t"),
        *await db.fetch("SELECT t::text AS row FROM accounts.sessions AS t"),
        *await db.fetch("SELECT t::text AS row FROM accounts.api_keys AS t"),
    ]
    assert 3 == len(rows)
    for secret in (PASSWORD, signed_in.token[4:], key.token[4:]):
        assert not any(secret in row["row"] for row in rows)


@pytest.mark.parametrize(
    "contact",
    ["siti@contoh.id", "nobody@contoh.id", "081200000000", "not a contact", "", "\x00", "\ud800", "x" * 10_000],
)
async def test_the_unknown_and_the_known_are_answered_alike(
    accounts: Accounts, hasher: CountingHasher, contact: str
) -> None:
    """A wrong password costs one verification and gives one refusal, whether or not there is such an account."""
    await accounts.register(name="Siti", email="siti@contoh.id", password=PASSWORD)
    for password in ("wrong-password", "", "\x00", "\ud800", "x" * 10_000):
        before = hasher.verifications
        with pytest.raises(Refused) as caught:
            await accounts.sign_in(contact=contact, password=password, address=ADDRESS)
        assert "sign_in_wrong" == caught.value.code
        assert {} == dict(caught.value.facts)
        assert 1 == hasher.verifications - before


async def test_guessing_is_paused_and_the_pause_has_an_end(db: Database, hasher: CountingHasher) -> None:
    """After the allowed tries even the right password waits, without any hashing, until the window ends."""
    accounts = Accounts(db, session_life_s=60, passwords=Passwords(hasher), guess_limit=GuessLimit(3, 900))
    await accounts.register(name="Siti", email="siti@contoh.id", password=PASSWORD)
    for _ in range(3):
        with pytest.raises(Refused, match="sign_in_wrong"):
            await accounts.sign_in(contact="siti@contoh.id", password="wrong-password", address=ADDRESS)
    with pytest.raises(Refused) as caught:
        await accounts.sign_in(contact="SITI@contoh.id", password=PASSWORD, address=ADDRESS)
    assert ("sign_in_paused", 429) == (caught.value.code, caught.value.kind.status)
    assert 1 <= int(caught.value.facts["retry_after_s"]) <= 900
    assert 3 == hasher.verifications
    assert await accounts.sign_in(contact="siti@contoh.id", password=PASSWORD, address="198.51.100.1")
    async with db.transaction() as tx:
        await tx.execute("UPDATE accounts.guesses SET ends_at = now()")
    assert await accounts.sign_in(contact="siti@contoh.id", password=PASSWORD, address=ADDRESS)


async def test_guesses_at_the_same_moment_count(db: Database, hasher: CountingHasher) -> None:
    """A volley of guesses gets no more tries than the same guesses one by one."""
    accounts = Accounts(db, session_life_s=60, passwords=Passwords(hasher, at_once=8), guess_limit=GuessLimit(3, 900))
    outcomes = await asyncio.gather(
        *(accounts.sign_in(contact="a@contoh.id", password=f"guess-{n}", address=ADDRESS) for n in range(12)),
        return_exceptions=True,
    )
    codes = sorted(outcome.code for outcome in outcomes if isinstance(outcome, Refused))
    assert ["sign_in_paused"] * 9 + ["sign_in_wrong"] * 3 == codes
    assert 3 == hasher.verifications


async def test_the_right_password_forgets_the_wrong_ones(db: Database, hasher: CountingHasher) -> None:
    """Somebody who mistypes now and then is never paused."""
    accounts = Accounts(db, session_life_s=60, passwords=Passwords(hasher), guess_limit=GuessLimit(2, 900))
    await accounts.register(name="Siti", email="siti@contoh.id", password=PASSWORD)
    for _ in range(3):
        with pytest.raises(Refused, match="sign_in_wrong"):
            await accounts.sign_in(contact="siti@contoh.id", password="wrong-password", address=ADDRESS)
        await accounts.sign_in(contact="siti@contoh.id", password=PASSWORD, address=ADDRESS)
    assert 0 == await db.fetchval("SELECT count(*) FROM accounts.guesses")


async def test_being_sent_away_by_the_crowd_is_no_guess(db: Database, hasher: CountingHasher) -> None:
    """Whoever finds no turn has not used up a try."""
    passwords = Passwords(hasher, at_once=1, waiting_max=0)
    accounts = Accounts(db, session_life_s=60, passwords=passwords)
    with pytest.raises(Refused, match="sign_in_busy"):
        await accounts.sign_in(contact="siti@contoh.id", password=PASSWORD, address=ADDRESS)
    assert 0 == await db.fetchval("SELECT count(*) FROM accounts.guesses")


def test_a_house_is_one_address() -> None:
    """An IPv6 network of 64 bits counts as one address, and an IPv4 address in IPv6 clothes as itself."""
    assert guess_key("a", "2001:db8:1:2::1") == guess_key("a", "2001:db8:1:2:ffff::9")
    assert guess_key("a", "2001:db8:1:2::1") != guess_key("a", "2001:db8:1:3::1")
    assert guess_key("a", "::ffff:203.0.113.7") == guess_key("a", "203.0.113.7")
    assert guess_key("a", "testclient") != guess_key("b", "testclient")


async def test_a_hash_of_yesterday_is_renewed_at_sign_in(db: Database, hasher: CountingHasher) -> None:
    """New parameters reach every person who signs in, and the password stays the same."""
    await Accounts(db, session_life_s=60, passwords=Passwords(CountingHasher(memory_cost=16))).register(
        name="Siti", email="siti@contoh.id", password=PASSWORD
    )
    accounts = Accounts(db, session_life_s=60, passwords=Passwords(hasher))
    for _ in range(2):
        await accounts.sign_in(contact="siti@contoh.id", password=PASSWORD, address=ADDRESS)
        stored = await db.fetchval("SELECT password_hash FROM accounts.accounts")
        assert not hasher.check_needs_rehash(stored)


async def test_a_session_ends_by_the_clock_of_the_database(db: Database, hasher: CountingHasher) -> None:
    """An expired session is refused by name, so that the person knows that nothing is lost."""
    accounts = Accounts(db, session_life_s=0, passwords=Passwords(hasher))
    account = await accounts.register(name="Siti", email="siti@contoh.id", password=PASSWORD)
    signed_in = await accounts.open_session(account)
    with pytest.raises(Refused, match="session_expired"):
        await accounts.identify(signed_in.token)


async def test_a_session_that_was_ended_is_unknown(accounts: Accounts) -> None:
    """Signing out ends this session at once, twice does no harm, and other sessions go on."""
    account = await accounts.register(name="Siti", email="siti@contoh.id", password=PASSWORD)
    first, second = await accounts.open_session(account), await accounts.open_session(account)
    await accounts.identify(first.token)
    await accounts.sign_out(first.token)
    await accounts.sign_out(first.token)
    with pytest.raises(Refused, match="sign_in_needed"):
        await accounts.identify(first.token)
    assert account.id == (await accounts.identify(second.token)).account_id


async def test_a_person_has_at_most_twenty_sessions(accounts: Accounts, db: Database) -> None:
    """The oldest session makes room for the newest, also in the memory of this process."""
    account = await accounts.register(name="Siti", email="siti@contoh.id", password=PASSWORD)
    oldest = await accounts.open_session(account)
    await accounts.identify(oldest.token)
    for _ in range(20):
        newest = await accounts.open_session(account)
    assert 20 == await db.fetchval("SELECT count(*) FROM accounts.sessions")
    assert account.id == (await accounts.identify(newest.token)).account_id
    with pytest.raises(Refused, match="sign_in_needed"):
        await accounts.identify(oldest.token)


async def test_sessions_opened_at_the_same_moment_do_not_wait_in_a_circle(accounts: Accounts, db: Database) -> None:
    """Many programs that sign in as one person at once all get in."""
    account = await accounts.register(name="Siti", email="siti@contoh.id", password=PASSWORD)
    for _ in range(20):
        await accounts.open_session(account)
    opened = await asyncio.gather(*(accounts.open_session(account) for _ in range(40)))
    assert 40 == len({signed_in.token for signed_in in opened})


@pytest.mark.parametrize(
    "token",
    ["", "ems_", "emk_" + "x" * 43, "ems_" + "x" * 43, "\x00", "\ud800", "x" * 100_000, "ems_" + "x" * 42 + "\n"],
)
async def test_a_token_nobody_made_is_nobodys(accounts: Accounts, token: str) -> None:
    """Whatever is shown instead of a token is answered with `sign_in_needed`."""
    with pytest.raises(Refused, match="sign_in_needed"):
        await accounts.identify(token)


async def test_a_key_calls_for_its_person_until_it_is_revoked(accounts: Accounts, db: Database) -> None:
    """A key is listed without its token, notes the day of its use, and ends at once when it is revoked."""
    person = await _signed_in(accounts, "siti@contoh.id")
    key = await accounts.create_api_key(person, " Server  penggajian ")
    assert Caller(person.account_id, person.name, person.timezone, "api_key") == await accounts.identify(key.token)
    (listed,) = await accounts.list_api_keys(person)
    assert (key.id, "Server penggajian", True) == (listed.id, listed.label, listed.last_used_on is not None)
    await accounts.revoke_api_key(person, key.id)
    with pytest.raises(Refused, match="sign_in_needed"):
        await accounts.identify(key.token)
    with pytest.raises(Refused, match="api_key_unknown"):
        await accounts.revoke_api_key(person, key.id)
    (revoked,) = await accounts.list_api_keys(person)
    assert (key.token[:8], True) == (revoked.prefix, revoked.revoked_at is not None)
    assert 1 == await db.fetchval("SELECT count(*) FROM accounts.api_keys WHERE revoked_at IS NOT NULL")


async def test_an_old_day_of_use_becomes_today(accounts: Accounts, db: Database) -> None:
    """The first use of a day moves the note of the day."""
    key = await accounts.create_api_key(await _signed_in(accounts, "siti@contoh.id"), "Server")
    async with db.transaction() as tx:
        await tx.execute("UPDATE accounts.api_keys SET last_used_on = '2022-11-30'")
    await accounts.identify(key.token)
    assert date(2022, 11, 30) < await db.fetchval("SELECT last_used_on FROM accounts.api_keys")


async def test_a_key_is_its_owners_alone(accounts: Accounts) -> None:
    """Another person neither sees nor revokes it, and learns no more than that it is not theirs."""
    siti, budi = await _signed_in(accounts, "siti@contoh.id"), await _signed_in(accounts, "budi@contoh.id")
    key = await accounts.create_api_key(siti, "Server")
    assert [] == await accounts.list_api_keys(budi)
    for key_id in (key.id, UUID(int=0)):
        with pytest.raises(Refused, match="api_key_unknown"):
            await accounts.revoke_api_key(budi, key_id)
    assert siti.account_id == (await accounts.identify(key.token)).account_id


async def test_a_key_makes_and_ends_no_keys(accounts: Accounts) -> None:
    """A key that leaked cannot make itself a successor."""
    person = await _signed_in(accounts, "siti@contoh.id")
    key = await accounts.create_api_key(person, "Server")
    program = await accounts.identify(key.token)
    with pytest.raises(Refused, match="session_needed"):
        await accounts.create_api_key(program, "Another")
    with pytest.raises(Refused, match="session_needed"):
        await accounts.revoke_api_key(program, key.id)


async def test_a_person_has_at_most_twenty_keys(accounts: Accounts) -> None:
    """The twenty-first key is refused until one is revoked."""
    person = await _signed_in(accounts, "siti@contoh.id")
    keys = [await accounts.create_api_key(person, f"Server {number}") for number in range(20)]
    with pytest.raises(Refused, match="api_keys_too_many"):
        await accounts.create_api_key(person, "One more")
    await accounts.revoke_api_key(person, keys[0].id)
    await accounts.create_api_key(person, "One more")


async def test_the_sweep_leaves_what_is_alive(accounts: Accounts, db: Database) -> None:
    """Windows that ended and sessions that expired a week ago go; later ones stay, to be named as expired."""
    account = await accounts.register(name="Siti", email="siti@contoh.id", password=PASSWORD)
    alive = await accounts.open_session(account)
    async with db.transaction() as tx:
        for days in (1, 8):
            await tx.execute(
                "INSERT INTO accounts.sessions VALUES ($1, $2, now() - make_interval(days => $3))",
                token_digest(new_token("ems_")),
                account.id,
                days,
            )
        await tx.execute("INSERT INTO accounts.guesses VALUES ($1, 1, now())", guess_key("a", ADDRESS))
        await tx.execute(
            "INSERT INTO accounts.guesses VALUES ($1, 1, now() + interval '1 minute')", guess_key("b", ADDRESS)
        )
    assert 2 == await accounts.sweep()
    assert 0 == await accounts.sweep()
    assert account.id == (await accounts.identify(alive.token)).account_id


async def _signed_in(accounts: Accounts, email: str) -> Caller:
    account = await accounts.register(name="Siti Rahayu", email=email, password=PASSWORD)
    return await accounts.identify((await accounts.open_session(account)).token)
