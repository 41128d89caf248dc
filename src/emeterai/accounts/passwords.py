"""Passwords: which are good enough, and their hashing with Argon2id by a bounded number of threads."""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from emeterai.accounts.details import has_unprintable
from emeterai.core.refusal import RefusalKind

PASSWORD_LENGTH_MIN = 10
PASSWORD_LENGTH_MAX = 200

PASSWORD_UNUSABLE = RefusalKind(
    "password_unusable",
    422,
    "Pilih kata sandi sepanjang {length_min} sampai {length_max} karakter.",
    "Choose a password of {length_min} to {length_max} characters.",
)
PASSWORD_GUESSABLE = RefusalKind(
    "password_guessable",
    422,
    "Kata sandi ini terlalu mudah ditebak; gabungkan beberapa kata yang hanya Anda yang tahu.",
    "This password is too easy to guess; join a few words that only you know.",
)
SIGN_IN_BUSY = RefusalKind(
    "sign_in_busy",
    503,
    "Banyak orang sedang masuk; tidak ada yang hilang, silakan coba lagi dalam {retry_after_s} detik.",
    "Many people are signing in; nothing is lost, please try again in {retry_after_s} seconds.",
)

_RETRY_AFTER_S = 5
_DISTINCT_CHARACTERS_MIN = 4
_KEYBOARD_RUNS = ("01234567890123456789", "qwertyuiopasdfghjklzxcvbnm", "abcdefghijklmnopqrstuvwxyz")
_COMMON_TEXT = """
    admin administrator alhamdulillah anjing assalamualaikum bandung basmalah bismillah bismilah cantik cinta cpns
    doraemon emeterai ganteng garuda garudaku iloveyou indonesia jakarta kucing letmein merdeka meterai monyet
    naruto p@ssw0rd p@ssword pancasila passw0rd password password1 persib persija qwerty qwertyuiop rahasia
    rahasiaku sayang sayangku sayangkamu semangat subhanallah surabaya terserah welcome
"""
_COMMON_WORDS = frozenset(_COMMON_TEXT.split())

_Answer = TypeVar("_Answer")


def check_new_password(password: str, known: Iterable[str | None] = ()) -> None:
    """Refuse a new password that is too short, too long, common, or one of the `known` facts about the person."""
    normal = unicodedata.normalize("NFC", password)
    if not PASSWORD_LENGTH_MIN <= len(normal) <= PASSWORD_LENGTH_MAX or has_unprintable(normal):
        raise PASSWORD_UNUSABLE(length_min=PASSWORD_LENGTH_MIN, length_max=PASSWORD_LENGTH_MAX)
    folded = normal.casefold()
    facts = {fact.casefold() for fact in known if fact}
    runs = [run for forward in _KEYBOARD_RUNS for run in (forward, forward[::-1])]
    if (
        folded in facts
        or len(set(folded)) < _DISTINCT_CHARACTERS_MIN
        or any(folded in run for run in runs)
        or _is_common(folded)
    ):
        raise PASSWORD_GUESSABLE()


def _is_common(folded: str) -> bool:
    """A common word, alone or twice, with at most digits and punctuation after it."""
    word = folded.rstrip("0123456789!@#$%^&*._-? ")
    half = word[: len(word) // 2]
    return not word or word in _COMMON_WORDS or (half + half == word and half in _COMMON_WORDS)


class Passwords:
    """Argon2id with OWASP's first parameters (19 MiB, 2 passes, 1 lane), `at_once` hashes at a time per process.

    Who comes when `waiting_max` people wait already, or has waited for `wait_s`, is refused with `sign_in_busy`.
    """

    def __init__(
        self,
        hasher: PasswordHasher | None = None,
        *,
        at_once: int = 2,
        waiting_max: int = 100,
        wait_s: float = 3.0,
    ) -> None:
        self._hasher = hasher or PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="argon2")
        self._turns = asyncio.Semaphore(at_once)
        self._waiting = 0
        self._waiting_max = waiting_max
        self._wait_s = wait_s
        self._nobody = self._hasher.hash(secrets.token_bytes(32))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn to hash. Raises the refusal `sign_in_busy` when none comes up in time."""
        if self._waiting >= self._waiting_max:
            raise SIGN_IN_BUSY(retry_after_s=_RETRY_AFTER_S)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await self._turns.acquire()
        except TimeoutError:
            raise SIGN_IN_BUSY(retry_after_s=_RETRY_AFTER_S) from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    async def hash(self, password: str) -> str:
        """The PHC string to store for `password`. Call it within a turn."""
        return await self._in_thread(lambda: self._hasher.hash(_secret(password)))

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one behind `stored`. Nobody's password (None) costs the same work and is wrong."""
        return await self._in_thread(lambda: self._verify(stored or self._nobody, password)) and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether `stored` was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, _secret(password))
        except VerifyMismatchError:
            return False

    async def _in_thread(self, work: Callable[[], _Answer]) -> _Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _secret(password: str) -> bytes:
    """The bytes that are hashed: NFC, as RFC 8265 section 4.2 has it, so that any keyboard types the same password."""
    return unicodedata.normalize("NFC", password[: PASSWORD_LENGTH_MAX * 4]).encode("utf-8", "surrogatepass")
