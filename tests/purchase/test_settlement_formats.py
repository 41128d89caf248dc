"""What a settlement file says: the providers' own columns, and what Excel makes of them."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emeterai.core.ordering import ChargeState
from emeterai.core.refusal import Refused
from emeterai.infra.ids import new_id
from emeterai.purchase.settlement_formats import FORMATS, SettlementLine, read_lines

ORDER = str(new_id())
MIDTRANS = "Order ID,Transaction ID,Transaction type,Channel,Status,Amount,Transaction time,Settlement time\n"
XENDIT = (
    "Status,Type,Channel,Channel Name,Account Number,Currency,Amount,Total Fee,Total VAT,Net Amount,Payment ID,"
    "Reference,Created Date ISO,Payment Date,Settlement Status\n"
)


def lines_of(content: str | bytes, provider: str = "midtrans") -> list[SettlementLine]:
    """The lines of a file."""
    raw = content.encode() if isinstance(content, str) else content
    return list(read_lines(io.BufferedReader(io.BytesIO(raw)), provider))  # type: ignore[arg-type]


def midtrans(amount: str = "25000.00", settled: str = "2026-11-21 10:02:31", status: str = "settlement") -> str:
    """A line of Midtrans."""
    return f'{ORDER},t-1,Payment,QRIS,{status},"{amount}",2026-11-21 10:00:00,"{settled}"\n'


AT = datetime(2026, 11, 21, 3, 2, 31, tzinfo=UTC)


def test_midtrans() -> None:
    """Times are GMT+7 without saying so; the settlement's time goes before the transaction's."""
    (line,) = lines_of(MIDTRANS + midtrans())
    assert (2, ORDER, "t-1", ChargeState.SETTLED) == (line.number, str(line.order_id), line.reference, line.state)
    assert (Decimal(25_000), "IDR", AT) == (line.amount, line.currency, line.paid_at)


def test_xendit() -> None:
    """Its payments only: a withdrawal or a fee is something else."""
    paid = f"SUCCESS,PAYMENT,QR_CODE,QRIS,,IDR,25000,175,0,24825,py-1,{ORDER},2026-11-21T03:02:31Z,,SETTLED\n"
    withdrawn = "SUCCESS,WITHDRAWAL,BANK,BCA,1,IDR,9000000,0,0,9000000,wd-1,abc,2026-11-21T03:02:31Z,,\n"
    refunded = paid.replace("SUCCESS", "REFUNDED")
    line, other, back = lines_of(XENDIT + paid + withdrawn + refunded, "xendit")
    assert (ORDER, "py-1", ChargeState.SETTLED, Decimal(25_000)) == (
        str(line.order_id),
        line.reference,
        line.state,
        line.amount,
    )
    assert (None, "") == (other.state, other.fault)
    assert ChargeState.REVERSED is back.state


def test_the_sandbox_has_a_format_of_ours() -> None:
    """order_id,charge_id,state,amount,currency,settled_at."""
    content = (
        f"order_id,charge_id,state,amount,currency,settled_at\n{ORDER},c,settlement,25000,IDR,2026-11-21T03:02:31Z\n"
    )
    (line,) = lines_of(content, "sandbox")
    assert (ORDER, ChargeState.SETTLED, AT) == (str(line.order_id), line.state, line.paid_at)


@pytest.mark.parametrize(
    "changed",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: ("sep=,\n" + text).encode(),
        lambda text: ("Laporan transaksi\n\n" + text).encode(),
        lambda text: text.replace('"', "").replace(",", ";").encode(),
        lambda text: text.replace('"', "").replace(",", "\t").encode(),
        lambda text: text.replace(ORDER, f'"=""{ORDER}"""').encode(),
        lambda text: text.replace(ORDER, f"'{ORDER}").encode(),
        lambda text: text.replace(ORDER, ORDER.upper()).encode(),
        lambda text: text.replace("Order ID", "ORDER_ID ").encode(),
        lambda text: text.rstrip("\n").encode(),
        lambda text: (text + "\n,,,,,,,\n\n").encode(),
    ],
    ids=range(13),
)
def test_what_excel_and_its_kin_make_of_it(changed) -> None:  # type: ignore[no-untyped-def]
    """Byte order marks, UTF-16, semicolons, tabs, `sep=`, titles above, quoting against numbers: the same line."""
    (line,) = lines_of(changed(MIDTRANS + midtrans()))
    assert (ORDER, ChargeState.SETTLED, Decimal(25_000), AT) == (
        str(line.order_id),
        line.state,
        line.amount,
        line.paid_at,
    )


