"""Leave and be called: an e-mail when one's turn is near, a webhook for every other channel.

The steward calls, nearest turn first, a share at a time and on at once while there is more, and tries again when the
post is down. An address is deleted as soon as its call was made or given up; the webhook gets no address at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx
import structlog

from emeterai.gate import room_store
from emeterai.gate.now import NowFiles, NowServing
from emeterai.gate.passes import room_path
from emeterai.gate.room_store import Due
from emeterai.infra import metrics
from emeterai.infra.database import Database
from emeterai.infra.settings import Settings, SettingsError
from emeterai.infra.shares import while_there_is_more

CALL_EVERY_S = 5.0
CALLS_MAX = 200_000
"""So many may wait to be called in one lane; then it is not offered any more."""
AHEAD_S = 300.0
"""People are called about five minutes before their turn."""
AT_ONCE = 100
ROUNDS_MAX, GOES_ON_S = 20, 10.0
"""So many times a lane goes on while a whole share was due, and not for longer: the other lanes have theirs, too."""
LETTERS_AT_ONCE = 32
"""A letter is mostly waiting for the mail server."""
LATE_S = 60.0
"""A call that goes out so long after it was due came late."""
TRIES_MAX = 5
AGAIN_S = 60.0
_TIMEOUT_S = 10.0
_FAR_S = 3_600.0
_AHEAD_S = (0.0, 15.0, 30.0, 60.0, 120.0, 180.0, 240.0, 300.0, 420.0, 600.0)
_log = structlog.get_logger(__name__)
_calls = metrics.counter("emeterai_gate_calls", "People called to their turn", ["outcome"])
_late = metrics.counter("emeterai_gate_calls_late", "Calls that went out over a minute after they were due")
_ahead_s = metrics.histogram(
    "emeterai_gate_call_ahead_seconds", "How long before the turn a call went out", buckets=_AHEAD_S
)
_waiting = metrics.gauge_latest("emeterai_gate_calls_waiting", "People who wait to be called, in the fullest lane")
for _outcome in ("made", "failed", "late"):
    _calls.labels(_outcome)


class CallError(Exception):
    """Nobody could be called: the post is down, or it refused the message."""


class Caller(Protocol):
    """A way to call people."""

    async def call(self, now: NowServing, number: int, turn: int, email: str) -> None:
        """Call one. Raises CallError."""


class Mail:
    """Calls by e-mail, over SMTP (RFC 5321) with STARTTLS or TLS where the URL says so."""

    def __init__(self, url: str, *, user: str, password: str, sender: str, base_url: str) -> None:
        """`url` is `smtp://HOST:PORT` (STARTTLS when it is offered) or `smtps://HOST:PORT`."""
        parts = urlsplit(url)
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise SettingsError("EMETERAI_SMTP_URL: smtp://HOST:PORT or smtps://HOST:PORT is wanted")
        self._tls = parts.scheme == "smtps"
        self._host, self._port = parts.hostname, parts.port or (465 if self._tls else 587)
        self._user, self._password, self._sender, self._base_url = user, password, sender, base_url
        self._threads = ThreadPoolExecutor(LETTERS_AT_ONCE, thread_name_prefix="letter")

    async def call(self, now: NowServing, number: int, turn: int, email: str) -> None:
        """Send one message. Raises CallError."""
        message = letter(now, number, turn, sender=self._sender, base_url=self._base_url)
        message["To"] = email
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._send, message)
        except (OSError, smtplib.SMTPException) as error:
            raise CallError(type(error).__name__) from error

    def _send(self, message: EmailMessage) -> None:
        trusted = ssl.create_default_context()
        post = (
            smtplib.SMTP_SSL(self._host, self._port, timeout=_TIMEOUT_S, context=trusted)
            if self._tls
            else smtplib.SMTP(self._host, self._port, timeout=_TIMEOUT_S)
        )
        with post:
            post.ehlo()
            if not self._tls and post.has_extn("starttls"):
                post.starttls(context=trusted)
                post.ehlo()
            if self._user:
                post.login(self._user, self._password)
            post.send_message(message)
            with contextlib.suppress(OSError, smtplib.SMTPException):
                post.quit()  # the letter was taken: however this is answered, it must not be sent again


class Webhook:
    """Calls by a POST to somebody who knows other channels: lane, number and turn, and no address."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def call(self, now: NowServing, number: int, turn: int, email: str) -> None:  # noqa: ARG002 - nobody's business
        """Tell the hook. Raises CallError."""
        told = {"lane": now.lane, "number": number, "turn": turn, "now_serving": now.now_serving}
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
                (await client.post(self._url, json=told)).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CallError(type(error).__name__) from error


def callers_of(settings: Settings) -> list[Caller]:
    """The ways to call people that the settings name; none of them: calls are not offered. Raises SettingsError."""
    callers: list[Caller] = []
    if settings.smtp_url:
        secret = settings.smtp_password_file
        try:
            password = Path(secret).read_text(encoding="utf-8").partition("\n")[0] if secret else ""
        except OSError as error:
            raise SettingsError(f"EMETERAI_SMTP_PASSWORD_FILE: {error.strerror}") from error
        sender = settings.mail_from or f"emeterai@{urlsplit(settings.base_url).hostname}"
        mail = Mail(
            settings.smtp_url, user=settings.smtp_user, password=password, sender=sender, base_url=settings.base_url
        )
        callers.append(mail)
    if settings.call_webhook_url:
        callers.append(Webhook(settings.call_webhook_url))
    return callers


