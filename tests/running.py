"""The whole service as its own process tree, and a client who walks its line: for journeys, crash and API tests."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from emeterai.accounts.groups_approval import GroupApprovals
from emeterai.infra.database import Database
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.infra.supervise import read_pids
from emeterai.ledger.service import Ledger
from emeterai.partners.organisations import enrol_group
from emeterai.purchase.sandbox import SandboxProvider
from emeterai.purchase.sandbox_words import sandbox_secret

READY_WITHIN_S = 60.0
PORTS = (12_000, 32_000)
_chance = random.SystemRandom()


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now, with the next one free too (the sandbox's).

    Below those that the kernel gives to connections: none of them takes it before whoever asks listens there.
    """
    while True:
        port = _chance.randrange(*PORTS, 2)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


@dataclass
class RunningService:
    """`emeterai serve` on a data folder of its own. `environment` holds EMETERAI_* settings."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def sandbox_url(self) -> str:
        """Where its payment provider answers."""
        return f"http://127.0.0.1:{self.port + 1}"

    @property
    def log(self) -> Path:
        """What all its processes said."""
        return self.folder / "service.log"

    @property
    def data_path(self) -> Path:
        """Its data folder."""
        return self.folder / "var"

    @property
    def database_url(self) -> str:
        """Its database."""
        return self.environment.get("EMETERAI_DATABASE_URL") or EmbeddedPostgres(self.data_path).url()

    async def start(self) -> None:
        """Start it and wait until it is ready; fails with its last words when it is not."""
        self.spawn()
        await self.wait_ready()

    def spawn(self) -> None:
        """Start it and wait for nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("EMETERAI_")}
        environment = {
            **kept,
            "EMETERAI_DATA_DIR": str(self.data_path),
            "EMETERAI_PORT": str(self.port),
            "EMETERAI_LOG_FORMAT": "json",
            **self.environment,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "emeterai", "serve"], env=environment, stdout=log, stderr=log
            )

    async def wait_ready(self, within_s: float = READY_WITHIN_S) -> None:
        """Return when web and sandbox answer and the sealers and the steward run."""
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            try:
                async with asyncio.timeout(within_s):
                    while not await self._is_ready(client):
                        assert self.process is not None
                        assert self.process.poll() is None, self.last_words()
                        await asyncio.sleep(0.1)
            except TimeoutError as error:
                raise AssertionError(self.last_words()) from error

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        try:
            answers = [await client.get(f"{self.base_url}/readyz"), await client.get(f"{self.sandbox_url}/healthz")]
        except httpx.HTTPError:
            return False
        return all(answer.is_success for answer in answers) and {"sealer-1", "steward"} <= set(self.pids())

    def pids(self) -> dict[str, int]:
        """The process ids of its children by name."""
        return read_pids(self.data_path)

    def kill(self, name: str) -> None:
        """Kill -9 one child."""
        os.kill(self.pids()[name], signal.SIGKILL)

    async def stop(self) -> int:
        """Stop it as Ctrl-C would; answers its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGINT)
        code = await asyncio.to_thread(self.process.wait, 30)
        self.process = None
        return code

    def kill_rest(self) -> None:
        """Kill -9 what still runs, when a test has failed: all that it started ends with it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-6000:]

    async def pay(self, pay_url: str) -> None:
        """Play the person at the bank."""
        provider = SandboxProvider(self.sandbox_url, sandbox_secret(self.data_path))
        try:
            await provider.pay(pay_url.rstrip("/").rsplit("/", 1)[-1])
        finally:
            await provider.close()


class Person:
    """Someone with an account, over HTTP. `api` is a client that carries the person's session."""

    def __init__(self, service: RunningService, api: httpx.AsyncClient, contact: str, password: str) -> None:
        self.service = service
        self.api = api
        self.contact = contact
        self.password = password

    @classmethod
    async def sign_up(cls, service: RunningService, *, quota: int = 0) -> Person:
        """A new person, signed in, who has bought `quota`."""
        api = httpx.AsyncClient(base_url=service.base_url, trust_env=False, timeout=40)
        contact, password = f"warga-{secrets.token_hex(6)}@contoh.id", secrets.token_urlsafe(16)
        account = {"name": "Warga Uji", "email": contact, "password": password}
        (await api.post("/v1/accounts", json=account)).raise_for_status()
        session = await api.post("/v1/sessions", json={"contact": contact, "password": password})
        api.headers["Authorization"] = f"Bearer {session.raise_for_status().json()['token']}"
        person = cls(service, api, contact, password)
        if quota:
            await person.buy(quota)
        return person

    async def buy(self, quantity: int) -> dict[str, Any]:
        """Order, pay, and wait until the quota is there; answers the order."""
        before = (await self.quota())["available"]
        answer = await self.api.post("/v1/orders", json={"quantity": quantity})
        order: dict[str, Any] = answer.raise_for_status().json()
        await self.service.pay(order["pay_url"])
        async with asyncio.timeout(READY_WITHIN_S):
            while (await self.quota())["available"] != before + quantity:
                await asyncio.sleep(0.05)
        return order

    async def act_for_organisation(self, name: str) -> None:
        """Found a group that staff approve, and act for it from now on."""
        group = (await self.api.post("/v1/groups", json={"name": name})).raise_for_status().json()
        db = await Database.connect(self.service.database_url, connections_max=1, wait_s=5)
        approvals = GroupApprovals(db, Ledger(db), enrol=enrol_group)
        await approvals.approve(UUID(group["id"]), "Akta diperiksa", by="test")
        await db.close()
        self.api.headers["Emeterai-Account"] = group["id"]

    async def quota(self) -> dict[str, int]:
        """The person's quota now."""
        found: dict[str, int] = (await self.api.get("/v1/quota")).raise_for_status().json()
        return found

    async def stamp(self, file: bytes, *, name: str = "surat.pdf", wait_s: int = 20, **fields: str) -> httpx.Response:
        """Stamp a file in one request; answers whatever came back."""
        headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        files = {"file": (name, file, "application/pdf")}
        return await self.api.post("/v1/stamps", files=files, data=fields, headers=headers)

    async def ended(self, stamp_id: str) -> dict[str, Any]:
        """The stamp when it is sealed or given back."""
        async with asyncio.timeout(READY_WITHIN_S):
            while True:
                answer = await self.api.get(f"/v1/stamps/{stamp_id}", headers={"Prefer": "wait=5"})
                stamp: dict[str, Any] = answer.raise_for_status().json()
                if stamp["state"] != "held":
                    return stamp

    async def close(self) -> None:
        """Hang up."""
        await self.api.aclose()
