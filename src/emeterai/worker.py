"""The roles behind the web: the sealer, which walks documents and stamps to their end, and the steward: the sweeps."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import structlog

from emeterai.accounts.service import Accounts
from emeterai.app import blob_store, database_url, kept_passwords, programme_secrets
from emeterai.audits import AUDITS
from emeterai.core.refusal import Refused
from emeterai.gate.bearers import FORGET_EVERY_S, forget_numbers
from emeterai.gate.callers import callers_of
from emeterai.gate.calls import CALL_EVERY_S, Calls
from emeterai.gate.conductor import MOVE_EVERY_S, Conductor
from emeterai.gate.controller import Controller, Paces, report, settled_reader
from emeterai.gate.lanes import Lane, Lanes
from emeterai.gate.now import NowFiles
from emeterai.gate.room_routes import gate_folder
from emeterai.gate.room_store import fold_counts
from emeterai.infra import jobs, metrics, roster
from emeterai.infra.bus import Bus
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.garbage import collect_seldom
from emeterai.infra.ids import new_id
from emeterai.infra.interruption import INTERRUPTIONS
from emeterai.infra.lasting import lasting
from emeterai.infra.one_fault import DATA_REFUSED
from emeterai.infra.partitions import MonthlyTable, keep_partitions
from emeterai.infra.predecessors import dead_workers, living_worker
from emeterai.infra.secrets import local_secret
from emeterai.infra.settings import Settings
from emeterai.infra.worker_loop import work_on
from emeterai.ledger.channels import SerialChannels
from emeterai.ledger.serials import SerialRegister
from emeterai.ledger.service import Ledger
from emeterai.partners.jobs import SWEEP_EVERY_S as PARTNERS_SWEPT_EVERY_S
from emeterai.partners.jobs import sweep_partners
from emeterai.partners.programme_jobs import programme_work
from emeterai.partners.service import Partners
from emeterai.purchase.choosing import payment_providers
from emeterai.purchase.jobs import SWEEP_EVERY_S, sweep_orders, sweep_returns
from emeterai.purchase.provider import PaymentProvider
from emeterai.purchase.service import Purchase
from emeterai.purchase.vouchers import SWEEP_EVERY_S as VOUCHERS_SWEPT_EVERY_S
from emeterai.purchase.vouchers import sweep_vouchers
from emeterai.purchase.watch import MEASURED_EVERY_S, measure_money
from emeterai.seal.rotation import KeyWatch
from emeterai.sealing import key_place, level_wanted, opened_engine, patiently_loaded
from emeterai.stamping.documents import Documents
from emeterai.stamping.endings import Endings
from emeterai.stamping.jobs import KINDS, sealer_work, steward_work
from emeterai.stamping.journey import Journey
from emeterai.stamping.levels import Levels
from emeterai.stamping.orphans import Orphans
from emeterai.status.service import Invariants

BATCH_MAX = 16
BATCHES_AT_ONCE = 2
WAITING_BATCH_MAX = 64
"""With a timestamp authority seals wait for the network more than for the machine, so more of them wait together."""
_ASK_IF_DUE_S = 2.0
"""Looks and audits have their own pace, on record for all stewards; so often each asks whether it is its turn."""
_DATABASE_RETRY_S = 0.5
_AWAY = (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError)
_log = structlog.get_logger(__name__)
_queue = metrics.gauge_latest("emeterai_jobs_waiting", "Jobs by kind", ["kind"])
_queue_age_s = metrics.gauge_latest("emeterai_jobs_oldest_seconds", "Age of the oldest job by kind", ["kind"])
_holds_overdue_s = metrics.gauge_latest("emeterai_holds_overdue_seconds", "How long the oldest open hold is over")
_swept = metrics.counter("emeterai_steward_swept", "Things that the steward put right", ["task"])
_failed = metrics.counter("emeterai_steward_failures", "Sweeps that ended with an error", ["task"])
Task = Callable[[], Awaitable[object]]


async def run_sealer(settings: Settings) -> None:
    """Inspect and seal until SIGTERM. The only process that holds the sealing key."""
    roster.here("sealer")
    async with _parts(settings) as (db, bus), AsyncExitStack() as stack:
        place, blobs, wanted = key_place(settings), blob_store(settings), level_wanted(settings)
        signer = await patiently_loaded(place)
        engine = await stack.enter_async_context(opened_engine(settings, signer))
        watch = KeyWatch(place, signer, use=engine.use, clock=utc_now)
        stack.callback(watch.close)
        endings = Endings(db, bus, Ledger(db, bus.publish), SerialRegister(db), level_wanted=wanted)
        journey = Journey(
            db,
            blobs,
            bus,
            endings,
            engine,
            passwords=kept_passwords(db, settings),
            base_url=settings.base_url,
            attempts_max=settings.seal_attempts_max,
            clock=utc_now,
        )
        levels = Levels(db, blobs, bus, engine, level_wanted=wanted, clock=utc_now) if settings.timestamp_url else None
        kinds = sealer_work(journey, levels)
        batch_max = WAITING_BATCH_MAX if settings.timestamp_url else BATCH_MAX
        worker, colleagues = new_id(), settings.data_path / "workers"
        stack.enter_context(living_worker(colleagues, worker))
        lanes = Lanes(db, bus)
        await lanes.start()
        stack.push_async_callback(lanes.close)
        await _take_over(db, colleagues)
        work = work_on(
            db,
            bus,
            kinds,
            worker=worker,
            batch_max=batch_max,
            lease_s=settings.lease_s,
            batches_at_once=BATCHES_AT_ONCE,
            shares=lanes.shares,
        )
        telling = report(db, new_id(), settled_reader())
        collect_seldom()
        await _until_told_to_stop(_together(sealing=work, key_watch=watch.run(), telling=telling))


async def run_steward(settings: Settings) -> None:
    """Run every sweep at its own pace until SIGTERM. Several stewards at once do no harm."""
    roster.here("steward")
    async with _parts(settings) as (db, bus), AsyncExitStack() as stack:
        providers = payment_providers(settings)
        for provider in providers:
            stack.push_async_callback(provider.close)
        await _until_told_to_stop(_run_all(_tasks(settings, db, bus, providers)))


def _tasks(
    settings: Settings, db: Database, bus: Bus, providers: list[PaymentProvider]
) -> dict[str, tuple[float, Task]]:
    """Every sweep of the steward by its name: after how many seconds it is repeated, and what it does."""
    ledger, blobs, passwords = Ledger(db, bus.publish), blob_store(settings), kept_passwords(db, settings)
    documents = Documents(
        db,
        blobs,
        bus,
        passwords,
        size_bytes_max=settings.document_size_bytes_max,
        upload_life_s=settings.upload_life_s,
    )
    endings, orphans = Endings(db, bus, ledger, SerialRegister(db)), Orphans(db, blobs, clock=utc_now)
    purchase = Purchase(db, ledger, settings, providers=providers)
    partners = Partners(db, ledger, SerialChannels(db))
    secret = local_secret(settings.data_path / "secrets", "invariants")
    every_s, audit_every_s = settings.invariants_every_s, settings.audit_every_s
    lanes = Lanes(db, bus)
    paces = Paces(db, lanes)

    async def is_crowded() -> bool:
        await lanes.look()
        await paces.look()
        return any(paces.now(lane).waiting for lane in lanes.now)

    invariants = Invariants(
        db, secret=secret, every_s=every_s, audit_every_s=audit_every_s, audits=AUDITS, is_crowded=is_crowded
    )
    controller = Controller(db, lanes, process=new_id())
    return {
        **steward_work(db, documents, endings, passwords, orphans),
        "sweep_orders": (SWEEP_EVERY_S, lambda: sweep_orders(purchase)),
        "sweep_returns": (SWEEP_EVERY_S, lambda: sweep_returns(purchase)),
        "measure_money": (MEASURED_EVERY_S, lambda: measure_money(db)),
        "sweep_vouchers": (VOUCHERS_SWEPT_EVERY_S, lambda: sweep_vouchers(db)),
        "sweep_partners": (PARTNERS_SWEPT_EVERY_S, lambda: sweep_partners(partners)),
        "decide_paces": (1.0, controller.second),
        **_line_tasks(settings, db, bus),
        **programme_work(db, ledger, programme_secrets(settings)),
        "sweep_sessions": (60.0, Accounts(db, session_life_s=settings.session_life_s).sweep),
        "measure_queues": (5.0, lambda: _measure_queues(db)),
        "audit_everything": (_ASK_IF_DUE_S, invariants.audit_if_due),
        "watch_invariants": (_ASK_IF_DUE_S, invariants.minute),
        "keep_partitions": (3_600.0, lambda: keep_partitions(db, _monthly_tables(settings))),
    }


def _line_tasks(settings: Settings, db: Database, bus: Bus) -> dict[str, tuple[float, Task]]:
    """What moves the waiting rooms' lines and calls those who left."""
    lanes, files = Lanes(db, bus), NowFiles(gate_folder(settings) / "now")
    paces, calls = Paces(db, lanes), Calls(db, files, callers_of(settings))

    async def lanes_now() -> Mapping[str, Lane]:
        await lanes.look()
        await paces.look()
        return lanes.now

    secret = local_secret(settings.data_path / "secrets", "gate")
    conductor = Conductor(
        db, files, lanes=lanes_now, controller=paces.admissions, secret=secret, calls_offered=calls.offered
    )
    return {
        "move_lines": (MOVE_EVERY_S, conductor.move),
        "call_people": (CALL_EVERY_S, calls.call_due),
        "fold_counts": (3_600.0, lambda: fold_counts(db)),
        "forget_numbers": (FORGET_EVERY_S, lambda: forget_numbers(db)),
    }


