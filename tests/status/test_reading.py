"""All lines of a service are verified, page by page; what hides between two pages is found, and reading ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest
from line_chains import KEY, START, chain
from litestar import Litestar, Response, get
from litestar.params import FromQuery

from emeterai.infra.database import Database
from emeterai.status import store
from emeterai.status.lines import Line, SignedLine, SignedLines, joined, sign, verify_lines
from emeterai.status.reading import read_page, verify_service
from emeterai.status.routes import controllers
from emeterai.status.service import PublicLines

SERVICE = "http://lines.example"
COUNT = 2_500


@dataclass
class Holder:
    """What the routes find."""

    lines: PublicLines


@asynccontextmanager
async def served(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who reaches the application."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        yield client


@asynccontextmanager
async def publishing(db: Database, lines: list[SignedLine], *, first: int = 1) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who reaches a service that has published these lines."""
    for number, line in enumerate(lines, first):
        await store.add(db, number, line)
    app = Litestar(list(controllers), openapi_config=None)
    app.state["services"] = Holder(PublicLines(db))
    async with served(app) as client:
        yield client


async def test_every_line_of_a_service_is_verified(db: Database) -> None:
    """More than a page of them, as if all had been read at once; or as far back as somebody asks."""
    lines = chain(COUNT)
    async with publishing(db, lines) as client:
        assert verify_lines(lines) == await verify_service(client, SERVICE)
        recent = await verify_service(client, SERVICE, since=msgspec.json.decode(lines[-1].line, type=Line).at)
        half = await verify_service(client, SERVICE, since=msgspec.json.decode(lines[1_000].line, type=Line).at)
        assert (1_501, COUNT) == (recent.first, recent.last)
        assert (501, COUNT, []) == (half.first, half.last, half.faults)
        assert 1 == (await verify_service(client, SERVICE, since=START)).first
        assert 1_000 == len((await verify_service(client, SERVICE, key="ab" * 32)).faults)


async def test_what_was_rewritten_at_the_edge_of_a_page_is_found(db: Database) -> None:
    """The last line of one page, signed again by whoever holds the key: the first of the next does not follow it."""
    lines = chain(COUNT)
    line = msgspec.structs.replace(msgspec.json.decode(lines[1_499].line, type=Line), bought=11, available=5)
    lines[1_499] = sign(line, KEY)
    async with publishing(db, lines) as client:
        assert ["line 1501 does not follow line 1500"] == (await verify_service(client, SERVICE)).faults


async def test_lines_that_begin_in_the_middle_are_a_fault(db: Database) -> None:
    """Nobody takes away the past; a service without any line has no fault."""
    async with publishing(db, chain(1_200)[150:], first=151) as client:
        proof = await verify_service(client, SERVICE)
    assert (["the lines begin with number 151"], 151, 1_200) == (proof.faults, proof.first, proof.last)


async def test_no_lines_are_no_proof(db: Database) -> None:
    """And no fault."""
    async with publishing(db, []) as client:
        assert verify_lines([]) == await verify_service(client, SERVICE)


@pytest.mark.parametrize("earlier", [lambda before: before, lambda before: before + 5, lambda _: 50])
async def test_a_service_that_goes_round_in_circles_is_left(earlier: Callable[[int], int]) -> None:
    """Each page has to be from before the last one; what was sent twice does not follow itself."""

    @get("/v1/invariants")
    async def lines(before: FromQuery[int] = 101) -> SignedLines:
        return SignedLines(chain(100)[50:], earlier(before))

    async with served(Litestar([lines], openapi_config=None)) as client:
        assert (await verify_service(client, SERVICE)).faults


async def test_reading_ends_when_too_much_is_wrong() -> None:
    """Somebody who sends nonsense for ever fills no memory: with a hundred faults it is no proof of anything."""
    asked: list[int] = []

    @get("/v1/invariants")
    async def lines(before: FromQuery[int] = 10**9) -> SignedLines:
        asked.append(before)
        return SignedLines([SignedLine("{}", "00", "00")] * 60, before - 60)

    async with served(Litestar([lines], openapi_config=None)) as client:
        assert 120 == len((await verify_service(client, SERVICE)).faults)
    assert 2 == len(asked)


