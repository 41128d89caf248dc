"""`emeterai bench stamp`: whole stamps a second over HTTP, 100 KB files, k6 on the same cores, beside pgbench TPC-B.

Everything is real: sign-in, upload, inspection, hold, seal, read-back, settle. The load generator's own processor time
counts against the result, as it runs on the same machine.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import resource
import secrets
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from figures import Figures, parser, rate
from prometheus_client.parser import text_string_to_metric_families

from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.postgres import EmbeddedPostgres, embedded_bin_dir
from emeterai.ledger.check import check_ledger
from emeterai.ledger.service import Ledger
from papers import letter
from running import Person, RunningService

PEOPLE = 200
FILE_BYTES = 98_500
QUOTA_EACH = 100_000
_MARK = b"0123456789abcdef"
Metrics = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Load:
    """What the load generator is asked for. `rate` 0 means as fast as `vus` requests under way can go."""

    seconds: float
    vus: int
    rate: int
    road: str = "request"


def main() -> None:
    """Measure and print."""
    options = parser(__doc__ or "")
    options.add_argument("--vus", type=int, default=32, help="requests under way at saturation")
    options.add_argument("--rate", type=int, default=0, help="stamps a second asked for, instead of saturation")
    options.add_argument("--road", choices=("request", "tus"), default="request", help="one request a stamp, or upload")
    chosen = options.parse_args()
    load = Load(chosen.seconds or 20.0, chosen.vus, chosen.rate, chosen.road)
    with tempfile.TemporaryDirectory(prefix="emeterai-bench-") as name:
        Path(name).chmod(0o755)
        asyncio.run(measure(Figures(as_json=chosen.json), Path(name), load))


async def measure(figures: Figures, folder: Path, load: Load) -> None:
    """Start the service, load it, audit it, and measure the yardsticks on the same server."""
    service = RunningService(folder)
    await service.start()
    db = await Database.connect(service.database_url, connections_max=2, wait_s=5)
    try:
        people = await rich_people(service, db)
        before = cpu_seconds(service)
        measured = await asyncio.to_thread(run_k6, service, folder, people, load)
        spent = {name: cpu - before.get(name, 0.0) for name, cpu in cpu_seconds(service).items()}
        stages = await stage_ms(service)
        tpcb = await asyncio.to_thread(pgbench_tps, service, min(10.0, load.seconds))
        report = await check_ledger(db)
    finally:
        await db.close()
        await service.stop()
    sealed, refused = measured.get("sealed", {}).get("count", 0), measured.get("refused", {}).get("count", 0)
    show(figures, measured, spent, sealed / load.seconds, tpcb)
    for name, (mean_ms, whole_ms) in stages.items():
        figures.say(f"stage: {name}", mean_ms, "ms", yardstick="all stages", yardstick_value=whole_ms)
    figures.note(f"sealed {sealed}, refused {refused}; the ledger: used {report.used}, held {report.held}")
    if not report.holds_true or report.used < sealed:
        sys.exit("the ledger and the answers do not agree")


def show(figures: Figures, measured: Metrics, spent: dict[str, float], per_s: float, tpcb: float) -> None:
    """Print the rate, the times, and where the processor's time went."""
    signing_ms = 1e3 / rate(functools.partial(sign, rsa.generate_private_key(65537, 2048)), 1.0)
    figures.say("whole stamp over HTTP, 100 KB", per_s, "stamps/s", yardstick="pgbench TPC-B/s", yardstick_value=tpcb)
    for share in ("med", "p(95)", "p(99)", "max"):
        took_ms = measured.get("stamp_ms", {}).get(share, 0.0)
        figures.say(
            f"one stamp, {share}", took_ms, "ms", yardstick="one RSA-2048 signature", yardstick_value=signing_ms
        )
    both_cores_ms = (os.cpu_count() or 1) * 1e3 / per_s if per_s else 0.0
    for name, cpu in sorted(spent.items(), key=lambda item: -item[1]):
        cpu_ms = cpu / measured["sealed"]["count"] * 1e3 if per_s else 0.0
        if cpu_ms >= 0.01:
            figures.say(
                f"CPU a stamp: {name}", cpu_ms, "ms", yardstick="all cores a stamp", yardstick_value=both_cores_ms
            )


