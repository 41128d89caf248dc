"""The ways to call people to their turn: an e-mail, or a webhook of whoever runs a gateway to telephones.

What the webhook is told is signed as Standard Webhooks 1.0.0 says: `webhook-id`, `webhook-timestamp` and
`webhook-signature`, an HMAC-SHA256 over all three of id, time and body. docs/gate.md has the exact words.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import smtplib
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx
import msgspec

from emeterai.gate.now import EMAIL, NowServing, Sentence
from emeterai.gate.passes import room_path
from emeterai.infra.clock import utc_now
from emeterai.infra.settings import PREFIX, Settings, SettingsError, secret_in
from emeterai.infra.tls import trusted, trusted_for_letters

LETTERS_AT_ONCE = 32
"""A letter is mostly waiting for the mail server, and a hook for its gateway."""
PHONE_CHANNELS = ("whatsapp", "sms")
"""What a webhook may call people by."""
_LETTER_S, _HOOK_S = 10.0, 5.0
_KEY_BYTES_MIN = 24
_KEY_PREFIX = "whsec_"


class CallError(Exception):
    """Nobody could be called: the post is down, or it refused the message."""


class Caller(Protocol):
    """A way to call people: by e-mail, or by what reaches a phone."""

    @property
    def channels(self) -> tuple[str, ...]:
        """What people are called by, as the pages name it."""

    async def call(self, now: NowServing, number: int, turn: int, to: str, /) -> None:
        """Call one, at an e-mail address or a phone number. Raises CallError."""


class Mail:
    """Calls by e-mail, over SMTP (RFC 5321) with STARTTLS or TLS where the URL says so."""

    channels = (EMAIL,)

    def __init__(self, url: str, *, user: str, password: str, sender: str, base_url: str) -> None:
        """`url` is `smtp://HOST:PORT` (STARTTLS when it is offered) or `smtps://HOST:PORT`."""
        parts = urlsplit(url)
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise SettingsError("EMETERAI_SMTP_URL: smtp://HOST:PORT or smtps://HOST:PORT is wanted")
        self._tls = parts.scheme == "smtps"
        self._host, self._port = parts.hostname, parts.port or (465 if self._tls else 587)
        self._user, self._password, self._sender, self._base_url = user, password, sender, base_url
        self._trusted = trusted_for_letters()  # here, and not by each of the threads
        self._threads = ThreadPoolExecutor(LETTERS_AT_ONCE, thread_name_prefix="letter")

    async def call(self, now: NowServing, number: int, turn: int, to: str, /) -> None:
        """Send one message. Raises CallError."""
        message = letter(now, number, turn, sender=self._sender, base_url=self._base_url)
        message["To"] = to
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._send, message)
        except (OSError, smtplib.SMTPException) as error:
            raise CallError(type(error).__name__) from error

    def _send(self, message: EmailMessage) -> None:
        post = (
            smtplib.SMTP_SSL(self._host, self._port, timeout=_LETTER_S, context=self._trusted)
            if self._tls
            else smtplib.SMTP(self._host, self._port, timeout=_LETTER_S)
        )
        with post:
            post.ehlo()
            if not self._tls and post.has_extn("starttls"):
                post.starttls(context=self._trusted)
                post.ehlo()
            if self._user:
                post.login(self._user, self._password)
            post.send_message(message)
            with contextlib.suppress(OSError, smtplib.SMTPException):
                post.quit()  # the letter was taken: however this is answered, it must not be sent again


class Webhook:
    """Calls by a POST to a gateway that sends messages to phones, which is told the number and the words."""

    def __init__(self, url: str, *, key: bytes, channels: tuple[str, ...], base_url: str) -> None:
        self.channels = channels
        self._url, self._key, self._base_url = url, key, base_url
        self._trusted = trusted()
        self._lines = asyncio.Semaphore(LETTERS_AT_ONCE)

    async def call(self, now: NowServing, number: int, turn: int, to: str, /) -> None:
        """Tell the hook; it has five seconds. Raises CallError."""
        body = msgspec.json.encode(self._told(now, number, turn, to))
        # One wish is one message: a gateway that was told and could not say so is told again under the same name. A
        # wish with another phone number is another one; numbers can be guessed, so nobody may try them without the key.
        name = f"call_{now.lane}_{number}_{hmac.digest(self._key, to.encode(), 'sha256')[:4].hex()}"
        headers = signed(body, self._key, name=name, at_s=int(utc_now().timestamp()))
        try:
            async with (
                self._lines,
                asyncio.timeout(_HOOK_S),
                httpx.AsyncClient(timeout=_HOOK_S, verify=self._trusted, trust_env=False) as client,
                client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                answer.raise_for_status()
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise CallError(type(error).__name__) from error

    def _told(self, now: NowServing, number: int, turn: int, phone: str) -> dict[str, object]:
        low_s, high_s = now.wait_of(turn)
        return {
            "lane": now.lane,
            "title": now.title,
            "number": number,
            "turn": turn,
            "now_serving": now.now_serving,
            "wait": {"low_s": int(low_s), "high_s": None if high_s is None else int(high_s) + 1},
            "channels": self.channels,
            "phone": phone,
            "room": f"{self._base_url}{room_path(now.lane)}",
            "text": call_words(now, turn, base_url=self._base_url),
        }


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
        callers.append(_webhook_of(settings))
    return callers


def _webhook_of(settings: Settings) -> Webhook:
    url = urlsplit(settings.call_webhook_url)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise SettingsError(f"{PREFIX}CALL_WEBHOOK_URL: https://HOST/PATH is wanted")
    channels = tuple(name.strip() for name in settings.call_webhook_channels.split(","))
    if not set(channels) <= set(PHONE_CHANNELS) or len(set(channels)) < len(channels):
        raise SettingsError(f"{PREFIX}CALL_WEBHOOK_CHANNELS: at least one of {', '.join(PHONE_CHANNELS)}, each once")
    key = _key_in(settings.call_webhook_secret_file)
    return Webhook(settings.call_webhook_url, key=key, channels=channels, base_url=settings.base_url)


def _key_in(file: str) -> bytes:
    text = secret_in(file, "CALL_WEBHOOK_SECRET_FILE")
    try:
        key = base64.b64decode(text.removeprefix(_KEY_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(_KEY_PREFIX) or len(key) < _KEY_BYTES_MIN:
        raise SettingsError(
            f"{PREFIX}CALL_WEBHOOK_SECRET_FILE: {_KEY_PREFIX} and at least {_KEY_BYTES_MIN} bytes in base64 are wanted"
        )
    return key


def signed(body: bytes, key: bytes, *, name: str, at_s: int) -> dict[str, str]:
    """The headers of a message that is called `name` and sent at `at_s` (seconds since 1970), by Standard Webhooks."""
    digest = hmac.digest(key, f"{name}.{at_s}.".encode() + body, "sha256")
    return {
        "content-type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(at_s),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def call_words(now: NowServing, turn: int, *, base_url: str) -> Sentence:
    """What people are told, in each language. It holds no ticket: who reads it cannot take the place."""
    room, (low_s, high_s) = f"{base_url}{room_path(now.lane)}", now.wait_of(turn)
    low, high = int(low_s // 60), None if high_s is None else int(high_s // 60) + 1
    span = f"{low}-{high}" if high is not None else str(low)
    return Sentence(
        f"Giliran Anda di jalur {now.title} kira-kira {span} menit lagi (giliran {turn}, sekarang {now.now_serving}).\n"
        f"Buka halaman yang sama dengan perangkat yang sama, atau masukkan kode pemulihan Anda di:\n{room}",
        f"Your turn in the lane {now.title} is about {span} minutes away (turn {turn}, now {now.now_serving}).\n"
        f"Open the same page on the same device, or enter your recovery code at:\n{room}",
    )


def letter(now: NowServing, number: int, turn: int, *, sender: str, base_url: str) -> EmailMessage:
    """What people are told by e-mail, in both languages."""
    message, words = EmailMessage(), call_words(now, turn, base_url=base_url)
    message["From"] = sender
    message["Subject"] = f"Giliran Anda sudah dekat: nomor {number} / Your turn is near"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{words.id}\n\n{words.en}\n")
    return message
