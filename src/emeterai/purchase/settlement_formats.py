"""What a settlement file says, in our words: a provider's CSV, as its dashboard exports it or as Excel saved it again.

Columns are found by their names, whatever their order, case and punctuation. Times without a zone are GMT+7, days come
before months, and an amount that could mean two things is no amount.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from io import BufferedReader
from uuid import UUID

import msgspec

from emeterai.core.ordering import CURRENCY, ChargeState
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.purchase.provider import is_money, order_id_of

SETTLEMENT_FILE_UNREADABLE = RefusalKind(
    "settlement_file_unreadable",
    422,
    "Berkas ini bukan laporan {provider} yang dapat dibaca: {detail}. Unduh laporan CSV lagi dari penyedia.",
    "This file is no report of {provider} that can be read: {detail}. Download the CSV report from the provider again.",
)
SETTLEMENT_PROVIDER_UNKNOWN = RefusalKind(
    "settlement_provider_unknown",
    422,
    "Tidak ada bentuk berkas untuk penyedia ini; pilih salah satu: {known}.",
    "There is no file format for this provider; choose one of: {known}.",
)

WIB = timezone(timedelta(hours=7), "WIB")
LINES_MAX = 250_000
_FIELD_LENGTH_MAX = 4_096
_REFERENCE_LENGTH_MAX = 200
_LINE_LENGTH_MAX = 65_536
_HEADER_LINES_MAX = 20
_DELIMITERS = ",;\t|"
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_AMOUNT = re.compile(
    r"(?:rp|idr)?\.?\s*(?P<whole>\d{1,3}(?P<mark>[.,])\d{3}(?:(?P=mark)\d{3})*|\d+)(?P<rest>[.,]\d{1,2})?",
    re.ASCII,
)
_ZONE_WORDS = re.compile(r"\s*\(?(?:WIB|GMT\s?\+0?7(?::?00)?)\)?$", re.IGNORECASE)
_MONTHS = {"mei": "May", "agu": "Aug", "agt": "Aug", "okt": "Oct", "des": "Dec", "januari": "Jan", "februari": "Feb"}
_YEAR_MIN, _YEAR_MAX = 2000, 2099
_TIME_LENGTH_MAX = 64
_RECORD_LINES_MAX = 8
_TIMES = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%d-%m-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M",
    "%d %b %Y %H:%M:%S",
    "%d %b %Y %H:%M",
    "%d %b %Y, %H:%M",
    "%Y-%m-%d",
    "%d/%m/%Y",
)


class SettlementLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a file. `state` is None where it is about something else than a payment, such as a withdrawal.

    `reference` is the provider's own id. `order_id` is None where none of ours can be meant. `fault` says what cannot
    be read; then nothing else counts.
    """

    number: int
    order_text: str = ""
    order_id: UUID | None = None
    reference: str = ""
    state: ChargeState | None = None
    amount: Decimal = Decimal(0)
    currency: str = CURRENCY
    paid_at: datetime | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """The columns of one provider's export, each by the names that it goes by, and its words for what happened."""

    order: tuple[str, ...]
    reference: tuple[str, ...]
    status: tuple[str, ...]
    amount: tuple[str, ...]
    paid_at: tuple[str, ...]
    states: Mapping[str, ChargeState]
    currency: tuple[str, ...] = ("currency",)
    kind: tuple[str, ...] = ()
    payments: frozenset[str] = frozenset()
    """The kinds of line that are payments; others are left alone. Empty where there is no such column."""
    names_charge: bool = True
    """Whether `reference` is the id by which we know the charge."""


