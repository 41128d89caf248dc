"""Timestamps (RFC 3161) from an authority over HTTP: asked within a bound, checked, done without if it fails.

The tokens are read and checked by rfc3161-client. Its builder hashes whole documents itself, so the request, five lines
of DER, is written here. A breaker stops asking an authority that fails, so that it costs no stamp more than a moment.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import structlog
from cryptography import x509
from rfc3161_client import decode_timestamp_response

from emeterai.infra import metrics
from emeterai.infra.tls import trusted
from emeterai.seal.cms import OID_SHA512, token_room_bytes
from emeterai.seal.der import BOOLEAN, INTEGER, NULL, OCTET_STRING, SEQUENCE, integer, oid, tlv
from emeterai.seal.signer import SignerError
from emeterai.seal.timestamp_token import checked_token

_FAILURES_MAX = 3
_PAUSE_S = 10.0
_AT_ONCE_MAX = 64
_ANSWER_SIZE_BYTES_MAX = 65_536
_FIRST_TOKEN_SIZE_BYTES = 8_192
_TOKEN_SIZE_BYTES_MAX = 32_768
_TOKEN_SLACK_BYTES = 96
"""Tokens of one authority differ by their serial number, time and ECDSA signature."""
_VERSION_1 = tlv(INTEGER, b"\x01")
_WANT_CERTIFICATE = tlv(BOOLEAN, b"\xff")
_SHA512 = tlv(SEQUENCE, oid(OID_SHA512), tlv(NULL))
_asked = metrics.counter("emeterai_timestamps", "Timestamps asked for, by what came of it", ["outcome"])
_duration_s = metrics.histogram("emeterai_timestamp_seconds", "Time until the authority answered or was given up")
_log = structlog.get_logger(__name__)


class TimestampFailedError(Exception):
    """There is no timestamp; the text says why."""


class TimestampSettingsError(SignerError):
    """The authority is not configured well; the text tells the operator what to change."""


@dataclass(frozen=True, slots=True)
class TimestampPlace:
    """Where the authority is and which roots its answers must lead to."""

    url: str
    roots: tuple[x509.Certificate, ...]
    timeout_s: float

    @classmethod
    def read(cls, url: str, roots_file: Path | None, *, timeout_s: float) -> TimestampPlace:
        """The place that settings name. Raises TimestampSettingsError."""
        if roots_file is None:
            raise TimestampSettingsError("a timestamp authority needs the file of its root certificates as well")
        return cls(url, read_roots(roots_file), timeout_s)


class TimestampClient:
    """Asks one authority. Safe for many tasks at once; closed at the end."""

    def __init__(self, place: TimestampPlace, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._place = place
        self._breaker = _Breaker(clock_s)
        self._under_way = 0
        self._token_size_bytes = _FIRST_TOKEN_SIZE_BYTES
        self._http = httpx.AsyncClient(
            trust_env=False,
            verify=trusted(),
            timeout=place.timeout_s,
            limits=httpx.Limits(max_connections=_AT_ONCE_MAX, max_keepalive_connections=16),
        )

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """The certificates that its tokens lead to."""
        return self._place.roots

    @property
    def token_size_bytes(self) -> int:
        """The size of a token at most, by those seen so far."""
        return self._token_size_bytes

    def room_bytes(self) -> int:
        """What to add to a slot for a signature timestamp; 0 when the authority is not to be asked now."""
        busy = self._under_way >= _AT_ONCE_MAX
        return 0 if busy or not self._breaker.lets_through() else token_room_bytes(self._token_size_bytes)

    async def token(self, digest: bytes) -> bytes:
        """A checked token over a SHA-512 digest. Raises TimestampFailedError, within the configured time."""
        if not self._breaker.enter():
            raise TimestampFailedError("the authority failed a moment ago")
        self._under_way += 1
        try:
            with _duration_s.time():
                token = await self._asked(digest)
        except TimestampFailedError as error:
            self._breaker.failed()
            _asked.labels("failed").inc()
            _log.warning("timestamp_failed", error=str(error))
            raise
        except BaseException:
            self._breaker.gave_up()
            raise
        finally:
            self._under_way -= 1
        self._breaker.succeeded()
        _asked.labels("granted").inc()
        self._learn(len(token))
        return token

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def _asked(self, digest: bytes) -> bytes:
        nonce = secrets.randbits(63)
        try:
            async with asyncio.timeout(self._place.timeout_s):
                answer = await self._post(_request(digest, nonce))
            response = decode_timestamp_response(answer)
            token = checked_token(response, digest, roots=self._place.roots, nonce=nonce)
        except TimeoutError as error:
            raise TimestampFailedError(f"no answer within {self._place.timeout_s} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise TimestampFailedError(f"{type(error).__name__} {error}"[:300]) from error
        if len(token) > _TOKEN_SIZE_BYTES_MAX:
            raise TimestampFailedError(f"a token of {len(token)} bytes is too long")
        return token

    async def _post(self, request: bytes) -> bytes:
        headers = {"Content-Type": "application/timestamp-query"}
        async with self._http.stream("POST", self._place.url, content=request, headers=headers) as answer:
            answer.raise_for_status()
            content = bytearray()
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > _ANSWER_SIZE_BYTES_MAX:
                    raise TimestampFailedError("the answer is too long")
        return bytes(content)

    def _learn(self, size_bytes: int) -> None:
        """Room for what this authority sends, and no more: tails are kept for ever."""
        wanted = size_bytes + _TOKEN_SLACK_BYTES
        grown = wanted > self._token_size_bytes
        if grown or self._token_size_bytes == _FIRST_TOKEN_SIZE_BYTES:
            self._token_size_bytes = wanted


class _Breaker:
    """After a few failures in a row nobody asks for a while; then one asks, and the others follow if it went well."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._failures = 0
        self._closed_again_at_s = 0.0
        self._trying = False

    def lets_through(self) -> bool:
        if self._failures < _FAILURES_MAX:
            return True
        return not self._trying and self._clock_s() >= self._closed_again_at_s

    def enter(self) -> bool:
        if not self.lets_through():
            return False
        self._trying = self._failures >= _FAILURES_MAX
        return True

    def failed(self) -> None:
        self._failures += 1
        self._trying = False
        self._closed_again_at_s = self._clock_s() + _PAUSE_S * random.uniform(0.8, 1.2)  # noqa: S311 - a delay

    def gave_up(self) -> None:
        self._trying = False

    def succeeded(self) -> None:
        self._failures, self._trying = 0, False


def read_roots(file: Path) -> tuple[x509.Certificate, ...]:
    """The root certificates of timestamp authorities, several in one PEM file. Raises TimestampSettingsError."""
    try:
        return tuple(x509.load_pem_x509_certificates(file.read_bytes()))
    except (OSError, ValueError) as error:
        raise TimestampSettingsError(f"the roots of the timestamp authority cannot be read: {error}") from error


def _request(digest: bytes, nonce: int) -> bytes:
    imprint = tlv(SEQUENCE, _SHA512, tlv(OCTET_STRING, digest))
    return tlv(SEQUENCE, _VERSION_1, imprint, integer(nonce), _WANT_CERTIFICATE)