async def stage_ms(service: RunningService) -> dict[str, tuple[float, float]]:
    """How long each stage of the work took on average, waits included, and all of them together; the longest first."""
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False) as client:
        text = (await client.get("/metrics")).raise_for_status().text
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "emeterai_stage_seconds_sum":
                sums[sample.labels["stage"]] = sample.value
            elif sample.name == "emeterai_stage_seconds_count":
                counts[sample.labels["stage"]] = sample.value
    means_ms = {name: sums[name] / count * 1e3 for name, count in counts.items() if count}
    whole_ms = sum(means_ms.values())
    return {name: (mean, whole_ms) for name, mean in sorted(means_ms.items(), key=lambda item: -item[1])}


def sign(key: rsa.RSAPrivateKey) -> bytes:
    """The signature that every stamp needs at least."""
    return key.sign(b"0" * 64, padding.PKCS1v15(), hashes.SHA512())


async def rich_people(service: RunningService, db: Database) -> list[str]:
    """API tokens of people with plenty of quota; the quota is credited directly, buying is not what is measured."""
    people: list[Person] = []
    while len(people) < PEOPLE:
        people += await asyncio.gather(*(Person.sign_up(service) for _ in range(min(8, PEOPLE - len(people)))))
        await asyncio.sleep(1.0)  # more newcomers a second would be a surge, and be sent to the waiting room
    tokens = [str(person.api.headers["Authorization"]).removeprefix("Bearer ") for person in people]
    rows = await db.fetch("SELECT id FROM accounts.accounts")
    await Ledger(db).post(
        [Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, QUOTA_EACH, account=row["id"]) for row in rows]
    )
    for person in people:
        await person.close()
    return tokens


def run_k6(service: RunningService, folder: Path, people: list[str], load: Load) -> Metrics:
    """Run the load and answer its metrics by name."""
    paper = letter(size_bytes=FILE_BYTES, text=_MARK.decode())
    (folder / "people.json").write_text(json.dumps(people))
    (folder / "letter.pdf").write_bytes(paper)
    environment = {
        "PEOPLE": str(folder / "people.json"),
        "LETTER": str(folder / "letter.pdf"),
        "MARK": str(paper.index(_MARK)),
        "BASE": service.base_url,
        "DURATION": f"{int(load.seconds)}s",
        "VUS": str(load.vus),
        "ROAD": load.road,
        "SEED": secrets.token_hex(4),
        **({"RATE": str(load.rate)} if load.rate else {}),
    }
    k6 = Path(sys.executable).with_name("k6")
    command = [str(k6), "run", "--quiet", "--no-usage-report", f"--summary-export={folder / 'summary.json'}"]
    command += [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
    subprocess.run([*command, str(Path(__file__).with_name("stamp.js"))], check=True, stdout=subprocess.DEVNULL)
    found: Metrics = json.loads((folder / "summary.json").read_text())["metrics"]
    return found


def pgbench_tps(service: RunningService, seconds: float) -> float:
    """TPC-B of pgbench on the same server, 16 clients, scale 10."""
    server = EmbeddedPostgres(service.data_path)
    pgbench = embedded_bin_dir() / "pgbench"
    subprocess.run([str(pgbench), "-i", "-q", "-s", "10", server.admin_url()], check=True, capture_output=True)
    command = [str(pgbench), "-c", "16", "-j", "1", "-T", str(int(seconds)), "-M", "prepared", server.admin_url()]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"tps = ([\d.]+)", said)
    assert found is not None, said
    return float(found.group(1))


def cpu_seconds(service: RunningService) -> dict[str, float]:
    """Processor seconds that each role, its openers, and the load generators that have ended, have used so far."""
    ticks = os.sysconf("SC_CLK_TCK")
    parents: dict[int, tuple[int, float]] = {}
    openers: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if b"emeterai.seal.opener" in (entry / "cmdline").read_bytes():
                    openers.add(int(entry.name))
            except OSError:
                continue
            used_ticks = sum(int(fields[index]) for index in (11, 12, 13, 14))
            parents[int(entry.name)] = (int(fields[1]), used_ticks / ticks)
    roles = {pid: name for name, pid in service.pids().items() if name != "supervisor"}
    generators = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = {"generator": generators.ru_utime + generators.ru_stime}
    for pid, (_, own) in parents.items():
        at = pid
        while at in parents and at not in roles:
            at = parents[at][0]
        if at in roles:
            name = f"{roles[at]}, its opener" if pid in openers else roles[at]
            used[name] = used.get(name, 0.0) + own
    return used


if __name__ == "__main__":
    main()