@pytest.mark.parametrize(
    "text",
    [
        "25000",
        "25000.00",
        "25000,00",
        "25.000",
        "25,000",
        "25.000,00",
        "25,000.00",
        "Rp25.000",
        "Rp 25.000,00",
        "IDR 25,000",
    ],
)
def test_an_amount_however_it_is_written(text: str) -> None:
    """Rupiah have no third decimal: three digits after a mark are thousands, two are a fraction."""
    (line,) = lines_of(MIDTRANS + midtrans(text))
    assert Decimal(25_000) == line.amount


@pytest.mark.parametrize(
    "text",
    ["", "2.5E+04", "25.00.00", "25.000.00", "1,25,000", "-25000", "25k", "NaN", "9" * 40, "\u0662\u0665\u0660"],
)
def test_an_amount_that_is_not_clear_is_no_amount(text: str) -> None:
    """The line is shown, never guessed."""
    (line,) = lines_of(MIDTRANS + midtrans(text))
    assert None is line.state
    assert line.fault


@pytest.mark.parametrize(
    "text",
    [
        "21/11/2026 10:02:31",
        "2026-11-21T10:02:31+07:00",
        "2026-11-21T03:02:31Z",
        "21-11-2026 10:02:31",
        "21 Nov 2026 10:02:31",
        "2026-11-21 10:02:31 WIB",
        "2026-11-21 10:02:31 (GMT+7)",
    ],
)
def test_a_time_however_it_is_written(text: str) -> None:
    """Days come before months; without a zone it is GMT+7."""
    (line,) = lines_of(MIDTRANS + midtrans(settled=text))
    assert AT == line.paid_at


def test_days_come_before_months_and_indonesian_months_are_known() -> None:
    """3/4 is the third of April; Agu and Mei are August and May."""
    texts = ("03/04/2026 00:30", "5 Agu 2026 00:30", "5 Mei 2026 00:30")
    lines = lines_of(MIDTRANS + "".join(midtrans(settled=text) for text in texts))
    assert [(4, 2), (8, 4), (5, 4)] == [(line.paid_at.month, line.paid_at.day) for line in lines if line.paid_at]


@pytest.mark.parametrize("text", ["11/21/2026 10:02", "kemarin", "46347.4", "21/11/26 10:02", "0001-01-01 00:00:00"])
def test_a_time_that_is_not_clear_is_a_fault(text: str) -> None:
    """Excel's own numbers, months before days, years of two digits."""
    (line,) = lines_of(MIDTRANS + midtrans(settled=text))
    assert "time" in line.fault


def test_bad_lines_are_said_by_number_and_the_others_read() -> None:
    """Fields that are missing, quotation marks left open, words that are new: the next line counts all the same."""
    bad = [
        "too,few\n",
        f'{ORDER},"t-1,Payment,QRIS,settlement,25000,2026-11-21 10:00:00,2026-11-21 10:02:31\n',
        midtrans(status="teleported"),
        midtrans().replace("t-1", ""),
        midtrans().replace("25000.00", "25\x0000"),
    ]
    lines = lines_of(MIDTRANS + "".join(line + midtrans() for line in bad))
    assert [2, 3, 4, 5, 6, 7, 8, 9, 10, 11] == [line.number for line in lines]
    assert [True, False] * 5 == [bool(line.fault) for line in lines]


def test_a_field_may_go_on_in_the_next_line() -> None:
    """Within quotation marks, as RFC 4180 has it."""
    content = MIDTRANS + midtrans().replace("QRIS", '"QRIS\ndinamis"') + midtrans()
    assert [(2, ""), (4, "")] == [(line.number, line.fault) for line in lines_of(content)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no header"),
        (b"%PDF-1.7\n" + b"\x00\xff" * 5_000, "no header"),
        (b"PK\x03\x04" + b"x" * 200_000, "longer than"),
        (XENDIT.encode(), "no header"),
        (b"Order ID,Status\n", "no header"),
        (b"\xff\xfeO", "no header"),
    ],
    ids=range(6),
)
def test_what_is_no_report_is_refused(content: bytes, said: str) -> None:
    """A spreadsheet, another provider's file, nothing at all."""
    with pytest.raises(Refused, match="settlement_file_unreadable") as refused:
        lines_of(content)
    assert said in refused.value.facts["detail"]


def test_a_provider_without_files_is_refused() -> None:
    """The sentence names those that have some."""
    with pytest.raises(Refused, match="settlement_provider_unknown") as refused:
        lines_of(MIDTRANS, "bca")
    assert ", ".join(FORMATS) == refused.value.facts["known"]


@given(st.binary(max_size=400))
def test_no_bytes_break_it(content: bytes) -> None:
    """After a good header anything may follow: lines with faults, or a refusal."""
    try:
        lines = lines_of(MIDTRANS.encode() + content)
    except Refused:
        return
    assert all(line.fault or line.state is not None or line.reference is not None for line in lines)
