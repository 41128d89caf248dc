"""The server in front of the door takes up more than the door promises, and outlives requests that are too large."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path
from typing import Any

import httpx
import pytest
from granian.constants import HTTPModes

from emeterai import serve
from emeterai.core.admission import PATIENCE
from emeterai.core.limiting import AdaptiveLimit
from emeterai.gate import bodies, late_bodies
from emeterai.gate.door import ENTRIES_MAX, STRANGERS_MAX, WAITERS_MAX
from emeterai.infra.settings import Settings
from running import RunningService

_LANES = 3


def listening(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, Any]:
    """How the server of the web processes is asked for."""
    asked: dict[str, Any] = {}

    class Server:
        def __init__(self, _target: str, **said: Any) -> None:
            asked.update(said)

        def serve(self) -> None:
            """Serve nobody."""

    monkeypatch.setattr(serve, "Granian", Server)
    serve.serve_web(Settings(data_dir=str(folder), web_processes=2))
    return asked


def test_the_server_takes_up_more_than_the_door_promises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All places of a web process, with lines of full length in some lanes; one connection is one request."""
    waiting = sum(patience.length_max for patience in PATIENCE.values())
    places = bodies.PLACES_MAX + late_bodies.PLACES_MAX + WAITERS_MAX + ENTRIES_MAX + STRANGERS_MAX
    asked = listening(monkeypatch, tmp_path)
    assert asked["backpressure"] > AdaptiveLimit()._ceiling + _LANES * waiting + places
    assert HTTPModes.http1 == asked["http"]


@pytest.mark.parametrize(
    ("before", "after"),
    [((1_024, 50_000), (9_216, 50_000)), ((1_024, 4_096), (4_096, 4_096)), ((20_000, 50_000), None)],
)
def test_a_web_process_may_have_as_many_connections_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: tuple[int, int], after: tuple[int, int] | None
) -> None:
    """As far as the system allows; what it has already is not taken from it."""
    found: list[object] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: before)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: found.append(limits))
    listening(monkeypatch, tmp_path)
    assert ([after] if after else []) == found


@pytest.mark.parametrize(("allowed", "connections"), [(50_000, 8_192), (9_216, 8_192), (4_096, 3_072), (1_024, 256)])
def test_connections_leave_enough_files_for_all_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, allowed: int, connections: int
) -> None:
    """Where the system allows few, a process full of connections could open neither its database nor a blob."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, allowed))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert connections == listening(monkeypatch, tmp_path)["backpressure"]


@pytest.mark.parametrize("flood", [b"X: " + b"x" * 1_000_000, b"\r\n".join(b"X-%d: x" % one for one in range(20_000))])
async def test_a_flood_of_headers_is_refused_and_the_service_goes_on(service: RunningService, flood: bytes) -> None:
    """Answered with 4xx, or hung up on."""
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        try:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + flood + b"\r\n\r\n")
            line = await asyncio.wait_for(reader.readline(), 10)
        except ConnectionError:
            line = b""
        writer.close()
        assert not line or line.split()[1].startswith(b"4")
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False) as client:
        assert 200 == (await client.get("/healthz")).status_code


async def test_http_2_in_the_clear_is_not_spoken(service: RunningService) -> None:
    """With it one connection could be any number of requests."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    try:
        said = await asyncio.wait_for(reader.read(100), 10)
    except ConnectionError:
        said = b""
    writer.close()
    assert not said or said.startswith(b"HTTP/1.1 4")