def letter(now: NowServing, number: int, turn: int, *, sender: str, base_url: str) -> EmailMessage:
    """What people are told, in both languages. It holds no ticket: who reads it cannot take the place."""
    message, room = EmailMessage(), f"{base_url}{room_path(now.lane)}"
    low_s, high_s = now.wait_of(turn)
    low, high = int(low_s // 60), None if high_s is None else int(high_s // 60) + 1
    message["From"] = sender
    message["Subject"] = f"Giliran Anda sudah dekat: nomor {number} / Your turn is near"
    message["Auto-Submitted"] = "auto-generated"
    span = f"{low}-{high}" if high is not None else str(low)
    message.set_content(
        f"Giliran Anda di jalur {now.title} kira-kira {span} menit lagi (giliran {turn}, sekarang {now.now_serving}).\n"
        f"Buka halaman yang sama dengan perangkat yang sama, atau masukkan kode pemulihan Anda di:\n{room}\n\n"
        f"Your turn in the lane {now.title} is about {span} minutes away (turn {turn}, now {now.now_serving}).\n"
        f"Open the same page on the same device, or enter your recovery code at:\n{room}\n"
    )
    return message


@dataclass(slots=True)
class _Made:
    """How many were called in one sweep."""

    count: int = 0


class Calls:
    """What the steward does for those who left to be called."""

    def __init__(self, db: Database, files: NowFiles, callers: list[Caller]) -> None:
        self._db = db
        self._files = files
        self._callers = callers
        self._full: Mapping[str, bool] = {}

    def are_offered(self, lane: str) -> bool:
        """Whether people of a lane may ask to be called."""
        return bool(self._callers) and not self._full.get(lane, False)

    async def call_due(self) -> int:
        """Call those whose turn is near and forget those whose turn is over; answers how many were called. Raises what
        the database raises.
        """
        calls, most, full = _Made(), 0, {}
        for lane in self._files.lanes() if self._callers else []:
            now = self._files.read(lane)
            waiting = await room_store.count_calls(self._db, lane, up_to=CALLS_MAX)
            full[lane] = waiting >= CALLS_MAX
            most = max(most, waiting)
            late = await room_store.drop_late_calls(self._db, lane, now.grace_from)
            _calls.labels("late").inc(late)
            if now.state == "open":
                await while_there_is_more(
                    functools.partial(self._call, lane, calls),
                    share_max=AT_ONCE,
                    rounds_max=ROUNDS_MAX,
                    goes_on_s=GOES_ON_S,
                )
        self._full = full
        _waiting.set(most)
        return calls.count

    async def _call(self, lane: str, calls: _Made, limit: int) -> int:
        """Call a share of those who are due; answers how many that were."""
        now = self._files.read(lane)
        near = now.now_serving + int(now.turns_per_s.high * AHEAD_S)
        due = await room_store.due_calls(self._db, lane, near, limit=limit, again_s=AGAIN_S)
        # What breaks on one letter must not keep all the others from being written.
        outcomes = await asyncio.gather(*(self._one(now, one) for one in due), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                _calls.labels("failed").inc()
                _log.error("call_broken", lane=now.lane, error=type(outcome).__name__)
        made = [one for one, done in zip(due, outcomes, strict=True) if done is True]
        failed = [one.number for one, done in zip(due, outcomes, strict=True) if done is not True]
        await room_store.end_calls(self._db, now.lane, [one.number for one in made], tries_max=TRIES_MAX, made=True)
        await room_store.end_calls(self._db, now.lane, failed, tries_max=TRIES_MAX, made=False)
        calls.count += len(made)
        _measure(self._files.read(lane), made)
        return len(due)

    async def _one(self, now: NowServing, due: Due) -> bool:
        """Whether somebody was reached in at least one way."""
        reached = False
        for caller in self._callers:
            try:
                await caller.call(now, due.number, due.turn, due.email)
                reached = True
            except CallError as error:
                _log.warning(
                    "call_failed", lane=now.lane, number=due.number, how=type(caller).__name__, error=str(error)
                )
        _calls.labels("made" if reached else "failed").inc()
        return reached


def _measure(now: NowServing, made: Sequence[Due]) -> None:
    """How long before their turns these calls have gone out, and which of them were due long before."""
    for due in made:
        left_s = _ahead_of(now, due.turn)
        _ahead_s.observe(left_s)
        if min(AHEAD_S - left_s, due.asked_ago_s) > LATE_S:
            _late.inc()


def _ahead_of(now: NowServing, turn: int) -> float:
    """How long it is until a turn, as the line moves now: 0 once it has come, an hour at most."""
    ahead, per_s = max(0, turn - now.now_serving), now.turns_per_s.mid
    return min(_FAR_S, ahead / per_s if per_s > 0 else _FAR_S) if ahead else 0.0
