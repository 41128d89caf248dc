"""Settlement files on a page: the treasury hands in a provider's list of payments and sees what became of its lines."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any, Protocol, cast

import structlog
from litestar import Controller, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency, Provide

from emeterai.accounts.callers import AnyRequest
from emeterai.accounts.service import Caller
from emeterai.accounts.staff import Role, staff_of
from emeterai.core.ordering import order_number
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.infra.database import Database
from emeterai.purchase.service import Purchase
from emeterai.purchase.settlement_files import LineOutcome, LoadReport, SettlementFiles
from emeterai.purchase.settlement_formats import FORMATS
from emeterai.web import paths
from emeterai.web.csrf import Csrf, checked_form, texts_of
from emeterai.web.forms import FieldError, Form
from emeterai.web.pages import Pages

FILE_SIZE_BYTES_MAX = 8 * 1024 * 1024
"""Some forty thousand lines; a longer file is loaded by the command."""
_FORM_BYTES_MAX = 64 * 1024
_READ_AT_ONCE_BYTES = 65_536
_NAME_LENGTH_MAX = 100
_LINES_SHOWN = 20
_WORDS = {
    LineOutcome.CREDITED: ("ok", "Menjadi kuota", "Became quota"),
    LineOutcome.KNOWN: ("ok", "Sudah tercatat", "Known already"),
    LineOutcome.QUARANTINED: ("warn", "Jumlah berbeda", "Amount differs"),
    LineOutcome.CONTRADICTED: ("warn", "Berbeda dengan catatan kami", "Differs from our books"),
    LineOutcome.PAID_AGAIN: ("warn", "Dibayar dua kali", "Paid again"),
    LineOutcome.RETURNED: ("info", "Sudah dikembalikan", "Returned"),
    LineOutcome.NO_ANSWER: ("warn", "Penyedia tidak menjawab", "The provider did not answer"),
    LineOutcome.REVERSED: ("warn", "Ditarik penyedia", "Taken back by the provider"),
    LineOutcome.DOUBLED: ("info", "Baris berulang", "A line twice"),
    LineOutcome.UNKNOWN_ORDER: ("bad", "Pesanan tidak dikenal", "Unknown order"),
    LineOutcome.NOT_SETTLED: ("info", "Belum dibayar", "Not settled"),
    LineOutcome.OTHER: ("info", "Bukan pembayaran", "No payment"),
    LineOutcome.UNREADABLE: ("bad", "Tidak terbaca", "Unreadable"),
}
_OTHER_WORDS = ("warn", "Perlu dilihat", "To be looked at")
_DIFFERING = {LineOutcome.QUARANTINED, LineOutcome.CONTRADICTED, LineOutcome.PAID_AGAIN, LineOutcome.REVERSED}
_UNKNOWN = {LineOutcome.UNKNOWN_ORDER, LineOutcome.UNREADABLE}
_log = structlog.get_logger(__name__)

SETTLEMENT_FILE_NEEDED = RefusalKind(
    "settlement_file_needed",
    422,
    "Pilih satu berkas CSV dari penyedia, lalu kirim.",
    "Choose one CSV file of the provider, then send it.",
)
SETTLEMENT_FILE_TOO_LARGE = RefusalKind(
    "settlement_file_too_large",
    413,
    "Berkas ini lebih besar dari {size_mb_max} MB; bagilah per hari, atau mintalah pengelola layanan memuatnya dengan "
    "perintah.",
    "This file is larger than {size_mb_max} MB; split it by day, or ask whoever runs the service to load it by the "
    "command.",
)


class SettlementServices(Protocol):
    """What these pages find in the application's `state["services"]`."""

    db: Database
    purchase: Purchase
    pages: Pages
    csrf: Csrf