def _monthly_tables(settings: Settings) -> list[MonthlyTable]:
    """What only grows: transfers for ever, the raw words of notifications for some months (docs/decisions/0013)."""
    bodies = MonthlyTable("purchase", "notification_bodies", months_kept=settings.notification_months_kept)
    return [MonthlyTable("ledger", "transfers"), bodies]


async def _take_over(db: Database, colleagues: Path) -> None:
    """Free what dead workers of this data folder held. When that fails, their leases run out as anybody's."""
    with suppress(Refused, *INTERRUPTIONS), dead_workers(colleagues) as dead:
        for worker in dead:
            await jobs.hand_back_all(db, worker)
            _log.info("took_over", worker=str(worker))


@asynccontextmanager
async def _parts(settings: Settings) -> AsyncIterator[tuple[Database, Bus]]:
    """The database and the bus, which every role needs."""
    url = database_url(settings)
    db = await _connect(url, settings)
    bus = Bus(url)
    await bus.start()
    try:
        yield db, bus
    finally:
        await bus.close()
        await db.close()


async def _connect(url: str, settings: Settings) -> Database:
    """The database, waited for as long as it is away: a role that starts while it restarts must not give up."""
    while True:
        try:
            return await Database.connect(
                url, connections_max=settings.database_connections, wait_s=settings.database_wait_s
            )
        except _AWAY as error:
            _log.warning("database_away", error=type(error).__name__, retry_s=_DATABASE_RETRY_S)
            await asyncio.sleep(_DATABASE_RETRY_S)