FORMATS: Mapping[str, FileFormat] = {
    "midtrans": FileFormat(
        order=("orderid",),
        reference=("transactionid",),
        status=("transactionstatus", "status"),
        amount=("grossamount", "amount"),
        paid_at=("settlementtime", "settlementdate", "transactiontime", "transactiondate", "datetime"),
        states={
            "settlement": ChargeState.SETTLED,
            "capture": ChargeState.SETTLED,
            "success": ChargeState.SETTLED,
            "pending": ChargeState.PENDING,
            "authorize": ChargeState.PENDING,
            "expire": ChargeState.EXPIRED,
            "expired": ChargeState.EXPIRED,
            "cancel": ChargeState.CANCELLED,
            "cancelled": ChargeState.CANCELLED,
            "failure": ChargeState.CANCELLED,
            "failed": ChargeState.CANCELLED,
            "deny": ChargeState.REVERSED,
            "denied": ChargeState.REVERSED,
            "refund": ChargeState.REVERSED,
            "partialrefund": ChargeState.REVERSED,
            "chargeback": ChargeState.REVERSED,
            "partialchargeback": ChargeState.REVERSED,
            "reversal": ChargeState.REVERSED,
        },
        kind=("transactiontype",),
        payments=frozenset({"payment", ""}),
    ),
    "xendit": FileFormat(
        order=("reference", "referenceid", "externalid"),
        reference=("paymentid", "productid", "transactionid"),
        status=("status",),
        amount=("amount",),
        paid_at=("paymentdate", "createddateiso", "createddate", "transactiondate"),
        states={
            "success": ChargeState.SETTLED,
            "successful": ChargeState.SETTLED,
            "succeeded": ChargeState.SETTLED,
            "pending": ChargeState.PENDING,
            "failed": ChargeState.CANCELLED,
            "voided": ChargeState.CANCELLED,
            "refunded": ChargeState.REVERSED,
            "partiallyrefunded": ChargeState.REVERSED,
            "refundpending": ChargeState.REVERSED,
            "reversed": ChargeState.REVERSED,
        },
        kind=("type", "transactiontype"),
        payments=frozenset({"payment", "qrispayment", "qrpayment", "vapayment", "virtualaccountpayment"}),
        names_charge=False,
    ),
    "sandbox": FileFormat(
        order=("orderid",),
        reference=("chargeid",),
        status=("state",),
        amount=("amount",),
        paid_at=("settledat",),
        states={
            "settlement": ChargeState.SETTLED,
            "pending": ChargeState.PENDING,
            "expire": ChargeState.EXPIRED,
            "cancel": ChargeState.CANCELLED,
        },
    ),
}
"""By the provider's name. The sandbox's is ours: order_id,charge_id,state,amount,currency,settled_at."""


def format_of(provider: str) -> FileFormat:
    """The format of a provider's files. Raises `settlement_provider_unknown`."""
    if provider not in FORMATS:
        raise SETTLEMENT_PROVIDER_UNKNOWN(known=", ".join(FORMATS))
    return FORMATS[provider]


def read_lines(file: BufferedReader, provider: str) -> Generator[SettlementLine]:
    """Every line after the header, one at a time: a line that cannot be read is one with a `fault`.

    Raises `settlement_provider_unknown` or, for a file that is no such report at all, `settlement_file_unreadable`.
    """
    form = format_of(provider)
    start = file.read(4)
    file.seek(0)
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if start.startswith(mark)), "utf-8")
    text = io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="")
    try:
        lines = _Lines(text, provider)
        delimiter, columns = _header(lines, form, provider)
        while (first := lines.next()) is not None:
            number = lines.number
            record = _record(first, lines, delimiter=delimiter)
            if record is None:
                yield SettlementLine(number=number, fault="quotation marks are left open")
            elif any(record):
                yield _line(number, record, columns, form=form)
    except UnicodeError as error:
        raise _unreadable(provider, "it is not text") from error
    finally:
        text.detach()


class _Lines:
    """The physical lines of a text, some of which may be given back. Bounded in how long and how many they are."""

    def __init__(self, text: io.TextIOWrapper, provider: str) -> None:
        self._text = text
        self._provider = provider
        self._back: list[str] = []
        self.number = 0

    def next(self) -> str | None:
        """The next line without its end; None after the last one. Raises `settlement_file_unreadable` at a bound."""
        line = self._back.pop() if self._back else self._text.readline(_LINE_LENGTH_MAX + 1)
        if not line:
            return None
        self.number += 1
        if len(line) > _LINE_LENGTH_MAX:
            raise _unreadable(self._provider, f"line {self.number} is longer than {_LINE_LENGTH_MAX} characters")
        if self.number > LINES_MAX:
            raise _unreadable(self._provider, f"it has more than {LINES_MAX} lines")
        return line

    def give_back(self, lines: Sequence[str]) -> None:
        """Let these, the last ones taken, come again."""
        self._back += reversed(lines)
        self.number -= len(lines)


def _header(lines: _Lines, form: FileFormat, provider: str) -> tuple[str, dict[str, int]]:
    """The delimiter and where each column is. What stands above the header, such as Excel's `sep=;`, is passed over."""
    for _ in range(_HEADER_LINES_MAX):
        line = lines.next()
        if line is None:
            break
        for delimiter in _DELIMITERS:
            columns = _columns(_split(line, delimiter) or [], form)
            if columns is not None:
                return delimiter, columns
    names = ", ".join(one[0] for one in (form.order, form.reference, form.status, form.amount, form.paid_at))
    raise _unreadable(provider, f"no header names the columns {names}")


