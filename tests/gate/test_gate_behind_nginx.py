"""The sample of docs/gate.md as it stands, run by nginx before a service: a room outlives whoever answers for it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from waiting_people import OPEN, changed, publish

from emeterai.gate.lanes import Lane, Lanes
from emeterai.gate.now import NowFiles
from emeterai.infra.bus import Bus
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from processes import asleep, family_of
from programs import need_program
from running import RunningService, free_port

GUIDE = Path(__file__).parents[2] / "docs" / "gate.md"
CAMPAIGN, DRAWN = "cpns-2026", "pppk-2026"
FILES = "/srv/emeterai/var/gate/now"
PLACES = "error_log stderr; pid {0}/pid; events {{ }} http {{ access_log off; " + " ".join(
    f"{kind}_temp_path {{0}}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)
"""What a system's own configuration has around the sample."""
ALL = {"cache-control": "public, max-age=1, stale-while-revalidate=1", "content-type": "application/json"}


def sample(folder: Path, *, ports: dict[str, int], files: Path) -> str:
    """The sample with other places and ports, and without a certificate."""
    found = re.search(r"```nginx\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found is not None
    text = found[1]
    for old, new in {
        "/var/cache/nginx/room": f"{folder}/cache",
        FILES: str(files),
        "listen 443 ssl;": f"listen 127.0.0.1:{ports['443']};",
        **{f"127.0.0.1:{port};": f"127.0.0.1:{ports[port]};" for port in ("8080", "8090", "8100")},
        "127.0.0.1:8080 backup;": f"127.0.0.1:{ports['8080']} backup;",
    }.items():
        assert old in text
        text = text.replace(old, new)
    return PLACES.format(folder) + text + "}\n"


@contextlib.contextmanager
def nginx(folder: Path, service: RunningService, apart: tuple[int, int], *, files: Path) -> Iterator[httpx.AsyncClient]:
    """The sample before a service inside the block, `apart` being its room and its counter; answers a client of it."""
    program = need_program("nginx", "nginx-light")
    folder.mkdir()
    folder.chmod(0o755)
    ports = {"443": free_port(), "8080": service.port, "8090": apart[0], "8100": apart[1]}
    (folder / "nginx.conf").write_text(sample(folder, ports=ports, files=files))
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports['443']}", trust_env=False, timeout=10)
        assert running.poll() is None, (folder / "log").read_text()
    finally:
        running.terminate()
        running.wait(20)


@dataclass(frozen=True)
class Proxied:
    """A service with a room, and two proxies: one that has its files, one on another machine, which has none."""

    service: RunningService
    near: httpx.AsyncClient
    far: httpx.AsyncClient


@pytest.fixture
async def proxied(short_folder: Path) -> AsyncIterator[Proxied]:
    """All of them, running."""
    need_program("nginx", "nginx-light")
    home, apart = Path(tempfile.mkdtemp(dir=short_folder)), (free_port(), free_port())
    home.chmod(0o755)  # the embedded database and nginx run as somebody else
    settings = dict(zip(("EMETERAI_ROOM_PORT", "EMETERAI_COUNTER_PORT"), map(str, apart), strict=True))
    service = RunningService(home / "proxied", settings)
    await service.start()
    files, none = service.data_path / "gate" / "now", home / "no-files"
    try:
        with (
            nginx(home / "near", service, apart, files=files) as near,
            nginx(home / "far", service, apart, files=none) as far,
        ):
            for client in (near, far):
                await answered(client, "/gate/retail.json")
                await answered(client, "/gate/retail")
            yield Proxied(service, near, far)
            await asyncio.gather(near.aclose(), far.aclose())
    finally:
        await service.stop()


