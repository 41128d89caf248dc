"""The stage of `emeterai bench lastday`: the service on one core, the crowd on the other, and the people of the day.

Those outside have a process of their own, the room, on the crowd's core: as they would have a machine of their own.
The partner has one as well, the counter, on the service's core: it is the service's work.
So has the payment sandbox: it is the bank, and the service asks it as it would ask a bank elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import string
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any
from uuid import UUID

import httpx
from argon2 import PasswordHasher
from lastday_ears import Ears, Heard
from lastday_partner import ENDS_WITHIN_S, Errand, at_work
from lastday_pulse import Beat, beating, beats_of, unused_s
from lastday_slow import PHONES, Carried, carried_in, relayed
from stamp import cpu_seconds

from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.gate import lane_store
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger
from emeterai.purchase.sandbox_words import sandbox_api_key, sandbox_secret
from papers import letter
from processes import family_of
from running import Person, RunningService, free_port

VUS = 120
"""Neighbourhoods: each has an address of its own, as the waiting room bounds the numbers that one address takes."""
FILE_BYTES = 98_500
THINK_S = 0.5
PARTNER_PER_S = 4
SCRIPTS_EACH = 0.75
"""Requests of scripts for each person who comes; lastday_scripts.js has what they ask for."""
QUOTA_EACH = 3
PASSWORD = "kata sandi hari terakhir"  # noqa: S105 - of people who do not exist
_MARK = b"0123456789abcdef"
_TOKEN_HEAD = 27
_WRONG = re.compile(r"Uncaught|\b(?:Reference|Type|Syntax|Range)Error\b")
_GARBAGE_PERCENT = "400"
"""The generator may hold so much more than it needs: a hundred thousand who wait are much to look through again."""
_PARTNER_QUOTA = 1_000_000


@dataclass(frozen=True)
class Phase:
    """A part of the day. `times` is the multiple of the measured capacity."""

    name: str
    times: float
    seconds: float
    people_per_s: float
    scripts_per_s: float = 0.0


@dataclass
class Sample:
    """What the bench saw of the service in one second. `cpu_s` are processor seconds so far, by role; `unused_s` those
    of its core that nobody had, by why.
    """

    at_s: float
    cpu_s: dict[str, float]
    paces: dict[str, dict[str, Any]] = field(default_factory=dict)
    unused_s: dict[str, float] = field(default_factory=dict)


@dataclass
class Day:
    """One run of the crowd: when it began, its phases, what was heard and seen."""

    began_s: float
    phases: list[Phase]
    heard: Heard
    samples: list[Sample]
    beats: list[Beat] = field(default_factory=list)
    carried: list[Carried] = field(default_factory=list)
    """What went by the lines of phones."""

    def spans(self) -> Iterator[tuple[Phase, float, float]]:
        """Each phase with its beginning and end, in seconds since 1970."""
        at_s = self.began_s
        for phase in self.phases:
            yield phase, at_s, at_s + phase.seconds
            at_s += phase.seconds

    def beat_ms(self, began_s: float, ended_s: float) -> float:
        """What a beat of the service's core cost meanwhile, in seconds since 1970; 0 when none was taken."""
        return fmean([took_ms for at_s, took_ms in self.beats if began_s <= at_s < ended_s] or [0.0])


class Cores:
    """Which core is whose. With one core, or where the system does not say, both share what there is."""

    def __init__(self, *, parted: bool = True) -> None:
        allowed = sorted(os.sched_getaffinity(0))
        self.parted = parted and len(allowed) > 1
        self.service, self.crowd = ({allowed[0]}, {allowed[1]}) if self.parted else (set(allowed), set(allowed))

    @contextmanager
    def of_service(self) -> Iterator[None]:
        """Whatever is started inside the block stays on the service's core."""
        os.sched_setaffinity(0, self.service)
        try:
            yield
        finally:
            os.sched_setaffinity(0, self.crowd)

    def move_to_crowd(self, pid: int) -> None:
        """A process that is running, with all that it has started, goes to the crowd's core."""
        for one in family_of(pid):
            for thread in Path(f"/proc/{one}/task").iterdir():
                with suppress(OSError):  # it has ended meanwhile
                    os.sched_setaffinity(int(thread.name), self.crowd)