def _columns(header: Sequence[str], form: FileFormat) -> dict[str, int] | None:
    """The place of each column that the header has; None when one is missing that is needed."""
    places = {re.sub(r"[^a-z0-9]", "", name.lower()): place for place, name in reversed([*enumerate(header)])}
    wanted = {
        "order": form.order,
        "reference": form.reference,
        "status": form.status,
        "amount": form.amount,
        "paid_at": form.paid_at,
        "currency": form.currency,
        "kind": form.kind,
    }
    found = {
        column: places[name]
        for column, names in wanted.items()
        if (name := next((one for one in names if one in places), None)) is not None
    }
    return found if {"order", "reference", "status", "amount", "paid_at"} <= set(found) else None


def _record(first: str, lines: _Lines, *, delimiter: str) -> list[str] | None:
    """The fields of a record that may go on for some lines within quotation marks; None when they are never closed."""
    record, taken, text = _split(first, delimiter), list[str](), first
    while record is None and len(taken) < _RECORD_LINES_MAX and (line := lines.next()) is not None:
        taken.append(line)
        text += line
        record = _split(text, delimiter)
    if record is None:
        lines.give_back(taken)
    return record


def _split(text: str, delimiter: str) -> list[str] | None:
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return [_plain(field) for field in records[0]] if records else []


def _plain(field: str) -> str:
    """A field without what Excel and its kin put around it to keep it text: `="..."`, a leading apostrophe, blanks."""
    text = field.replace("\u00a0", " ").replace("\u200b", "").strip()
    if text.startswith('="') and text.endswith('"'):
        text = text[2:-1]
    return text.removeprefix("'").strip()[:_FIELD_LENGTH_MAX]


def _line(number: int, record: Sequence[str], columns: Mapping[str, int], *, form: FileFormat) -> SettlementLine:
    def text(column: str) -> str:
        place = columns.get(column)
        return record[place] if place is not None and place < len(record) else ""

    known = SettlementLine(
        number=number, order_text=text("order"), order_id=order_id_of(text("order")), reference=text("reference")
    )
    if len(record) <= max(columns.values()):
        return msgspec.structs.replace(known, fault="fields are missing")
    if form.payments and "kind" in columns and _word(text("kind")) not in form.payments:
        return known
    state = form.states.get(_word(text("status")))
    amount, paid_at = _amount(text("amount")), _moment(text("paid_at"))
    currency = text("currency").upper() or CURRENCY
    faults = [
        (state is None, f"status {text('status')[:40]!r} is not known"),
        (not known.reference or len(known.reference) > _REFERENCE_LENGTH_MAX, "there is no reference"),
        (amount is None, f"amount {text('amount')[:40]!r} is not clear"),
        (not known.reference.isprintable(), "the reference is not clear"),
        (amount is not None and not is_money(amount, currency), f"{text('amount')[:40]} {currency[:10]} is no money"),
        (amount == 0 and state is ChargeState.SETTLED, f"{text('amount')[:40]} is no money"),
        (paid_at is None and text("paid_at") != "", f"time {text('paid_at')[:40]!r} is not clear"),
    ]
    fault = next((said for wrong, said in faults if wrong), "")
    if fault and (state is None or state is ChargeState.SETTLED):
        return msgspec.structs.replace(known, fault=fault, reference=known.reference[:_REFERENCE_LENGTH_MAX])
    return msgspec.structs.replace(known, state=state, amount=amount or Decimal(0), currency=currency, paid_at=paid_at)


def _word(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


def _amount(text: str) -> Decimal | None:
    """Money as people and spreadsheets write it: 25000, 25000.00, 25.000, 25,000.00, Rp25.000,00. None when unclear."""
    found = _AMOUNT.fullmatch(text.lower())
    if found is None or (found["mark"] is not None and found["rest"] and found["rest"][0] == found["mark"]):
        return None
    whole = re.sub(r"[.,]", "", found["whole"])
    return Decimal(f"{whole}.{found['rest'][1:]}" if found["rest"] else whole)


def _moment(text: str) -> datetime | None:
    """A time; without a zone it is GMT+7, as the dashboards show it. None when it is none, or not of this century."""
    plain = _ZONE_WORDS.sub("", text).strip() if len(text) <= _TIME_LENGTH_MAX else ""
    for indonesian, english in _MONTHS.items():
        plain = re.sub(rf"\b{indonesian}\w*", english, plain, flags=re.IGNORECASE)
    try:
        at = datetime.fromisoformat(plain)
    except ValueError:
        at = next((read for form in _TIMES if (read := _read_time(plain, form)) is not None), None)  # type: ignore[assignment]
    if at is None or not _YEAR_MIN <= at.year <= _YEAR_MAX:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=WIB)).astimezone(UTC)


def _read_time(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)  # noqa: DTZ007 - the zone is given by the caller
    except ValueError:
        return None


def _unreadable(provider: str, detail: str) -> Refused:
    return SETTLEMENT_FILE_UNREADABLE(provider=provider, detail=detail)
