"""Passwords are long enough, not common, and hashed by a bounded number of threads."""

from __future__ import annotations

import asyncio

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type
from counting_hasher import CountingHasher

from emeterai.accounts.passwords import Passwords, check_new_password
from emeterai.core.refusal import Refused


@pytest.mark.parametrize(
    ("code", "password"),
    [
        ("password_unusable", ""),
        ("password_unusable", "x7#kQ2p!a"),
        ("password_unusable", "kopi hangat " * 20),
        ("password_unusable", "kopi-hangat\x00di-teras"),
        ("password_unusable", "kopi-hangat\ud800di-teras"),
        ("password_guessable", "password123"),
        ("password_guessable", "Indonesia2026!"),
        ("password_guessable", "sayangsayang"),
        ("password_guessable", "aaaaaaaaaaaa"),
        ("password_guessable", "1234567890"),
        ("password_guessable", "17081945170845"),
        ("password_guessable", "poiuytrewq"),
        ("password_guessable", "Siti@contoh.id"),
    ],
)
def test_weak_passwords_are_refused(code: str, password: str) -> None:
    """Short, endless, common and self-evident passwords are refused by name."""
    with pytest.raises(Refused) as caught:
        check_new_password(password, ("Siti Rahayu", "siti@contoh.id", None))
    assert code == caught.value.code


@pytest.mark.parametrize("password", ["kopi-hangat-di-teras", "correct horse battery", "\u00e9\u00e8\u00ea\u00eb" * 3])
def test_good_passwords_pass(password: str) -> None:
    """A few words joined are good enough, in any script."""
    check_new_password(password, ("Siti Rahayu",))


async def test_the_default_is_what_owasp_recommends() -> None:
    """Argon2id with 19 MiB, two passes and one lane."""
    parameters = extract_parameters(await Passwords().hash("kopi-hangat-di-teras"))
    assert (
        parameters.type,
        parameters.memory_cost,
        parameters.time_cost,
        parameters.parallelism,
    ) == (Type.ID, 19 * 1024, 2, 1)


async def test_any_keyboard_types_the_same_password() -> None:
    """A letter typed whole and the same letter typed with a combining accent are one password."""
    passwords = Passwords(CountingHasher())
    assert await passwords.matches(await passwords.hash("caf\u00e9-di-teras"), "cafe\u0301-di-teras")


async def test_nobody_has_a_password() -> None:
    """No password is nobody's, not even an empty one, and saying so takes one verification."""
    hasher = CountingHasher()
    assert not await Passwords(hasher).matches(None, "")
    assert 1 == hasher.verifications


async def test_more_people_than_turns_wait_and_more_than_may_wait_are_refused() -> None:
    """At the bound the answer is a refusal that says when to come back; whoever waits gets a turn."""
    passwords = Passwords(CountingHasher(), at_once=1, waiting_max=1, wait_s=60)
    async with passwords.turn():
        waiting = asyncio.create_task(_take_turn(passwords))
        await asyncio.sleep(0)
        with pytest.raises(Refused) as caught:
            await _take_turn(passwords)
    assert "sign_in_busy" == caught.value.code
    assert 5 == caught.value.facts["retry_after_s"]
    assert await waiting


async def test_whoever_waits_too_long_is_refused() -> None:
    """A wait has an end, and the turn is free again afterwards."""
    passwords = Passwords(CountingHasher(), at_once=1, wait_s=0.01)
    async with passwords.turn():
        with pytest.raises(Refused) as caught:
            await _take_turn(passwords)
    assert "sign_in_busy" == caught.value.code
    assert await _take_turn(passwords)


async def test_only_so_many_hashes_run_at_once() -> None:
    """However many people sign in at one moment, two hashes run."""
    hasher = CountingHasher(time_cost=20, memory_cost=1024)
    passwords = Passwords(hasher, at_once=2)

    async def sign_in() -> None:
        async with passwords.turn():
            await passwords.matches(None, "kopi-hangat-di-teras")

    await asyncio.gather(*(sign_in() for _ in range(20)))
    assert 20 == hasher.verifications
    assert hasher.at_once_max <= 2


def test_other_parameters_make_a_hash_outdated() -> None:
    """A hash with yesterday's parameters is outdated, one with today's is not."""
    passwords = Passwords(CountingHasher())
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash("kopi-hangat-di-teras")
    assert passwords.is_outdated(old)
    assert not passwords.is_outdated(CountingHasher().hash("kopi-hangat-di-teras"))


async def _take_turn(passwords: Passwords) -> bool:
    async with passwords.turn():
        return True
