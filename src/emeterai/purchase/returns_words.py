"""A return in words, for its owner: why the money goes back, and where it is now. Indonesian first."""

from __future__ import annotations

from emeterai.core.returning import ReturnCause, ReturnState
from emeterai.purchase.provider import VIRTUAL_ACCOUNT
from emeterai.purchase.returns_model import Return

Text = tuple[str, str]
_CAUSES: dict[ReturnCause, Text] = {
    ReturnCause.PAID_AGAIN: ("Pesanan ini dibayar lebih dari sekali.", "This order was paid more than once."),
    ReturnCause.AMOUNT_DIFFERS: (
        "Uang yang masuk berbeda dari tagihan.",
        "The money that came differs from the bill.",
    ),
    ReturnCause.NO_QUOTA_IN_TIME: (
        "Uang yang masuk berbeda dari tagihan dan tidak menjadi kuota pada waktunya.",
        "The money that came differs from the bill and did not become quota in time.",
    ),
    ReturnCause.QUOTA_RETURNED: (
        "Anda mengembalikan kuota yang belum terpakai.",
        "You handed back quota that was not used.",
    ),
}
_STATES: dict[ReturnState, Text] = {
    ReturnState.UNDECIDED: (
        "Petugas sedang memeriksanya. Bila tidak diputuskan pada waktunya, uangnya kembali sendiri.",
        "Staff are looking into it. If they do not decide in time, the money goes back by itself.",
    ),
    ReturnState.OWED: (
        "Sebentar lagi kami minta penyedia pembayaran mengembalikannya.",
        "We are about to ask the payment provider to return it.",
    ),
    ReturnState.ASKED: (
        "Penyedia pembayaran sedang mengembalikannya.",
        "The payment provider is returning it.",
    ),
    ReturnState.RETURNED: ("Uangnya sudah kembali.", "The money has gone back."),
    ReturnState.NEEDS_CARE: (
        "Penyedia pembayaran tidak dapat mengembalikannya sendiri. Petugas mengurusnya; jangan membayar lagi.",
        "The payment provider cannot return it by itself. Staff take care of it; do not pay again.",
    ),
    ReturnState.CREDITED: ("Uang ini sudah menjadi kuota.", "This money has become quota."),
}
_NEEDS_ACCOUNT: Text = (
    "Uang dari virtual account tidak kembali dengan sendirinya: petugas akan menanyakan nomor rekening Anda.",
    "Money from a virtual account does not go back by itself: staff will ask for your bank account number.",
)
_PAID_OUT: Text = (
    "Uangnya sudah kami transfer ke rekening Anda.",
    "We have transferred the money to your bank account.",
)


def cause_in_words(back: Return) -> Text:
    """Why the money goes back."""
    return _CAUSES[back.cause]


def state_in_words(back: Return) -> Text:
    """Where the money is now, and what happens next."""
    if back.state is ReturnState.NEEDS_CARE and back.trouble == VIRTUAL_ACCOUNT:
        return _NEEDS_ACCOUNT
    if back.state is ReturnState.RETURNED and back.proof is not None:
        return _PAID_OUT
    return _STATES[back.state]
