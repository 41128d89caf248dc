"""The commands of the office: what whoever runs the service does at its console, such as saying who is staff."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from emeterai.accounts.groups_approval import GROUPS_A_PAGE_MAX, GroupApprovals
from emeterai.accounts.service import Accounts
from emeterai.accounts.staff import ACCOUNT_UNKNOWN, Role, Staff
from emeterai.app import database_url
from emeterai.core.ordering import order_number
from emeterai.infra.database import Database
from emeterai.infra.settings import Settings, load_settings
from emeterai.ledger.channels import SerialChannels
from emeterai.ledger.service import Ledger
from emeterai.partners.organisations import enrol_group
from emeterai.partners.service import PARTNERS_A_PAGE_MAX, PartnerKind, Partners
from emeterai.purchase.service import Purchase
from emeterai.purchase.settlement_files import LoadReport, MissingOrder, SettlementFiles
from emeterai.purchase.settlement_formats import FORMATS

Told = tuple[Any, str]
"""What a command says: its facts for --json, and the same in words."""
Office = Callable[[argparse.Namespace, Database], Awaitable[Told]]


def add_office(commands: Any) -> None:
    """Add every command of the office to the parser's `commands`."""
    _add_staff(commands)
    _add_groups(commands)
    _add_partners(commands)
    _add_settlements(commands)


