"""The addresses of the pages, in one place: templates link to them and the capabilities' routes answer at them."""

from __future__ import annotations

from urllib.parse import quote

HOME = "/"
SIGN_UP = "/daftar"
SIGN_IN = "/masuk"
SIGN_OUT = "/keluar"
QUOTA = "/kuota"
HISTORY = "/kuota/riwayat"
BUY = "/beli"
ORDERS = "/pesanan"
UPLOAD = "/unggah"
DOCUMENTS = "/dokumen"
VERIFY = "/verifikasi"
VERIFY_FILE = "/verifikasi/berkas"
API_KEYS = "/kunci-api"
API_DOCS = "/docs"
REFUSALS = "/docs/refusals"
INVARIANTS = "/invariants"
INVARIANTS_KEY = "/invariants/key.pem"
STATIC = "/static"


def order(order_id: object) -> str:
    """One order: its state, and what happens next."""
    return f"{ORDERS}/{quote(str(order_id), safe='')}"


def order_pay(order_id: object) -> str:
    """Where the pay button posts to; the answer is a redirect to the payment provider's page."""
    return f"{order(order_id)}/bayar"


def order_cancel(order_id: object) -> str:
    """Where the cancel button of an order posts to."""
    return f"{order(order_id)}/batal"


def document(document_id: object) -> str:
    """One document: what the inspection found."""
    return f"{DOCUMENTS}/{quote(str(document_id), safe='')}"


def place(document_id: object) -> str:
    """Choose where the mark goes (GET), and stamp there (POST)."""
    return f"{document(document_id)}/bubuhkan"


def unlock(document_id: object) -> str:
    """Where the password of a locked document is posted to."""
    return f"{document(document_id)}/kata-sandi"


def stamp(stamp_id: object) -> str:
    """One stamp: its progress, then its result."""
    return f"/meterai/{quote(str(stamp_id), safe='')}"


def stamp_file(stamp_id: object) -> str:
    """The sealed file of a stamp."""
    return f"{stamp(stamp_id)}/berkas"


def verify(serial: str) -> str:
    """What is known of a serial. Short, because the QR code on every document holds it."""
    return f"/v/{quote(serial, safe='')}"


def api_key_revoke(key_id: object) -> str:
    """Where the revoke button of an API key posts to."""
    return f"{API_KEYS}/{quote(str(key_id), safe='')}/cabut"


def refusal(code: str) -> str:
    """What one refusal means: the `type` of its problem document."""
    return f"{REFUSALS}/{quote(code, safe='')}"
