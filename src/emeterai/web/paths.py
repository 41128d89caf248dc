"""The addresses of the pages, in one place: templates link to them and the capabilities' routes answer at them."""

from __future__ import annotations

from urllib.parse import quote

HOME = "/"
SIGN_UP = "/daftar"
SIGN_IN = "/masuk"
SIGN_OUT = "/keluar"
QUOTA = "/kuota"
HISTORY = "/kuota/riwayat"
HISTORY_NEWS = "/kuota/riwayat/kabar"
BUY = "/beli"
ORDERS = "/pesanan"
VOUCHER = "/voucher"
VOUCHER_BATCHES = "/voucher/paket"
VOUCHER_TILL = "/voucher/kasir"
UPLOAD = "/unggah"
DOCUMENTS = "/dokumen"
VERIFY = "/verifikasi"
VERIFY_FILE = "/verifikasi/berkas"
PARTNER = "/mitra"
PARTNER_SALES = "/mitra/penjualan"
PARTNER_WARNING = "/mitra/peringatan"
TREASURY = "/perbendaharaan"
TREASURY_DEPOSITS = "/perbendaharaan/setoran"
TREASURY_MOVES = "/perbendaharaan/pemindahan"
OFFICE_PARTNERS = "/petugas/mitra"
OFFICE_MONEY = "/petugas/uang"
OFFICE_SETTLEMENTS = "/petugas/setelmen"
OFFICE_GROUPS = "/petugas/kelompok"
TRACK = "/lacak"
SELLERS = "/penjual"
API_KEYS = "/kunci-api"
GROUPS = "/kelompok"
ACT_FOR = "/bertindak"
INVITATION = "/undangan"
PROGRAMMES = "/program"
GRANTS = "/hibah"
OPERATOR = "/operator"
OPERATOR_NEW = "/jalur-baru"
API_DOCS = "/docs"
REFUSALS = "/docs/refusals"
INVARIANTS = "/invariants"
INVARIANTS_KEY = "/invariants/key.pem"
STATIC = "/static"


def _below(place: str, part: object) -> str:
    return f"{place}/{quote(str(part), safe='')}"


def order(order_id: object) -> str:
    """One order: its state, and what happens next."""
    return _below(ORDERS, order_id)


def order_pay(order_id: object) -> str:
    """Where the pay button posts to; the answer is a redirect to the payment provider's page."""
    return f"{order(order_id)}/bayar"


def order_cancel(order_id: object) -> str:
    """Where the cancel button of an order posts to."""
    return f"{order(order_id)}/batal"


def order_receipt(order_id: object) -> str:
    """The receipt of a paid order as a page."""
    return f"{order(order_id)}/bukti"


def order_receipt_file(order_id: object) -> str:
    """The receipt of a paid order as a PDF."""
    return f"{order(order_id)}/bukti.pdf"


def order_in_time(order_id: object) -> str:
    """The proof that an order was paid in time, as a page."""
    return f"{order(order_id)}/tepat-waktu"


def order_in_time_file(order_id: object) -> str:
    """The same as a text file."""
    return f"{order_in_time(order_id)}.txt"


def seller(number: object) -> str:
    """One official seller: where the QR code on a seller's sign leads."""
    return _below(SELLERS, number)


def voucher_redeemed(voucher_id: object) -> str:
    """What a redeemed voucher gave, for whoever redeemed it."""
    return _below(f"{VOUCHER}/diterima", voucher_id)


def voucher_batch(batch_id: object) -> str:
    """One batch of vouchers: how many are where, and what can be done with them."""
    return _below(VOUCHER_BATCHES, batch_id)


def voucher_batch_step(batch_id: object, step: str) -> str:
    """Where the buttons of a batch post to: `lembar`, `csv`, `hapus-kode`, `aktifkan`, `batalkan`."""
    return f"{voucher_batch(batch_id)}/{step}"


def order_hand_back(order_id: object) -> str:
    """Where the form posts to that hands unused quota of an order back."""
    return f"{order(order_id)}/kembalikan"


