"""Passes for longer. Renewed by use, so that whoever works inside is not sent to the line in the middle of it.

A program asks for it (`POST /gate/{lane}/passes`). A browser cannot, so the door does it: an answer to the holder of a
pass that is past half its life carries the renewed one. Both by the same rules, and never beyond the two hours; one to
finish never beyond two hours after it was last certain that something is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from uuid import UUID

from litestar.types import HTTPResponseStartEvent, Message, Send

from emeterai.core.refusal import Refused
from emeterai.gate.bearers import Bearers
from emeterai.gate.carrying import PASS_HEADER
from emeterai.gate.passes import PASS_OF_ANOTHER, PASS_REVOKED, Pass, Passes, Revoked, opens_nothing, room_path
from emeterai.gate.sorting import SESSION, Needs, Sort, session_of
from emeterai.infra.interruption import INTERRUPTIONS, is_lost
from emeterai.web import paths

RENEWS_WITHIN_S = 1.0
"""No answer is kept waiting for longer than this for the sake of a pass: the next one may carry it."""
_TOLD_WITHIN_S = 0.4
"""So long the database has to say whether something is under way: who is signed in was asked in the same second."""
_AGAIN_S = 30.0
_REMEMBERED_MAX = 20_000
_NOT_SHARED = frozenset({b"no-store", b"private"})
"""RFC 9111, 5.2.2: no shared cache keeps such an answer. One of `no-cache` is kept, with its cookies, and shown to
others once it was asked about.
"""
Headers = Iterable[tuple[bytes, bytes]]
Renew = Callable[[Pass, Mapping[bytes, bytes]], Awaitable[str]]
"""The `Set-Cookie` of a renewed pass for the request with these headers, or nothing."""
Lengthen = Callable[[object, Sort, Mapping[bytes, bytes], Send], Send]
"""The way of answering a request that came with a valid pass."""


async def never_renewed(_held: Pass, _headers: Mapping[bytes, bytes]) -> str:
    """No pass is renewed: where nobody is known."""
    return ""


def as_it_is(_held: object, _sort: Sort, _headers: Mapping[bytes, bytes], send: Send) -> Send:
    """Answers go as they are."""
    return send


class Renewing:
    """The rules. `in_flight` says who has money or a unit under way."""

    def __init__(self, passes: Passes, bearers: Bearers, in_flight: Callable[[UUID], Awaitable[bool]]) -> None:
        self._passes = passes
        self._bearers = bearers
        self._in_flight = in_flight

    async def shown(
        self, text: str, lane: str, account_id: UUID | None, *, now_s: int, revoked: Revoked
    ) -> Pass | None:
        """The pass behind a text, for longer where it may be; None when it is not good and a ticket must be shown.

        Raises `pass_revoked`, `pass_of_another`.
        """
        used = self._passes.read(text)
        if used is None or used.lane != lane or now_s >= used.until_s:
            return None
        if opens_nothing(used, revoked):
            raise PASS_REVOKED()
        if account_id is not None and used.is_bound and used.holder != self._passes.holder_of(account_id):
            raise PASS_OF_ANOTHER(room=room_path(lane))
        if account_id is not None and not used.is_bound:
            return None
        return await self.longer(used, account_id, now_s) or used

    async def longer(self, used: Pass, account_id: UUID | None, now_s: int) -> Pass | None:
        """A pass that is good and not withdrawn, for longer; None when it is young, or its stay is over.

        One to finish is renewed while something is under way; of copies of one of nobody that are shown too often none.
        """
        if not self._passes.is_due(used, now_s):
            return None
        if used.finish:
            return await self._to_finish(used, account_id, now_s)
        longer = self._passes.renewed(used, now_s)
        if longer is None or longer.is_bound:
            return longer
        try:
            await self._bearers.let_in(longer, now_s=now_s, instead=used)
        except Refused:
            return None
        return longer

    async def has_in_flight(self, account_id: UUID) -> bool:
        """Whether something is under way. While the database is away nobody can tell, and the line's word stands; while
        it is merely busy whoever asks is told so: to call it their turn or not would be a guess. Raises `service_busy`.
        """
        try:
            return await self._in_flight(account_id)
        except INTERRUPTIONS:
            return False
        except Refused as refused:
            if is_lost(refused.__cause__):
                return False
            raise

    async def _to_finish(self, used: Pass, account_id: UUID | None, now_s: int) -> Pass | None:
        """While the database is away, when nobody can tell who is signed in either, nobody is sent off who had
        something under way when it last answered: not before a stay is over since then.
        """
        try:
            async with asyncio.timeout(_TOLD_WITHIN_S):
                if account_id is None:
                    await self._bearers.ask()
                    return None
                is_under_way = await self._in_flight(account_id)
        except (Refused, *INTERRUPTIONS):
            return self._passes.renewed(used, now_s)
        return self._passes.confirmed(used, now_s) if is_under_way else None


class RenewedByUse:
    """What the door does for browsers. `renew` is set once the application knows who is signed in."""

    def __init__(self, passes: Passes, *, now_s: Callable[[], float] = time.time) -> None:
        self.renew: Renew = never_renewed
        self._passes = passes
        self._now_s = now_s
        self._known: OrderedDict[tuple[Pass, bytes], tuple[str, float]] = OrderedDict()

    def watched(self, held: object, sort: Sort, headers: Mapping[bytes, bytes], send: Send) -> Send:
        """The way of answering a request with this pass: as it was while the pass is young, which costs a comparison.

        What only waits for news is a page left open, and no use; whoever signs in may be another than the one whose
        pass this is. A pass in the header is a program's, which asks.
        """
        if not isinstance(held, Pass) or sort.needs is not Needs.WORK or PASS_HEADER in headers:
            return send
        if not self._passes.is_due(held, int(self._now_s())):
            return send

        async def send_renewed(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._add(held, headers, message)
            await send(message)

        return send_renewed

    async def _add(self, held: Pass, headers: Mapping[bytes, bytes], start: HTTPResponseStartEvent) -> None:
        said = list(start["headers"])
        if is_served(start["status"], said) and is_for_one(said) and not changes_session(said):
            cookie = await self._cookie(held, headers)
            if cookie:
                start["headers"] = [*said, (b"set-cookie", cookie.encode())]

    async def _cookie(self, held: Pass, headers: Mapping[bytes, bytes]) -> str:
        """The renewed pass of this session. Who shows the old one again, or several at once, gets the same again."""
        key, now_s = (held, session_of(headers)), self._now_s()
        known = self._known.get(key)
        if known is not None and now_s < known[1]:
            return known[0]
        cookie = ""
        with contextlib.suppress(Refused, *INTERRUPTIONS):
            async with asyncio.timeout(RENEWS_WITHIN_S):
                cookie = await self.renew(held, headers)
        if not cookie and key in self._known:  # another answer of this session was told meanwhile
            return self._known[key][0]
        self._known[key] = cookie, held.until_s if cookie else now_s + _AGAIN_S
        self._known.move_to_end(key)
        if len(self._known) > _REMEMBERED_MAX:
            self._known.popitem(last=False)
        return cookie


def is_served(status: int, headers: Headers) -> bool:
    """Whether an answer serves whoever asked: no refusal, and no way to sign in first."""
    to_sign_in = status >= 300 and dict(headers).get(b"location", b"").startswith(paths.SIGN_IN.encode())
    return status < 400 and not to_sign_in


def is_for_one(headers: Headers) -> bool:
    """Whether an answer says itself that no cache keeps it for others."""
    said = b",".join(value for name, value in headers if name.lower() == b"cache-control").lower()
    return not _NOT_SHARED.isdisjoint(word.strip() for word in said.split(b",")) and b"public" not in said


def changes_session(headers: Headers) -> bool:
    """Whether an answer signs somebody in or out."""
    return any(name.lower() == b"set-cookie" and SESSION in value for name, value in headers)
