"""The line to a provider: bounded time, tries with jitter where they do no harm, a circuit that opens and closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from decimal import Decimal

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emeterai.core.refusal import Refused
from emeterai.purchase.provider_http import Chance, CircuitBreaker, Patience, ProviderHttp, decoded, event_id_of

KEY = "kunci-yang-tidak-boleh-bocor"


@dataclass
class Still:
    """A clock that moves only when told to, pauses that are counted, and one fixed number for chance."""

    now_s: float = 0.0
    number: float = 0.5
    pauses_s: list[float] = field(default_factory=list)

    @property
    def chance(self) -> Chance:
        """What the line takes for time and chance."""
        return Chance(clock=lambda: self.now_s, randomness=lambda: self.number, sleep=self._sleep)

    async def _sleep(self, pause_s: float) -> None:
        self.pauses_s.append(pause_s)


@dataclass
class Far:
    """The other end: answers with the statuses in turn, then with the last one for ever; 0 is no answer."""

    statuses: list[int]
    asked: list[httpx.Request] = field(default_factory=list)
    body: bytes = b"{}"

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.asked.append(request)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == 0:
            raise httpx.ReadError("gone")
        return httpx.Response(status, content=self.body)


def line(
    far: Callable[[httpx.Request], httpx.Response] | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]],
    still: Still,
    patience: Patience | None = None,
) -> ProviderHttp:
    """A line to `far`."""
    transport = httpx.MockTransport(far)
    return ProviderHttp(
        "uji", "http://provider.example", key=KEY, transport=transport, patience=patience, chance=still.chance
    )


@pytest.mark.parametrize("failure", [0, 500, 502, 503])
async def test_a_question_is_asked_again_with_longer_pauses_of_which_chance_takes_a_part(failure: int) -> None:
    """Two failures, two pauses, then the answer."""
    far, still = Far([failure, failure, 200]), Still()
    assert 200 == (await line(far, still).get("/status")).status
    assert [0.1, 0.2] == still.pauses_s


async def test_a_request_without_an_idempotency_key_is_made_once() -> None:
    """Nobody knows whether it was done, so it is not done again."""
    far = Far([500])
    with pytest.raises(Refused, match="provider_unavailable"):
        await line(far, Still()).post("/charge", b"{}")
    assert 1 == len(far.asked)


async def test_a_request_with_an_idempotency_key_is_repeated_with_the_same_key_and_the_same_bytes() -> None:
    """500 after it was done: the provider knows the key."""
    far = Far([500, 200])
    await line(far, Still()).post("/charge", b'{"a": 1}', idempotency_key="k")
    assert [("k", b'{"a": 1}')] * 2 == [(one.headers["idempotency-key"], one.content) for one in far.asked]


@pytest.mark.parametrize("status", [200, 201, 400, 404, 406])
async def test_an_answer_is_an_answer(status: int) -> None:
    """A no is not a failure: it is not asked again, and the circuit stays closed."""
    far = Far([status])
    to_far = line(far, Still(), Patience(failures_max=1))
    assert status == (await to_far.get("/status")).status
    assert to_far.is_healthy
    assert 1 == len(far.asked)


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_refused_key_or_too_many_questions_are_failures_that_are_not_repeated_at_once(status: int) -> None:
    """Asking again would make it worse; another provider takes over."""
    far = Far([status])
    to_far = line(far, Still(), Patience(failures_max=1))
    with pytest.raises(Refused, match="provider_unavailable"):
        await to_far.get("/status")
    assert not to_far.is_healthy
    assert 1 == len(far.asked)


async def test_the_circuit_opens_and_then_nobody_is_asked() -> None:
    """Five failures in a row; what follows is refused without a request."""
    far = Far([503])
    to_far = line(far, Still())
    for _ in range(4):
        with pytest.raises(Refused, match="provider_unavailable"):
            await to_far.get("/status")
    assert 5 == len(far.asked)
    assert not to_far.is_healthy


async def test_after_a_rest_one_request_finds_out() -> None:
    """Still down: it rests again. Back: everything goes through."""
    far, still = Far([503] * 6 + [200]), Still()
    to_far = line(far, still)
    for now_s, asked in [(0.0, 3), (0.0, 5), (4.9, 5), (5.0, 6), (9.9, 6)]:
        still.now_s = now_s
        with pytest.raises(Refused, match="provider_unavailable"):
            await to_far.get("/status")
        assert asked == len(far.asked)
    still.now_s = 10.0
    assert [200, 200] == [(await to_far.get("/status")).status for _ in range(2)]


@given(st.lists(st.sampled_from(["fail", "succeed", "wait"]), max_size=60))
def test_an_open_circuit_lets_one_request_through_in_each_rest(story: list[str]) -> None:
    """Whatever came before: five failures in a row and no more than one probe until the rest is over."""
    clock = Still()
    breaker = CircuitBreaker(Patience(), lambda: clock.now_s)
    in_a_row = 0
    for step in story:
        if step == "wait":
            clock.now_s += Patience().rest_s
        elif breaker.admit():
            if in_a_row >= 5:
                assert not breaker.admit()
            breaker.note(failed=step == "fail")
            in_a_row = in_a_row + 1 if step == "fail" else 0
        else:
            assert in_a_row >= 5


@dataclass
class Hung:
    """The other end: takes every request and answers none until it is told to."""

    answers: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[httpx.Request] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request, in the end."""
        self.asked.append(request)
        await self.answers.wait()
        return httpx.Response(200)

    async def has_all_lines(self) -> None:
        """Wait until so many requests are there as may wait at once."""
        while len(self.asked) < 16:
            await asyncio.sleep(0)


