"""How we speak to payment providers over HTTP: in bounded time, again only what may be repeated, and not at all for a
while when one does not answer.

A provider that is down in a rush must cost nobody more than a moment: after a few failures its circuit is open, every
question is answered with `provider_unavailable` at once, and one question at a time finds out whether it is back.
Until the circuit opens no more than sixteen requests of this process wait for an answer; the others wait a second for
one of these lines and are refused then. They were not asked, so they are no failures of the provider: a rush that it
answers as fast as ever opens no circuit.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import httpx
import msgspec
import structlog

from emeterai.core.refusal import Refused
from emeterai.infra import metrics
from emeterai.infra.tls import trusted
from emeterai.purchase.provider import PROVIDER_UNAVAILABLE, RETRY_AFTER_S

_LINES_MAX = 16
_LIMITS = httpx.Limits(max_connections=_LINES_MAX, max_keepalive_connections=8)
_CONNECT_S = 2.0
_ANSWER_SIZE_BYTES_MAX = 262_144
_OWN_FAULTS = frozenset({401, 403, 429})
"""Answers about us and not about one charge: our key is refused, or we ask too much. No use of asking again at once."""
_Words = TypeVar("_Words")
_log = structlog.get_logger(__name__)
_asked = metrics.counter("emeterai_provider_requests", "Requests to payment providers", ["provider", "outcome"])


@dataclass(frozen=True, slots=True)
class Chance:
    """Time and randomness, as values that a test can replace: seconds that only grow, numbers from 0 to 1, a pause."""

    clock: Callable[[], float] = time.monotonic
    randomness: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often a provider is asked."""

    answer_s: float = 5.0
    """For one request, from its first byte to the last of its answer."""
    tries: int = 3
    """Of a request that may be repeated."""
    pause_s: float = 0.2
    """Before the second try at most; doubled before each further one. The pause is a random part of it."""
    line_s: float = 1.0
    """So long a request waits for one of the lines when all are busy; it does not count in `answer_s`."""
    failures_max: int = 5
    """So many failures in a row open the circuit."""
    rest_s: float = 5.0
    """So long a provider is left alone, between one try and the next, while its circuit is open.

    Shorter than `RETRY_AFTER_S`, so that who tries again when told to finds a provider that is back. A try costs one
    person `answer_s` at most and the provider one request of each process, which is no burden to one that is unwell.
    """


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a provider: the status, and the body as it came."""

    status: int
    body: bytes


class CircuitBreaker:
    """Whether a provider is worth asking, from what its last requests came to. `clock` gives seconds."""

    def __init__(self, patience: Patience, clock: Callable[[], float]) -> None:
        self._patience = patience
        self._clock = clock
        self._failures = 0
        self._rests_until = 0.0

    @property
    def is_healthy(self) -> bool:
        """Whether a request would be let through now."""
        return self._failures < self._patience.failures_max or self._clock() >= self._rests_until

    def admit(self) -> bool:
        """Let a request through, or not. With the circuit open one is let through in each rest, to see."""
        if not self.is_healthy:
            return False
        if self._failures >= self._patience.failures_max:
            self._rests_until = self._clock() + self._patience.rest_s
        return True

    def note(self, *, failed: bool) -> None:
        """Take note of what a request came to: one success closes the circuit."""
        self._failures = self._failures + 1 if failed else 0
        if self._failures >= self._patience.failures_max:
            self._rests_until = self._clock() + self._patience.rest_s


class ProviderHttp:
    """The lines to one provider at `base_url`; `key` is the user name of basic authentication, without a password.

    None is for a provider to which the `headers` prove who asks. Key and headers are in no log, no error and no `repr`.
    Proxies of the environment are not used, redirects not followed.
    """

    def __init__(
        self,
        provider: str,
        base_url: str,
        *,
        key: str | None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        patience: Patience | None = None,
        chance: Chance | None = None,
    ) -> None:
        self._provider = provider
        self._patience = patience or Patience()
        self._chance = chance or Chance()
        self._breaker = CircuitBreaker(self._patience, self._chance.clock)
        self._lines = asyncio.Semaphore(_LINES_MAX)
        self._http = httpx.AsyncClient(
            base_url=base_url,
            auth=httpx.BasicAuth(key, "") if key is not None else None,
            headers={"accept": "application/json", "content-type": "application/json", **(headers or {})},
            timeout=httpx.Timeout(self._patience.answer_s, connect=min(_CONNECT_S, self._patience.answer_s)),
            limits=_LIMITS,
            transport=transport,
            trust_env=False,
            verify=trusted(),
        )

    @property
    def is_healthy(self) -> bool:
        """Whether the provider's circuit lets a request through now."""
        return self._breaker.is_healthy

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def get(self, path: str) -> Reply:
        """Ask a question, again when no answer came. Raises `provider_unavailable`."""
        return await self._ask("GET", path, tries=self._patience.tries)

    async def post(
        self, path: str, content: bytes, *, idempotency_key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Have something done. With an idempotency key the provider does it once, so it is asked again when silent.

        Raises `provider_unavailable`; whether it was done is then unknown.
        """
        key = {"idempotency-key": idempotency_key} if idempotency_key else {}
        tries = self._patience.tries if idempotency_key else 1
        return await self._ask("POST", path, tries=tries, content=content, headers={**(headers or {}), **key})

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        tries: int,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        for attempt in range(tries):
            if attempt:
                await self._chance.sleep(self._patience.pause_s * 2 ** (attempt - 1) * self._chance.randomness())
            async with self._line() as refused:
                if refused is not None:
                    self._count(refused)
                    break
                reply = await self._try(method, path, content=content, headers=headers)
                failed = _is_failure(reply)
                self._breaker.note(failed=failed)
            self._count("failed" if failed else "answered")
            if reply is not None and not failed:
                return reply
            _log.info("provider_failed", provider=self._provider, status=reply.status if reply else None)
            if reply is not None and reply.status in _OWN_FAULTS:
                break
        raise unavailable()

    @asynccontextmanager
    async def _line(self) -> AsyncIterator[str | None]:
        """A line to the provider or, when there is none, why: its circuit is open (`spared`), all are taken (`busy`).

        The circuit is looked at again by those who waited: it may have opened meanwhile.
        """
        if not self._breaker.is_healthy:
            yield "spared"
        elif not await self._is_line_free():
            yield "busy"
        else:
            try:
                yield None if self._breaker.admit() else "spared"
            finally:
                self._lines.release()

    async def _is_line_free(self) -> bool:
        """Take a line as soon as one is free; False when none was within `line_s`."""
        try:
            async with asyncio.timeout(self._patience.line_s):
                return await self._lines.acquire()
        except TimeoutError:
            return False

    async def _try(
        self, method: str, path: str, *, content: bytes | None, headers: Mapping[str, str] | None
    ) -> Reply | None:
        """One request; None when no whole answer came in time, or one that is too large to be one."""
        try:
            async with (
                asyncio.timeout(self._patience.answer_s),
                self._http.stream(method, path, content=content, headers=headers) as response,
            ):
                body = bytearray()
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > _ANSWER_SIZE_BYTES_MAX:
                        return None
                return Reply(response.status_code, bytes(body))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return None

    def _count(self, outcome: str) -> None:
        _asked.labels(self._provider, outcome).inc()


def _is_failure(reply: Reply | None) -> bool:
    return reply is None or reply.status >= httpx.codes.INTERNAL_SERVER_ERROR or reply.status in _OWN_FAULTS


def unavailable() -> Refused:
    """The refusal for a provider that gave no usable answer."""
    return PROVIDER_UNAVAILABLE(retry_after_s=RETRY_AFTER_S)


def event_id_of(word: str, *parts: str) -> str:
    """The id of an event whose provider gives it none: the same for the same `parts`, another when one differs."""
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]
    return f"{word}-{digest}"


def decoded(body: bytes, words: type[_Words]) -> _Words | None:
    """The body as a provider's words, or None when it is something else. Fields that we do not know are passed over.

    A field that is null counts as one that is left out: providers write what has no value in either way.
    """
    try:
        with suppress(msgspec.ValidationError):
            return msgspec.json.decode(body, type=words)
        return msgspec.convert(_without_nulls(msgspec.json.decode(body)), type=words)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _without_nulls(told: object) -> object:
    """What was told, at any depth without the fields that are null."""
    match told:
        case dict():
            return {name: _without_nulls(value) for name, value in told.items() if value is not None}
        case list():
            return [_without_nulls(value) for value in told]
    return told