def office_money(subject: object) -> str:
    """Where staff propose something about a return or a case."""
    return _below(OFFICE_MONEY, subject)


def office_money_decision(proposal_id: object) -> str:
    """Where staff decide what another of them proposed."""
    return _below(f"{OFFICE_MONEY}/usulan", proposal_id)


def document(document_id: object) -> str:
    """One document: what the inspection found."""
    return _below(DOCUMENTS, document_id)


def document_in_time(document_id: object) -> str:
    """The proof that a document was received in time, as a page."""
    return f"{document(document_id)}/tepat-waktu"


def document_in_time_file(document_id: object) -> str:
    """The same as a text file."""
    return f"{document_in_time(document_id)}.txt"


def place(document_id: object) -> str:
    """Choose where the mark goes (GET), and stamp there (POST)."""
    return f"{document(document_id)}/bubuhkan"


def unlock(document_id: object) -> str:
    """Where the password of a locked document is posted to."""
    return f"{document(document_id)}/kata-sandi"


def stamp(stamp_id: object) -> str:
    """One stamp: its progress, then its result."""
    return _below("/meterai", stamp_id)


def stamp_file(stamp_id: object) -> str:
    """The sealed file of a stamp."""
    return f"{stamp(stamp_id)}/berkas"


def verify(serial: str) -> str:
    """What is known of a serial. Short, because the QR code on every document holds it."""
    return _below("/v", serial)


def api_key_revoke(key_id: object) -> str:
    """Where the revoke button of an API key posts to."""
    return f"{_below(API_KEYS, key_id)}/cabut"


def group(group_id: object) -> str:
    """One group: its members, and who did what."""
    return _below(GROUPS, group_id)


def group_history(group_id: object) -> str:
    """Everything that was done for a group."""
    return f"{group(group_id)}/riwayat"


def group_invite(group_id: object) -> str:
    """Where the form that invites somebody to a group posts to."""
    return f"{group(group_id)}/undang"


def group_withdraw(group_id: object, invitation_id: object) -> str:
    """Where the button that withdraws an invitation posts to."""
    return f"{_below(f'{group(group_id)}/undangan', invitation_id)}/tarik"


def group_member(group_id: object, account_id: object) -> str:
    """One member: role and limits."""
    return _below(f"{group(group_id)}/anggota", account_id)


def group_remove(group_id: object, account_id: object) -> str:
    """Where the button that ends a membership posts to."""
    return f"{group_member(group_id, account_id)}/keluarkan"


def invitation(code: str) -> str:
    """What an invitation offers, and the button that accepts it."""
    return _below(INVITATION, code)


def programme(programme_id: object) -> str:
    """One programme of grants: for applicants to claim, and for its agency to run."""
    return _below(PROGRAMMES, programme_id)


def programme_part(programme_id: object, part: str) -> str:
    """A part of a programme's page, such as the form that funds it."""
    return f"{programme(programme_id)}/{part}"


def deposit(deposit_id: object) -> str:
    """One deposit with the treasury, and the forms of the second person."""
    return _below(TREASURY_DEPOSITS, deposit_id)


def stock_move(move_id: object) -> str:
    """One move of stock between partners, and the forms of the second person."""
    return _below(TREASURY_MOVES, move_id)


def office_partner(partner_id: object) -> str:
    """One partner, for the operator who may stop its sales."""
    return _below(OFFICE_PARTNERS, partner_id)


def office_group(group_id: object) -> str:
    """One group, for the operator who approves it."""
    return _below(OFFICE_GROUPS, group_id)


def operator_lane(name: str) -> str:
    """The levers of a lane, in the operator's room."""
    return _below(f"{OPERATOR}/jalur", name)


def operator_change(number: int) -> str:
    """One change of a lane, and its undoing."""
    return f"{OPERATOR}/perubahan/{number}"


def api_group(slug: str) -> str:
    """The operations of one group of the API."""
    return _below(API_DOCS, slug)


def refusal(code: object) -> str:
    """What one refusal means: the `type` of its problem document. An HTTP status stands for all that have it."""
    return _below(REFUSALS, code)