async def test_an_answer_without_an_end_is_no_page() -> None:
    """It is left when it is larger than any page."""

    @get("/v1/invariants")
    async def lines() -> dict[str, Any]:
        return {"lines": [], "before": None, "more": "x" * 5_000_000}

    async with served(Litestar([lines], openapi_config=None)) as client:
        with pytest.raises(httpx.HTTPError, match="more than"):
            await read_page(client, f"{SERVICE}/v1/invariants")


@pytest.mark.parametrize("place", [0, 1, 3, 5])
def test_two_parts_prove_what_the_whole_does(place: int) -> None:
    """Wherever the chain is cut, gaps and lines that tell of a broken rule included."""
    lines = chain(5, minutes=10, broken=1)
    assert verify_lines(lines) == joined(verify_lines(lines[:place]), verify_lines(lines[place:]))


@dataclass
class Patience:
    """Somebody who notes how long he is told to wait, and does not."""

    waited_s: list[float]

    async def __call__(self, wait_s: float) -> None:
        """Go on at once."""
        self.waited_s.append(wait_s)


def busy_at_first(answers: list[Response[bytes]], asked: list[int]) -> Litestar:
    """A service that gives these answers first, and then its lines."""

    @get("/v1/invariants")
    async def lines() -> Response[Any]:
        asked.append(len(asked))
        return answers[len(asked) - 1] if len(asked) <= len(answers) else Response(SignedLines(chain(3), None))

    return Litestar([lines], openapi_config=None)


def busy(status: int = 503, **headers: str) -> Response[bytes]:
    """A refusal as a service in a rush, or a proxy before it, says it."""
    return Response(b"", status_code=status, headers={name.replace("_", "-"): text for name, text in headers.items()})


async def test_a_service_in_a_rush_is_asked_again_when_it_says() -> None:
    """By seconds or by a date of its own clock (RFC 9110 section 10.2.3); without either ever more patiently."""
    answers = [
        busy(retry_after="7"),
        busy(429, date="Sat, 21 Nov 2026 10:00:00 GMT", retry_after="Sat, 21 Nov 2026 10:00:30 GMT"),
        busy(),
        busy(retry_after="soon"),
        busy(date="Sat, 21 Nov 2026 10:00:00 GMT", retry_after="Sat, 21 Nov 2026 09:00:00 GMT"),
    ]
    patience, asked = Patience([]), list[int]()
    async with served(busy_at_first(answers, asked)) as client:
        proof = await verify_service(client, SERVICE, pause=patience)
    assert (3, []) == (proof.lines, proof.faults)
    assert [7.0, 30.0, 4.0, 8.0, 0.0] == patience.waited_s


async def test_a_service_that_stays_busy_is_left() -> None:
    """After six questions: that it is busy is no proof of anything, and no fault of its lines."""
    patience, asked = Patience([]), list[int]()
    async with served(busy_at_first([busy()] * 100, asked)) as client:
        with pytest.raises(httpx.HTTPStatusError, match="503"):
            await verify_service(client, SERVICE, pause=patience)
    assert (6, [1.0, 2.0, 4.0, 8.0, 16.0]) == (len(asked), patience.waited_s)


@pytest.mark.parametrize("answer", [busy(retry_after="301"), busy(404), busy(500, retry_after="1")])
async def test_who_cannot_come_back_soon_does_not_wait(answer: Response[bytes]) -> None:
    """More than five minutes is for another day, and what is no rush does not pass by waiting."""
    patience, asked = Patience([]), list[int]()
    async with served(busy_at_first([answer], asked)) as client:
        with pytest.raises(httpx.HTTPStatusError):
            await verify_service(client, SERVICE, pause=patience)
    assert (1, []) == (len(asked), patience.waited_s)