class SettlementPages(Controller):
    """Hand in a settlement file, and see the result."""

    path = paths.OFFICE_SETTLEMENTS
    include_in_schema = False
    dependencies = {"caller": Provide(staff_of(Role.TREASURY))}  # noqa: RUF012 - Litestar's own way

    @get()
    async def page(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[bytes]:  # noqa: ARG002
        """The form."""
        return _page(request, Form())

    @post(request_max_body_size=FILE_SIZE_BYTES_MAX + _FORM_BYTES_MAX)
    async def load(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
        """Take every line of the file for proof, or only say what would be; the same file twice changes nothing."""
        services = _services(request)
        form = await checked_form(request, services.csrf)
        fields, file = texts_of(form), form.get("file")
        try:
            if not isinstance(file, UploadFile) or not file.filename:
                raise SETTLEMENT_FILE_NEEDED()
            dry_run = fields.get("what") != "load"
            report = await _loaded(services, file, fields.get("provider", ""), dry_run=dry_run)
        except Refused as refused:
            field = "provider" if refused.code == "settlement_provider_unknown" else "file"
            kept = {name: fields.get(name, "") for name in ("provider", "what")}
            wrong = Form(kept, (FieldError(field, refused.id, refused.en),))
            return _page(request, wrong, status_code=refused.kind.status)
        _log.info("settlement_file", by=str(caller.actor), digest=report.digest, dry_run=dry_run, lines=report.lines)
        return _page(request, Form({"provider": report.provider}), report=report)


async def _loaded(services: SettlementServices, file: UploadFile, provider: str, *, dry_run: bool) -> LoadReport:
    """What became of an uploaded file. Raises `settlement_file_too_large` and what `SettlementFiles.load` raises."""
    with tempfile.TemporaryDirectory(prefix="emeterai-settlement-") as folder:
        path = Path(folder) / _file_name(file.filename)
        await _save(file, path)
        return await SettlementFiles(services.db, services.purchase).load(path, provider, dry_run=dry_run)


async def _save(file: UploadFile, path: Path) -> None:
    size_bytes = 0
    with path.open("wb") as saved:
        while part := await file.read(_READ_AT_ONCE_BYTES):
            size_bytes += len(part)
            if size_bytes > FILE_SIZE_BYTES_MAX:
                raise SETTLEMENT_FILE_TOO_LARGE(size_mb_max=FILE_SIZE_BYTES_MAX // 1024**2)
            await asyncio.to_thread(saved.write, part)


def _file_name(typed: str) -> str:
    """The name that goes on record: letters, digits and some punctuation of the file's own name."""
    plain = "".join(one if one.isalnum() or one in "._- " else "_" for one in Path(typed).name)
    ascii_only = plain.encode("ascii", "replace").decode().replace("?", "_")
    return ascii_only[-_NAME_LENGTH_MAX:].strip(". ") or "settlement.csv"


def _page(
    request: AnyRequest, form: Form, *, report: LoadReport | None = None, status_code: int = 200
) -> Response[bytes]:
    return _services(request).pages.render(
        request,
        "care/settlements.html",
        status_code=status_code,
        form=form,
        providers=[(name, name.capitalize()) for name in FORMATS],
        size_mb_max=FILE_SIZE_BYTES_MAX // 1024**2,
        result=None if report is None else result_shown(report),
    )


def result_shown(report: LoadReport) -> dict[str, Any]:
    """A report as the page shows it: the sums that matter, then each outcome, then the lines to look at."""
    counts = {LineOutcome(total.outcome): total.lines for total in report.totals}
    return {
        "report": report,
        "credited": counts.get(LineOutcome.CREDITED, 0),
        "differing": sum(counts.get(outcome, 0) for outcome in _DIFFERING),
        "unknown": sum(counts.get(outcome, 0) for outcome in _UNKNOWN),
        "totals": [(_words(it.outcome), it.lines, it.amount_idr) for it in report.totals],
        "noted": [(_words(line.outcome), line) for line in report.noted[:_LINES_SHOWN]],
        "noted_more": max(0, report.noted_count - _LINES_SHOWN),
        "missing": [(order_number(order.id), order) for order in report.missing[:_LINES_SHOWN]],
    }


def _words(outcome: str) -> tuple[str, str, str]:
    """What became of a line, in words, with the kind of its tag."""
    return _WORDS.get(LineOutcome(outcome), _OTHER_WORDS)


def _services(request: AnyRequest) -> SettlementServices:
    return cast("SettlementServices", request.app.state["services"])


controllers: tuple[type[Any], ...] = (SettlementPages,)
"""What the application mounts."""