def add_command(commands: Any, name: str, work: Office, text: str) -> argparse.ArgumentParser:
    """Add one command that works on the database and says what it did; gives its parser, for its arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=lambda arguments, settings: asyncio.run(_run(work, arguments, settings)))
    return parser


def done_by() -> str:
    """Who sits at the console, as the records say it."""
    return f"console: {getpass.getuser()}"


async def _run(work: Office, arguments: argparse.Namespace, settings: Settings) -> int:
    db = await Database.connect(database_url(settings), connections_max=1, wait_s=settings.database_wait_s)
    try:
        facts, text = await work(arguments, db)
    finally:
        await db.close()
    sys.stdout.write(f"{msgspec.json.encode(facts).decode() if arguments.json else text}\n")
    return 0


def _add_staff(commands: Any) -> None:
    staff = commands.add_parser("staff", help="who does the issuer's own work")
    verbs = staff.add_subparsers(required=True, metavar="COMMAND")
    for name, work, text in (
        ("grant", _grant, "give an account a role"),
        ("revoke", _revoke, "take a role away; it holds at once"),
    ):
        parser = add_command(verbs, name, work, text)
        parser.add_argument("name", metavar="CONTACT", help="the account's e-mail address or phone number")
        parser.add_argument("role", metavar="ROLE", type=Role, choices=list(Role), help=", ".join(Role))
    add_command(verbs, "list", _list, "every role that somebody has now")


async def _grant(arguments: argparse.Namespace, db: Database) -> Told:
    account = await Staff(db).grant(arguments.name, arguments.role, by=done_by())
    return {"account": account.id, "role": arguments.role}, f"{account.name} has the role {arguments.role}"


async def _revoke(arguments: argparse.Namespace, db: Database) -> Told:
    account = await Staff(db).revoke(arguments.name, arguments.role, by=done_by())
    return {"account": account.id, "role": arguments.role}, f"{account.name} has not the role {arguments.role}"


async def _list(_: argparse.Namespace, db: Database) -> Told:
    members = await Staff(db).members()
    lines = [
        f"{it.role:9}{it.contact}  {it.name}, granted {it.granted_at:%Y-%m-%d %H:%M} UTC by {it.granted_by}"
        for it in members
    ]
    return {"members": members}, "\n".join(lines) or "nobody has a role"


def _add_groups(commands: Any) -> None:
    groups = commands.add_parser("groups", help="organisations: who buys, makes vouchers and grants as one")
    verbs = groups.add_subparsers(required=True, metavar="COMMAND")
    for name, work, text in (
        ("approve", _approve_group, "let a group buy as an organisation, make vouchers and grants"),
        ("withdraw", _withdraw_group, "take an approval back"),
    ):
        parser = add_command(verbs, name, work, text)
        parser.add_argument("group", metavar="ID", type=UUID)
        parser.add_argument("note", help="what was checked, or why; it stays on record")
    listing = add_command(verbs, "list", _list_groups, "the newest groups that await approval")
    listing.add_argument("--approved", action="store_true", help="those that are approved")


def _approvals(db: Database) -> GroupApprovals:
    return GroupApprovals(db, Ledger(db), enrol=enrol_group)


async def _approve_group(arguments: argparse.Namespace, db: Database) -> Told:
    group = await _approvals(db).approve(arguments.group, arguments.note, by=done_by())
    return group, f"{group.name} buys as an organisation"


async def _withdraw_group(arguments: argparse.Namespace, db: Database) -> Told:
    group = await _approvals(db).withdraw(arguments.group, arguments.note, by=done_by())
    return group, f"{group.name} is not approved"


async def _list_groups(arguments: argparse.Namespace, db: Database) -> Told:
    found = await _approvals(db).listed(approved=arguments.approved, limit=GROUPS_A_PAGE_MAX)
    lines = [f"{it.id}  {it.members:>5}  {it.name}, founded by {it.founder}" for it in found]
    return {"groups": found}, "\n".join(lines) or "there are no such groups"


def _add_partners(commands: Any) -> None:
    partners = commands.add_parser("partners", help="who sells from a stock of its own")
    verbs = partners.add_subparsers(required=True, metavar="COMMAND")
    parser = add_command(verbs, "add", _add_partner, "let an account sell")
    parser.add_argument("account", metavar="CONTACT", help="the account's e-mail address or phone number")
    parser.add_argument("--name", required=True, help="the seller's name, as the public sees it")
    parser.add_argument("--contact", required=True, help="how the public reaches it")
    parser.add_argument("--kind", type=PartnerKind, choices=list(PartnerKind), default=PartnerKind.DISTRIBUTOR)
    parser.add_argument("--distributor", type=UUID, help="the partner id of a retailer's distributor")
    for name, work, text in (
        ("suspend", _suspend_partner, "stop a partner's sales; its stock stays"),
        ("reinstate", _reinstate_partner, "let it sell again"),
    ):
        parser = add_command(verbs, name, work, text)
        parser.add_argument("partner", metavar="ID", type=UUID)
        parser.add_argument("reason", help="why; it stays on record")
    add_command(verbs, "list", _list_partners, "every partner and its stock")


def _partners(db: Database) -> Partners:
    return Partners(db, Ledger(db), SerialChannels(db))


async def _add_partner(arguments: argparse.Namespace, db: Database) -> Told:
    account = (await Accounts(db, session_life_s=1).find([arguments.account])).get(arguments.account)
    if account is None:
        raise ACCOUNT_UNKNOWN()
    partner = await _partners(db).register(
        account,
        name=arguments.name,
        contact=arguments.contact,
        kind=arguments.kind,
        by=done_by(),
        distributor_id=arguments.distributor,
    )
    return partner, f"{partner.name} is partner {partner.id}"


async def _suspend_partner(arguments: argparse.Namespace, db: Database) -> Told:
    await _partners(db).suspend(arguments.partner, arguments.reason, by=done_by())
    return {"partner": arguments.partner, "state": "suspended"}, f"{arguments.partner} sells nothing until reinstated"


async def _reinstate_partner(arguments: argparse.Namespace, db: Database) -> Told:
    await _partners(db).reinstate(arguments.partner, arguments.reason, by=done_by())
    return {"partner": arguments.partner, "state": "active"}, f"{arguments.partner} may sell"


async def _list_partners(_: argparse.Namespace, db: Database) -> Told:
    partners = _partners(db)
    found = [(it, await partners.stock(it)) for it in await partners.listed(limit=PARTNERS_A_PAGE_MAX)]
    facts = [{"partner": it, "stock": stock} for it, stock in found]
    lines = [f"{it.id}  {it.state:10}{stock.available:>12,}  {it.name}" for it, stock in found]
    return {"partners": facts}, "\n".join(lines) or "there are no partners"


def _add_settlements(commands: Any) -> None:
    settlements = commands.add_parser("settlements", help="the payment providers' daily files")
    verbs = settlements.add_subparsers(required=True, metavar="COMMAND")
    load = add_command(verbs, "load", _load_settlements, "take every line of a file for proof; twice changes nothing")
    load.add_argument("file", metavar="FILE", type=Path, help="the CSV report as the provider's dashboard gives it")
    load.add_argument("--dry-run", action="store_true", help="change nothing, and say what would be")
    missing = add_command(verbs, "missing", _missing_settlements, "orders that are paid here and are in no file")
    missing.add_argument("first", metavar="DAY", type=date.fromisoformat, help="such as 2026-11-21, in GMT+7")
    missing.add_argument("last", metavar="DAY", type=date.fromisoformat, nargs="?", help="the same day without it")
    for parser in (load, missing):
        parser.add_argument("--provider", required=True, choices=list(FORMATS), help="whose file it is")


async def _load_settlements(arguments: argparse.Namespace, db: Database) -> Told:
    report = await _settlement_files(db).load(arguments.file, arguments.provider, dry_run=arguments.dry_run)
    return report, "\n".join(_said(report))


async def _missing_settlements(arguments: argparse.Namespace, db: Database) -> Told:
    last = arguments.last or arguments.first
    count, missing = await _settlement_files(db).missing(arguments.provider, arguments.first, last)
    said = _said_missing(count, missing) or ["nothing is missing"]
    return {"missing_count": count, "missing": missing}, "\n".join(said)


def _settlement_files(db: Database) -> SettlementFiles:
    return SettlementFiles(db, Purchase(db, Ledger(db), load_settings(), providers=[]))


def _said(report: LoadReport) -> list[str]:
    """A load in words: the sums, then every line that somebody has to look at, then what is missing."""
    again = "loaded before, nothing changed" if report.again else "nothing changed" if report.dry_run else "loaded"
    days = f", {report.first_day} to {report.last_day}" if report.first_day else ""
    return [
        f"{report.provider}: {report.lines} lines{days}; {again}",
        *(f"{it.outcome:15}{it.lines:>8} lines  Rp{it.amount_idr:,.2f}" for it in report.totals),
        *(f"line {it.line}: {it.outcome}  {it.order or '-'}  {it.reference}  {it.detail}" for it in report.noted),
        *_said_missing(report.missing_count, report.missing),
    ]


def _said_missing(count: int, missing: list[MissingOrder]) -> list[str]:
    lines = [
        f"missing {order_number(it.id)}  Rp{it.total_idr:,}  {it.paid_at:%Y-%m-%d %H:%M} UTC  {it.reference or '-'}"
        for it in missing
    ]
    return [f"{count} orders are paid here and in no file", *lines] if count else []