async def _together(**works: Coroutine[Any, Any, None]) -> None:
    """All of them until one ends; then none."""
    async with asyncio.TaskGroup() as group:
        for name, work in works.items():
            group.create_task(lasting(name, work))


async def _run_all(tasks: dict[str, tuple[float, Task]]) -> None:
    async with asyncio.TaskGroup() as group:
        for name, (every_s, task) in tasks.items():
            _failed.labels(name)
            group.create_task(lasting(name, _repeat(name, every_s, task)))


async def _repeat(name: str, every_s: float, task: Task) -> None:
    """Run a sweep now and again. A sweep that fails is logged and tried again: it must never end the others."""
    while True:
        try:
            done = await task()
            if isinstance(done, int) and done:
                _swept.labels(name).inc(done)
        except Exception as error:  # noqa: BLE001 - a bug in one sweep must not stop the sweeps that give quota back
            _failed.labels(name).inc()
            if isinstance(error, (Refused, *INTERRUPTIONS)) and not isinstance(error, DATA_REFUSED):
                _log.warning("sweep_interrupted", task=name, error=type(error).__name__)
            else:
                _log.exception("sweep_failed", task=name)
        await asyncio.sleep(every_s)


async def _measure_queues(db: Database) -> None:
    depths = await jobs.queue_depths(db)
    overdue = await Ledger(db).expired_holds(1)
    _holds_overdue_s.set(max(0.0, (utc_now() - overdue[0].expires_at).total_seconds()) if overdue else 0.0)
    for kind in KINDS:
        waiting, oldest_s = depths.get(kind, (0, 0.0))
        _queue.labels(kind).set(waiting)
        _queue_age_s.labels(kind).set(oldest_s)


async def _until_told_to_stop(work: Awaitable[None]) -> None:
    """Run `work` until SIGTERM or SIGINT; what it was doing it hands back, or it is found again by its lease."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    task = asyncio.ensure_future(work)
    told = asyncio.create_task(stop.wait())
    await asyncio.wait([task, told], return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    else:
        task.result()
