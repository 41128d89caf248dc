"""A renewed pass goes on answers to its holder's work, and never on one that signs somebody in or out."""

from __future__ import annotations

import time
from typing import Any

import pytest

from emeterai.gate.passes import PASS_LIFE_S, Pass, Passes
from emeterai.gate.renewing import RenewedByUse
from emeterai.gate.sorting import Sort, sort_of

COOKIE = b"emeterai_pass=longer"
SESSION = b"emeterai_session=ems_other; Path=/"


def sort(method: str, path: str) -> Sort:
    """The sort of a request that the door judges."""
    found = sort_of(method, path)
    assert found is not None
    return found


async def cookies(asked: Sort, *said: bytes) -> list[bytes]:
    """The cookies of an answer that sets these, to a request with a pass past half its life."""
    now_s = int(time.time())
    old = Pass("retail", 7, b"1" * 12, now_s - PASS_LIFE_S + 60, now_s + 60)
    by_use, sent = RenewedByUse(Passes(b"s" * 32)), list[Any]()

    async def renew(*_: object) -> str:
        return COOKIE.decode()

    async def send(message: Any) -> None:
        sent.append(message)

    by_use.renew = renew
    headers = [(b"cache-control", b"no-store"), *((b"set-cookie", value) for value in said)]
    answer: Any = {"type": "http.response.start", "status": 200, "headers": headers}
    await by_use.watched(old, asked, {b"cookie": b"emeterai_session=ems_mine"}, send)(answer)
    return [value for name, value in sent[0]["headers"] if name == b"set-cookie"]


@pytest.mark.parametrize(
    ("method", "path", "said", "expected"),
    [
        ("POST", "/beli", (), [COOKIE]),
        ("POST", "/beli", (b"language=id",), [b"language=id", COOKIE]),
        ("POST", "/masuk", (SESSION,), [SESSION]),
        ("POST", "/masuk", (), []),
        ("POST", "/keluar", (SESSION,), [SESSION]),
    ],
)
async def test_who_signs_in_or_out_gets_nobodys_pass(
    method: str, path: str, said: tuple[bytes, ...], expected: list[bytes]
) -> None:
    """On a phone that two people share the next one would hold the pass of the one before."""
    assert expected == await cookies(sort(method, path), *said)