async def answered(client: httpx.AsyncClient, path: str) -> httpx.Response:
    """The first good answer."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await client.get(path)
                if answer.is_success:
                    return answer
            await asyncio.sleep(0.1)


async def make_lane(service: RunningService, name: str, *, opens_at: datetime | None = None) -> None:
    """What an operator does while all runs."""
    db, bus = await Database.connect(service.database_url, connections_max=1, wait_s=5), Bus(service.database_url)
    await bus.start()
    try:
        lanes = Lanes(db, bus)
        await lanes.look()
        await lanes.change(Lane(name=name, title="CPNS 2026", opens_at=opens_at), by="test", seen=0)
    finally:
        await bus.close()
        await db.close()


def of_cache(answer: httpx.Response) -> dict[str, str]:
    """What an answer says to caches and readers."""
    return {name: answer.headers[name] for name in ALL}


async def test_a_lane_made_while_running_is_handed_out_from_its_file(proxied: Proxied) -> None:
    """With the headers that caches want, from both proxies, and by the near one when nothing of the service runs."""
    service, near, far = proxied.service, proxied.near, proxied.far
    await make_lane(service, CAMPAIGN)
    await make_lane(service, DRAWN, opens_at=utc_now() + timedelta(days=1))
    for client in (near, far):
        answer = await answered(client, f"/gate/{CAMPAIGN}.json")
        assert ALL == of_cache(answer)
        assert CAMPAIGN == answer.json()["lane"]
        assert "nosniff" == answer.headers["x-content-type-options"]
        assert 1 == len(answer.headers.get_list("cache-control"))
        page = await answered(client, f"/gate/{CAMPAIGN}")
        assert "public, max-age=60, stale-while-revalidate=600" == page.headers["cache-control"]
        assert 404 == (await client.get("/gate/tidak-ada.json")).status_code
        assert 400 == (await client.get("/gate/..%2f..%2fsecrets%2fgate.json")).status_code
    taken = await near.post(f"/gate/{CAMPAIGN}/tickets", json={})
    assert 201 == taken.status_code, taken.text
    await answered(near, f"/gate/{DRAWN}/undian?nomor=7")
    assert 0 == await service.stop()
    assert 502 == (await near.get("/masuk")).status_code
    await asyncio.sleep(1.5)  # what a cache kept for its second is old now
    for client in (near, far):
        assert ALL == of_cache(await client.get(f"/gate/{CAMPAIGN}.json"))
        assert 200 == (await client.get(f"/gate/{CAMPAIGN}?dari=poster")).status_code
    for asked, status in (("nomor=7&x=1", 200), ("x=1&nomor=7&nomor=8", 200), ("nomor=8", 502), ("x=1", 502)):
        assert status == (await near.get(f"/gate/{DRAWN}/undian?{asked}")).status_code, asked
    publish(service.data_path / "gate", changed(OPEN, lane=CAMPAIGN, now_serving=4_711))
    assert 4_711 == (await near.get(f"/gate/{CAMPAIGN}.json")).json()["now_serving"]


async def test_programs_with_keys_are_sent_to_the_counter(proxied: Proxied) -> None:
    """By their header alone: they are answered while the web process of people stands still, and people are not."""
    service, near = proxied.service, proxied.near
    counter = httpx.AsyncClient(base_url=f"http://127.0.0.1:{service.environment['EMETERAI_COUNTER_PORT']}")
    await answered(counter, "/readyz")
    await counter.aclose()
    with asleep(family_of(service.pids()["web"])):
        assert 401 == (await near.get("/v1/quota", headers={"authorization": "Bearer emk_nobody"})).status_code
        with pytest.raises(httpx.TimeoutException):
            await near.get("/v1/quota", headers={"authorization": "Bearer ems_nobody"}, timeout=1)


def test_whoever_made_the_folder_first_a_proxy_gets_at_the_files(tmp_path: Path) -> None:
    """Beside them are secrets, which stay closed; somebody else may still not look around there."""
    gate = tmp_path / "gate"
    gate.mkdir(mode=0o700)
    files = NowFiles(gate / "now")
    files.clear()
    publish(gate, OPEN)
    modes = [path.stat().st_mode & 0o777 for path in (gate, gate / "now", files.path("retail"))]
    assert [0o711, 0o644] == [modes[0], modes[2]]
    assert 0o111 == modes[1] & 0o111