class Stage:
    """One service and the crowds that it gets. `gate`: whether its door is on; `room`: those outside, and the
    partner, apart.

    `settings` are what it is told besides (`EMETERAI_...`).
    """

    def __init__(
        self,
        folder: Path,
        ears: Ears,
        cores: Cores,
        *,
        gate: bool,
        room: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        faults = folder / "faults"
        faults.mkdir(parents=True)
        self.folder, self.faults = folder, faults
        self._room_port, self._counter_port = (free_port(), free_port()) if room else (0, 0)
        self.service = RunningService(
            folder / "service",
            {
                "EMETERAI_ROOM_PORT": str(self._room_port),
                "EMETERAI_COUNTER_PORT": str(self._counter_port),
                "EMETERAI_GATE": "on" if gate else "off",
                "EMETERAI_LOG_LEVEL": "warning",
                "EMETERAI_TRUSTED_PROXIES": "127.0.0.0/8",  # the crowd says where it comes from, as behind a proxy
                "PYTHONPATH": str(Path(__file__).with_name("lastday_faulty")),
                "FAULTS_FOLDER": str(faults),
                **(settings or {}),
            },
        )
        self._ears, self._cores = ears, cores
        letters = string.ascii_lowercase + string.digits
        self.seed = "".join(secrets.choice(letters) for _ in range(_TOKEN_HEAD))
        self.people, self._used = 0, 0
        self._partner_key = f"emk_{secrets.token_urlsafe(32)}"
        self.partner = UUID(int=0)
        self._paper = letter(size_bytes=FILE_BYTES, text=_MARK.decode())
        (folder / "letter.pdf").write_bytes(self._paper)

    @asynccontextmanager
    async def open(self, people: int) -> AsyncIterator[Database]:
        """The service, running, with so many people who have accounts; answers a connection of the bench's own."""
        with self._cores.of_service():
            self.service.spawn()
        try:
            await self.service.wait_ready()
            self._cores.move_to_crowd(self.service.pids()["sandbox"])
            if self._room_port:
                await self._answers(self._url(self._room_port))
                await self._answers(self._url(self._counter_port))
                self._cores.move_to_crowd(self.service.pids()["room"])
            db = await Database.connect(self.service.database_url, connections_max=2, wait_s=5)
            try:
                await self._settle_people(db, people)
                yield db
            finally:
                with suppress(Exception):
                    await db.close()
            await self.service.stop()
        finally:
            self.service.kill_rest()

    async def _answers(self, url: str) -> None:
        """Wait for a process that `wait_ready` does not wait for."""
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(60):
            while True:
                with suppress(httpx.HTTPError):
                    if (await client.get(f"{url}/readyz")).is_success:
                        return
                await asyncio.sleep(0.1)

    def _url(self, port: int) -> str:
        """Where a process of its own answers; the one for everybody where there is none."""
        return f"http://127.0.0.1:{port}" if port else self.service.base_url

    async def live(self, db: Database, phases: list[Phase], *, partner: bool = True, **more: str) -> Day:
        """Let the crowd live through the phases, and the partner; `more` are variables of lastday_crowd.js."""
        self._ears.heard = Heard()
        began_s, first = time.time() + 4.0, self._used
        samples: list[Sample] = []
        slow_lines = relayed(self.folder / "carried", self.service.port, size_bytes=FILE_BYTES)
        with slow_lines as lines_url, (self.folder / "crowd.log").open("ab") as log:
            crowd = await asyncio.create_subprocess_exec(
                *self._command(self._environment(phases, began_s, {"LINES": lines_url, **more})),
                stdout=log,
                stderr=log,
                env={**os.environ, "GOGC": _GARBAGE_PERCENT},
            )
            watching = asyncio.create_task(self._watch(db, crowd.pid, samples))
            try:
                with beating(self.folder / "beats", self._cores.of_service), ExitStack() as beside:
                    program = beside.enter_context(at_work(self._errand(phases, began_s))) if partner else None
                    code = await crowd.wait()
                    if program is not None:
                        code = code or await asyncio.to_thread(program.wait, ENDS_WITHIN_S)
            finally:
                watching.cancel()
                if crowd.returncode is None:
                    crowd.kill()
        said = (self.folder / "crowd.log").read_text()
        if code != 0 or _WRONG.search(said):  # an error in a person's script: k6 ends with 0 all the same
            sys.exit(f"the crowd ended with {code}: {said[-2000:]}")
        self._used = first + self._numbers_taken(phases)
        beats, carried = beats_of(self.folder / "beats"), carried_in(self.folder / "carried")
        return Day(began_s, phases, self._ears.heard, samples, beats, carried)

    def _errand(self, phases: Iterable[Phase], began_s: float) -> Errand:
        """What the partner does meanwhile, and four seconds longer."""
        return Errand(
            url=self._url(self._counter_port),
            key=self._partner_key,
            ears_url=self._ears.url,
            letter=str(self.folder / "letter.pdf"),
            mark=self._paper.index(_MARK),
            seed=self.seed,
            began_s=began_s,
            ended_s=began_s + sum(phase.seconds for phase in phases) + 4.0,
            per_s=PARTNER_PER_S,
        )

    def _command(self, environment: dict[str, str]) -> list[str]:
        command = [str(Path(sys.executable).with_name("k6")), "run", "--quiet", "--no-usage-report", "--no-summary"]
        command += ["--no-thresholds", "--local-ips", "127.0.1.1-127.0.1.250"]
        command += [f"--log-output=file={self.folder / 'crowd.log'},level=error"]
        command += [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
        return [*command, str(Path(__file__).with_name("lastday_crowd.js"))]

    def _numbers_taken(self, phases: Iterable[Phase]) -> int:
        """More numbers than people who came: the neighbourhoods do not share one counter."""
        return int(people_of(phases) * 1.3) + VUS * 40

    def _environment(self, phases: list[Phase], began_s: float, more: dict[str, str]) -> dict[str, str]:
        plan, until_s = [], 0.0
        for phase in phases:
            until_s += phase.seconds
            plan.append({"people_per_s": phase.people_per_s, "scripts_per_s": phase.scripts_per_s, "until_s": until_s})
        return {
            "BASE": self.service.base_url,
            "ROOM": self._url(self._room_port),
            "SANDBOX": self.service.sandbox_url,
            "BANK": sandbox_api_key(sandbox_secret(self.service.data_path)),
            "EARS": self._ears.url,
            "PLAN": json.dumps(plan),
            "START": str(int(began_s * 1000)),
            "VUS": str(VUS),
            "FIRST": str(self._used),
            "THINK": str(THINK_S),
            "SEED": self.seed,
            "PASSWORD": PASSWORD,
            "LETTER": str(self.folder / "letter.pdf"),
            "MARK": str(self._paper.index(_MARK)),
            "PHONES": str(PHONES),
            **more,
        }

    async def _settle_people(self, db: Database, count: int) -> None:
        """Accounts, sessions and quota, put in place directly: making accounts is not what is measured."""
        stored = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(PASSWORD)
        await db.fetch(
            """
            INSERT INTO accounts.accounts (id, name, email, password_hash, timezone)
            SELECT gen_random_uuid(), 'Warga', 'warga-' || number || '@contoh.id', $2, 'Asia/Jakarta'
            FROM generate_series(0, $1::int - 1) AS number
            """,
            count,
            stored,
        )
        await db.fetch(
            """
            INSERT INTO accounts.sessions (token_hash, account_id, expires_at)
            SELECT sha256(convert_to('ems_' || $1::text || lpad(split_part(split_part(email, '@', 1), '-', 2), 16, '0'),
                'UTF8')), id, now() + interval '1 day' FROM accounts.accounts WHERE email LIKE 'warga-%'
            """,
            self.seed,
        )
        rows = await db.fetch(
            "SELECT id FROM accounts.accounts WHERE email LIKE 'warga-%'"
            " AND split_part(split_part(email, '@', 1), '-', 2)::int % 2 = 0"
        )
        await self._employ_partner(db)
        gifts = [(row["id"], QUOTA_EACH) for row in rows] + [(self.partner, _PARTNER_QUOTA)]
        ledger = Ledger(db)
        for start in range(0, len(gifts), 1000):
            some = gifts[start : start + 1000]
            await ledger.post(
                [Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, units, account=account) for account, units in some]
            )
        self.people = count

    async def _employ_partner(self, db: Database) -> None:
        """A program with a key, in the partners' lane."""
        person = await Person.sign_up(self.service)
        await person.close()
        self.partner = await db.fetchval("SELECT id FROM accounts.accounts WHERE email = $1", person.contact)
        await db.fetch(
            "INSERT INTO accounts.api_keys (id, token_hash, account_id, label, prefix) VALUES ($1, $2, $3, $4, $5)",
            new_id(),
            sha256(self._partner_key.encode()).digest(),
            self.partner,
            "bench",
            self._partner_key[:8],
        )
        await lane_store.put_account(db, self.partner, "partners")

    async def _watch(self, db: Database, crowd_pid: int, samples: list[Sample]) -> None:
        """A sample each second; while the database is away, without what it knows."""
        while True:
            sample = Sample(time.time(), await asyncio.to_thread(cpu_seconds, self.service))
            sample.cpu_s["generator"], sample.unused_s = cpu_of(crowd_pid), unused_s(self._cores.service)
            with suppress(Exception):
                async with asyncio.timeout(0.5):
                    rows = await db.fetch("SELECT lane, pace::text AS pace FROM gate.paces")
                    sample.paces = {row["lane"]: json.loads(row["pace"]) for row in rows}
            samples.append(sample)
            await asyncio.sleep(max(0.1, 1.0 - (time.time() - sample.at_s)))


def people_of(phases: Iterable[Phase]) -> float:
    """How many people come in these phases."""
    return sum(phase.people_per_s * phase.seconds for phase in phases)


def cpu_of(pid: int) -> float:
    """Processor seconds that one process has used; 0 when it is gone."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