async def test_while_sixteen_wait_for_an_answer_a_further_one_is_refused_and_is_no_failure() -> None:
    """It was not asked, so nothing is known of the provider: its circuit stays closed, though one failure opens it."""
    hung = Hung()
    to_hung = line(hung, Still(), Patience(failures_max=1, line_s=0.01))
    waiting = [asyncio.create_task(to_hung.get("/status")) for _ in range(16)]
    await hung.has_all_lines()
    for _ in range(3):
        with pytest.raises(Refused, match="provider_unavailable"):
            await to_hung.get("/status")
    assert 16 == len(hung.asked)
    assert to_hung.is_healthy
    hung.answers.set()
    assert [200] * 16 == [reply.status for reply in await asyncio.gather(*waiting)]
    assert 200 == (await to_hung.get("/status")).status


async def test_in_a_rush_that_is_answered_those_who_wait_for_a_line_get_one() -> None:
    """Three times as many as there are lines."""
    hung = Hung()
    to_hung = line(hung, Still(), Patience(line_s=60.0))
    waiting = [asyncio.create_task(to_hung.get("/status")) for _ in range(48)]
    await hung.has_all_lines()
    hung.answers.set()
    assert [200] * 48 == [reply.status for reply in await asyncio.gather(*waiting)]


async def test_who_waited_for_a_line_until_the_circuit_opened_is_spared() -> None:
    """The first of the sixteen that fails opens it; those behind them do not hang as well, however late it is seen."""
    hung = Hung()
    to_hung = line(hung, Still(), Patience(answer_s=0.05, tries=1, failures_max=1, line_s=60.0))
    answers = await asyncio.gather(*(to_hung.get("/status") for _ in range(48)), return_exceptions=True)
    assert [True] * 48 == [isinstance(answer, Refused) for answer in answers]
    assert 16 == len(hung.asked)


async def test_a_provider_that_drips_is_not_waited_for() -> None:
    """Each byte comes in time, the whole does not: the time is for all of it."""

    async def drops() -> AsyncIterator[bytes]:
        for _ in range(50):
            await asyncio.sleep(0.01)
            yield b" "

    def drip(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=drops())

    with pytest.raises(Refused, match="provider_unavailable"):
        await line(drip, Still(), Patience(answer_s=0.05, tries=1)).get("/status")


async def test_an_answer_without_end_is_not_kept() -> None:
    """Beyond 256 KiB it is no answer."""
    far = Far([200], body=b"x" * 262_145)
    with pytest.raises(Refused, match="provider_unavailable"):
        await line(far, Still()).get("/status")


async def test_the_key_is_sent_and_told_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    """It is the user name of basic authentication; no log, refusal or `repr` shows it."""
    far = Far([401])
    to_far = line(far, Still())
    with pytest.raises(Refused) as refused:
        await to_far.get("/status")
    (asked,) = far.asked
    assert httpx.BasicAuth(KEY, "")._auth_header == asked.headers["authorization"]
    out, err = capfd.readouterr()
    assert KEY not in f"{refused.value!r}{refused.value.facts}{to_far!r}{out}{err}"


def test_an_event_has_the_same_id_only_when_every_part_is_the_same() -> None:
    """Parts are kept apart, and the id is printable and short."""
    assert event_id_of("m", "a", "b") == event_id_of("m", "a", "b")
    assert 3 == len({event_id_of("m", "a", "b"), event_id_of("m", "ab", ""), event_id_of("m", "a", "c")})
    assert len(event_id_of("midtrans", *["x" * 1000] * 9)) <= 100


class Part(msgspec.Struct, frozen=True):
    """A part of what a provider tells."""

    name: str = "none"


class Told(msgspec.Struct, frozen=True):
    """What a provider tells."""

    amount: Decimal
    currency: str = "IDR"
    parts: list[Part] = []


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b'{"amount": "10000.10", "currency": "USD"}', Told(Decimal("10000.10"), "USD")),
        (b'{"amount": 10000, "currency": null, "parts": null, "new": null}', Told(Decimal(10_000))),
        (b'{"amount": "10000.10", "parts": [{"name": null}]}', Told(Decimal("10000.10"), parts=[Part()])),
        (b'{"amount": null}', None),
        (b'{"amount": "10000", "currency": 7}', None),
        (b'{"amount": "10000", "parts": [null]}', None),
        (b"null", None),
        (b"[" * 5_000, None),
        (b'{"amount": 1, "currency": null, "new": ' + b"[" * 300 + b"]" * 300 + b"}", Told(Decimal(1))),
    ],
)
def test_a_field_that_is_null_counts_as_one_that_is_left_out(body: bytes, read: Told | None) -> None:
    """Providers write what has no value in either way; what has to be there has to be there."""
    assert read == decoded(body, Told)
