"""The `emeterai` command. With --json a command prints one JSON object; exit codes are in each command's help."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvloop

from emeterai import __version__
from emeterai.app import database_url
from emeterai.audits import check_all
from emeterai.cli_bench import add_bench
from emeterai.cli_gate import add_gate
from emeterai.cli_office import add_office
from emeterai.core.refusal import Refused
from emeterai.core.serial import SerialBlock, is_serial
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.logs import configure_logging
from emeterai.infra.migrate import MigrationError
from emeterai.infra.postgres import PostgresError, forget_elsewhere
from emeterai.infra.secrets import local_secret
from emeterai.infra.settings import Settings, SettingsError, load_settings
from emeterai.infra.supervise import EXIT_WILL_NOT_GET_BETTER, SupervisorError
from emeterai.ledger.check import check_ledger
from emeterai.plan import add_plan, planned
from emeterai.purchase.sandbox import SandboxProvider
from emeterai.purchase.sandbox_words import sandbox_secret
from emeterai.seal.mark_file import MarkFileError
from emeterai.seal.model import Box, SealOrder
from emeterai.seal.service import SealEngine, SignerError, load_signer_from
from emeterai.sealing import key_place, open_reader, opened_engine
from emeterai.serve import serve, serve_counter, serve_room, serve_sandbox, serve_web
from emeterai.status.lines import Proof, SignedLines, verify_lines
from emeterai.status.reading import read_page, verify_service
from emeterai.walkthrough import WalkthroughError, walk
from emeterai.worker import run_sealer, run_steward

EXIT_NOT_GENUINE, EXIT_REFUSED = 1, 3
"""`verify` and `ledger check` answer 1 for "no"; a refused file is 3; what an operator must mend is 78."""
_FOR_THE_OPERATOR = (SettingsError, SupervisorError, PostgresError, MigrationError, SignerError, MarkFileError, OSError)
Handler = Callable[[argparse.Namespace, Settings], Coroutine[Any, Any, int]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; answers its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments, load_settings()))
    except Refused as refused:
        _print_refusal(refused, as_json=getattr(arguments, "json", False))
        return EXIT_REFUSED
    except _FOR_THE_OPERATOR as error:
        print(f"emeterai: {error}", file=sys.stderr)
        return EXIT_WILL_NOT_GET_BETTER
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="emeterai", description="Electronic revenue stamps: sell, affix, verify.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_roles(commands)
    _add_files(commands)
    add_office(commands)
    add_gate(commands)
    add_plan(commands).set_defaults(run=_plan)
    ledger = commands.add_parser("ledger", help="the books").add_subparsers(required=True, metavar="COMMAND")
    check = ledger.add_parser("check", help="audit every invariant; exit 0 only if all hold, 1 if not")
    check.add_argument("--json", action="store_true", help="print one JSON object")
    check.set_defaults(run=_in_loop(_check))
    invariants = commands.add_parser("invariants", help="the signed public lines")
    proof = invariants.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "verify", help="exit 0 only if the lines are signed, chained, add up and tell of no broken rule, 1 if not"
    )
    proof.add_argument(
        "source", metavar="FILE|URL", help="a saved /v1/invariants, or where the service is: all its lines"
    )
    proof.add_argument("--key", help="the public key that you trust, in hex; without it the lines' own")
    proof.add_argument("--since", type=_moment, help="read back to this time only, such as 2026-11-21T00:00Z")
    proof.add_argument("--json", action="store_true", help="print one JSON object")
    proof.set_defaults(run=_in_loop(_verify_lines))
    add_bench(commands)
    return parser


def _add_roles(commands: Any) -> None:
    everything = commands.add_parser("serve", help="all roles in one process tree, until Ctrl-C")
    everything.add_argument("--walk", metavar="PDF", type=Path, help="stamp this file over HTTP once all is ready")
    everything.add_argument("--out", metavar="FOLDER", type=Path, default=None, help="where the stamped file goes")
    everything.add_argument("--once", action="store_true", help="stop after --walk")
    everything.set_defaults(run=_in_loop(_serve))
    for name, server, text in (
        ("web", serve_web, "one role: pages and API"),
        ("room", serve_room, "one role: a web process of its own for those outside"),
        ("counter", serve_counter, "one role: a web process of its own for programs with keys"),
        ("sandbox", serve_sandbox, "one role: the sandbox payment provider"),
    ):
        commands.add_parser(name, help=text).set_defaults(run=_server(server))
    for name, role, text in (
        ("sealer", run_sealer, "one role: inspect and seal"),
        ("steward", run_steward, "one role: sweeps and audits"),
    ):
        commands.add_parser(name, help=text).set_defaults(run=_role(role))
    forget = commands.add_parser("forget", help="before deleting the data folder: remove what was put elsewhere for it")
    forget.set_defaults(run=_forget)


def _add_files(commands: Any) -> None:
    seal = commands.add_parser("seal", help="seal a PDF without a server; exit 0 sealed, 3 refused")
    seal.add_argument("source", metavar="IN", type=Path)
    seal.add_argument("target", metavar="OUT", type=Path)
    seal.add_argument("--page", type=int, help="from 1; the last page without it")
    seal.add_argument("--box", type=_box, help="x0,y0,x1,y1 in points on the page as seen, origin bottom left")
    seal.add_argument("--place", default="auto", help="a preset place instead of a box")
    seal.add_argument("--password", type=_text, help="opens a locked PDF, which stays locked")
    seal.add_argument("--serial", type=_serial, help="a 22-character serial; a fresh specimen without it")
    inspect = commands.add_parser("inspect", help="can this file be sealed? exit 0 yes, 3 refused")
    inspect.add_argument("source", metavar="IN", type=Path)
    inspect.add_argument("--password", type=_text, help="opens a locked PDF")
    verify = commands.add_parser("verify", help="exit 0 genuine and unchanged, 1 not")
    verify.add_argument("source", metavar="FILE", type=Path)
    for command, handler in ((seal, _seal), (inspect, _inspect), (verify, _verify)):
        command.add_argument("--json", action="store_true", help="print one JSON object")
        command.set_defaults(run=_in_loop(handler))


def _text(argument: str) -> str:
    """An argument that is text. Raises ArgumentTypeError for bytes that are none in this locale."""
    try:
        argument.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError("this is not text in UTF-8") from error
    return argument


def _in_loop(handler: Handler) -> Callable[[argparse.Namespace, Settings], int]:
    return lambda arguments, settings: asyncio.run(handler(arguments, settings))


def _server(serve: Callable[[Settings], None]) -> Callable[[argparse.Namespace, Settings], int]:
    def run(_: argparse.Namespace, settings: Settings) -> int:
        serve(settings)
        return 0

    return run


def _role(role: Callable[[Settings], Coroutine[Any, Any, None]]) -> Callable[[argparse.Namespace, Settings], int]:
    def run(_: argparse.Namespace, settings: Settings) -> int:
        configure_logging(settings.log_format, settings.log_level)
        uvloop.run(role(settings))
        return 0

    return run


async def _serve(arguments: argparse.Namespace, settings: Settings) -> int:
    if arguments.walk and not arguments.walk.is_file():
        raise SupervisorError(f"there is no file {arguments.walk}; name one: make run FILE=your.pdf")
    configure_logging(settings.log_format, settings.log_level)

    async def errand(settings: Settings) -> bool:
        went_well = await _walk(settings, arguments.walk, arguments.out or settings.data_path / "stamped")
        if went_well and not arguments.once:
            _say(f"serving at {settings.base_url} - Ctrl-C stops everything")
            await asyncio.Event().wait()
        return went_well

    went_well = await serve(settings, errand=errand if arguments.walk else None)
    return 0 if went_well else 1


async def _walk(settings: Settings, file: Path, folder: Path) -> bool:
    provider = SandboxProvider(settings.sandbox_url, sandbox_secret(settings.data_path))
    local_url = f"http://{settings.host}:{settings.port}"

    async def pay(pay_url: str) -> None:
        await provider.pay(pay_url.rstrip("/").rsplit("/", 1)[-1])

    try:
        walked = await walk(local_url, file, folder, pay=pay, say=_say)
    except WalkthroughError as error:
        _say(f"{error.id}\n{error.en}")
        return False
    finally:
        await provider.close()
    _say(f"stamped file: {walked.sealed}\nanyone can check it: {walked.verify_url}")
    return walked.outcome == "genuine"


def _say(text: str) -> None:
    print(text, flush=True)


def _forget(_: argparse.Namespace, settings: Settings) -> int:
    forget_elsewhere(settings.data_path)
    return 0


async def _seal(arguments: argparse.Namespace, settings: Settings) -> int:
    serial = arguments.serial or _specimen_serial(settings)
    signer = load_signer_from(key_place(settings))
    async with opened_engine(settings, signer) as engine:
        order = SealOrder(
            serial=serial,
            verify_url=f"{settings.base_url}/v/{serial}",
            sealed_at=utc_now().astimezone(UTC),
            page=arguments.page,
            box=arguments.box,
            place=arguments.place,
            duty_idr=settings.duty_idr,
            password=arguments.password,
        )
        with tempfile.TemporaryDirectory(prefix="emeterai-seal-") as folder:
            base, repaired = await _sealable(engine, arguments.source, arguments.password, Path(folder))
            if order.box is None:
                found = await engine.placement(base, order)
                order = msgspec.structs.replace(order, page=found.page, box=found.box)
            made = await engine.seal(base, order)
            arguments.target.write_bytes(base.read_bytes() + made.tail)
    signer.close()
    facts = {
        "serial": serial,
        "page": made.page,
        "box": made.box,
        "level": made.level,
        "size_bytes": made.sealed_size_bytes,
        "sha256": made.sealed_sha256.hex(),
        "original_sha256": made.original_sha256.hex(),
        "repaired": repaired,
    }
    said = "its structure was damaged and has been mended; " if repaired else ""
    _print(facts, f"{said}sealed as {serial} on page {made.page}: {arguments.target}", as_json=arguments.json)
    return 0


async def _sealable(engine: SealEngine, source: Path, password: str | None, folder: Path) -> tuple[Path, bool]:
    """The file itself, or what repair makes of it, kept in `folder`; and which of the two."""
    report = await engine.inspect(source, password=password)
    if not report.repaired:
        return source, False
    repaired = folder / "repaired.pdf"
    repaired.write_bytes(await engine.repair(source, password=password))
    return repaired, True


async def _inspect(arguments: argparse.Namespace, settings: Settings) -> int:
    reader = await open_reader(settings)
    try:
        report = await reader.inspect(arguments.source, password=arguments.password)
    finally:
        await reader.close()
    can = "can be sealed after repair" if report.repaired else "can be sealed"
    text = f"{arguments.source.name}: {report.pages} page(s), PDF {report.pdf_version}, {can}"
    facts = {name: value for name, value in msgspec.structs.asdict(report).items() if name != "plan"}
    _print(facts, text, as_json=arguments.json)
    return 0


async def _verify(arguments: argparse.Namespace, settings: Settings) -> int:
    reader = await open_reader(settings)
    try:
        report = await reader.verify(arguments.source)
    finally:
        await reader.close()
    serials = ", ".join(stamp.serial for stamp in report.stamps) or "no stamp"
    _print(report, f"{arguments.source.name}: {report.outcome} ({serials})", as_json=arguments.json)
    return 0 if report.outcome == "genuine" else EXIT_NOT_GENUINE


async def _check(arguments: argparse.Namespace, settings: Settings) -> int:
    db = await Database.connect(database_url(settings), connections_max=1, wait_s=settings.database_wait_s)
    try:
        report = await check_ledger(db)
        report = msgspec.structs.replace(report, rules=[*report.rules, *await check_all(db)])
    finally:
        await db.close()
    lines = [f"{'holds' if rule.broken == 0 else f'BROKEN {rule.broken} times'}  {rule.name}" for rule in report.rules]
    total = (
        f"bought {report.bought} = available {report.available} + held {report.held} + used {report.used} "
        f"+ refunded {report.refunded}  ({report.transfers} transfers, {report.serials} serials)"
    )
    facts = {**msgspec.to_builtins(report), "holds_true": report.holds_true}
    _print(facts, "\n".join([*lines, total]), as_json=arguments.json)
    return 0 if report.holds_true else EXIT_NOT_GENUINE


async def _verify_lines(arguments: argparse.Namespace, _: Settings) -> int:
    try:
        proof = await _proof_of(arguments.source, key=arguments.key, since=arguments.since)
    except (msgspec.DecodeError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise OSError(f"cannot read public lines from {arguments.source}: {error}") from error
    by = f"key {arguments.key}" if arguments.key else f"their own key {', '.join(proof.keys)}: compare it"
    text = (
        f"{proof.lines} lines, number {proof.first} to {proof.last}, {proof.since} to {proof.until}; signed by {by}\n"
        f"{proof.gaps} gaps; {proof.broken} lines tell of a broken rule"
    )
    _print(proof, "\n".join([text, *(f"WRONG  {fault}" for fault in proof.faults)]), as_json=arguments.json)
    return 0 if proof.lines and not proof.faults and not proof.broken else EXIT_NOT_GENUINE


async def _proof_of(source: str, *, key: str | None, since: datetime | None) -> Proof:
    """Of all lines of a service, or of those of one answer: a saved one, or the one at an address."""
    if not source.startswith(("http://", "https://")):
        saved = msgspec.json.decode(await asyncio.to_thread(Path(source).read_bytes), type=SignedLines)
        return verify_lines(saved.lines, key=key)
    async with httpx.AsyncClient(timeout=30) as client:
        if "/v1/invariants" not in source:
            return await verify_service(client, source, key=key, since=since)
        return verify_lines((await read_page(client, source)).lines, key=key)


def _plan(arguments: argparse.Namespace, _: Settings) -> int:
    plan, text = planned(arguments, now=utc_now())
    _print(plan, text, as_json=arguments.json)
    return 0


def _specimen_serial(settings: Settings) -> str:
    """A serial for a file sealed without a server: well formed, and of no block that any register knows."""
    block = SerialBlock(0, local_secret(settings.data_path / "secrets", "specimen-serials"), 2**63)
    return block.serial(time.time_ns())


def _serial(text: str) -> str:
    if not is_serial(text):
        raise argparse.ArgumentTypeError("a serial has 22 characters A-Z0-9, the last one a check character")
    return text


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("a time is such as 2026-11-21T00:00Z") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _box(text: str) -> Box:
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError("a box is x0,y0,x1,y1") from error
    return Box(x0, y0, x1, y1)


def _print(facts: Any, text: str, *, as_json: bool) -> None:
    print(msgspec.json.encode(facts).decode() if as_json else text)


def _print_refusal(refused: Refused, *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(refused.as_dict()).decode())
    else:
        print(f"{refused.id}\n{refused.en}", file=sys.stderr)
