"""What the words on a page say about where its stamp goes: printed stamp words and signature blocks."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from emeterai.seal.model import Box

_REPEATED = 4
"""Words that stand so often on a page are a column of a table, not signatures."""
_LINE_GAP = 1.7
"""Lines of one printed stamp word are at most so many line heights apart."""
_STAMP_WORDS = (
    r"e-?meterai|e-?materai|meterai|materai|elektronik|electronic|digital|tempelkan|tempel|bubuhkan|dibubuhi|disini"
    r"|letakkan|tempat|stempel|cap|ttd|tandatangan|rp\.?|idr|\d[\d.,]*|-|sepuluhribu|enamribu|rupiah|cukup|dan|&"
    r"|[\W_]"
)
_STAMP_WORD_LINE = re.compile(rf"(?:{_STAMP_WORDS})+")
_STAMP_WORD = re.compile(r"m[ae]t[ea]rai")
_LETTER = re.compile(r"[^\W_]")
_APPLICANTS = (
    r"hormat(saya|kami)|(salam)?hormat|(yang|yg)(membuatpernyataan(ini)?|menyatakan|bersangkutan|bermohon|memohon"
    r"|bertandatangan|menerimakuasa|menerima|berjanji|melamar)|(yang|yg)(memberi|membuat)(kuasa|keterangan|perjanjian)?"
    r"|pemohon|pelamar|pembuatpernyataan|penerima|penerimakuasa|pemberikuasa|yangmemberipernyataan|saya(yangmenyatakan)?"
    r"|hormatsayayangmembuatpernyataan|tandatangan|ttd|(yours)?(sincerely|faithfully|truly)(yours)?|regards"
    r"|(best|kind|warm)regards|respectfully(yours)?|(the)?(applicant|declarant|undersigned)"
)
_PARTIES = (
    r"(yang)?pihak(ke)?(pertama|kedua|ketiga|i{1,3}|[123])|penyewa|yangmenyewakan|penjual|pembeli|debitur|kreditur"
    r"|peminjam"
)
_TITLES = (
    r"pemilik|karyawan|pekerja|perusahaan|direktur(utama)?|kepala\w*|ketua\w*|sekretaris\w*|bendahara\w*|manajer\w*"
    r"|pimpinan\w*"
)
_TAIL = r"(\((pihak\w+|[ivx\d]+)\))?[,.:]*"
_APPLICANT = re.compile(rf"(?:{_APPLICANTS}){_TAIL}")
_PARTY = re.compile(rf"(?:{_PARTIES})[,.:]*")
_TITLE = re.compile(rf"(?:{_TITLES})[,.:]*")
_MONTHS = "januari|februari|pebruari|maret|april|mei|juni|juli|agustus|september|oktober|november|nopember|desember"
_DAY = rf"[\d.…_]{{1,12}}\s*({_MONTHS}|[.…_]{{3,40}})?\s*(\d{{4}}|\d{{0,2}}[.…_]{{2,8}})?"
_DATE = re.compile(rf"[\w.…_ ]{{2,40}},\s*(tanggal|tgl\.?)?\s*({_DAY}|\d{{1,2}}[-/]\d{{1,2}}[-/]\d{{2,4}})")
_NAME_LINE = re.compile(r"\(\s*[.…_\s-]{5,}\s*\)|[_…]{8,}|\.{12,}|\(\s*[\w.,' -]{3,50}\s*\)")
_MAY_MATTER = re.compile(
    r"m[ae]t[ea]rai|tempel|(^|\W)rp\W*\d|\d[.,]?000|hormat|y(an)?g(mem|menya|menye|mene|menja|mela|berm|berj|bert|bers)"
    r"|pemohon|pelamar|pembuat|penerima|pemberi|pemilik|peminjam|penjual|pembeli|penyewa|debitur|kreditur|karyawan"
    r"|pekerja|perusahaan|direktur|kepala|ketua|manajer|pimpinan|sekretaris|bendahara|pihak|tandatangan|ttd|stempel|disini|bubuhkan|elektronik"
    r"|sincerely|faithfully|truly|regards|respectfully|applicant|declarant|undersigned"
    rf"|digital|{_MONTHS}|,[.…_]{{3}}|\d[-/]\d{{1,2}}[-/]\d|[.…_]{{8}}|\([^()]{{3,50}}\)"
)
_LINE_LENGTH_MAX = 72

Kind = Literal["applicant", "party", "date", "title", "name"]
_ORDER: tuple[Kind, ...] = ("applicant", "party", "date", "title", "name")


@dataclass(frozen=True, slots=True)
class Words:
    """A run of text on one line, and where it is on the page as seen."""

    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class Anchor:
    """Words beside which people sign: below them, or above them when they are the `name` line itself."""

    kind: Kind
    box: Box

    @property
    def is_sure(self) -> bool:
        """Whether such words stand above signatures only; dates, titles and brackets stand elsewhere as well."""
        return self.kind in {"applicant", "party"}


def may_matter(line: str) -> bool:
    """Whether a line may hold any of the words below; cheap, so that few lines of a full page are looked at closely."""
    return len(line) <= _LINE_LENGTH_MAX and _MAY_MATTER.search(_squeezed(line)) is not None


def stamp_words(lines: Sequence[Words]) -> list[Box]:
    """Where a page says "stamp here": runs of such words alone, the lines of one together; the lowest first."""
    alone = [(_squeezed(line.text), line.box) for line in lines if _STAMP_WORD_LINE.fullmatch(_squeezed(line.text))]
    found: list[Box] = []
    for text, box in alone:
        if not _STAMP_WORD.search(text):
            continue
        grown = True
        around = box
        while grown:
            joined = [other for words, other in alone if _LETTER.search(words) and _belongs(around, other)]
            larger = surrounding([around, *joined])
            grown, around = larger != around, larger
        if around not in found:
            found.append(around)
    return sorted(found, key=lambda box: (box.y0, -box.x0))


def anchors(lines: Sequence[Words]) -> list[Anchor]:
    """The words beside which people sign, likeliest first: the applicant's; of several the lowest, then rightmost."""
    texts = Counter(_squeezed(line.text) for line in lines)
    found = [
        Anchor(kind, line.box)
        for line in lines
        if texts[_squeezed(line.text)] < _REPEATED and (kind := _kind_of(line.text))
    ]
    return sorted(found, key=lambda anchor: (_ORDER.index(anchor.kind), _band(anchor.box), -anchor.box.x0))


def has_block(found: Sequence[Anchor]) -> bool:
    """Whether a page surely carries a signature block; a date or a row of dots may stand anywhere."""
    return any(anchor.is_sure for anchor in found)


def _kind_of(text: str) -> Kind | None:
    squeezed = _squeezed(text)
    if _APPLICANT.fullmatch(squeezed):
        return "applicant"
    if _PARTY.fullmatch(squeezed):
        return "party"
    if _TITLE.fullmatch(squeezed):
        return "title"
    plain = unicodedata.normalize("NFKC", text).strip().lower()
    if _NAME_LINE.fullmatch(plain):
        return "name"
    return "date" if _DATE.fullmatch(plain) else None


def _squeezed(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).lower().split())


def _band(box: Box) -> float:
    # Blocks side by side are seldom at exactly one height.
    return round(box.y0 / 24)


def _belongs(word: Box, other: Box) -> bool:
    height = max(other.y1 - other.y0, 6)
    apart_y = max(word.y0 - other.y1, other.y0 - word.y1)
    apart_x = max(word.x0 - other.x1, other.x0 - word.x1)
    return apart_y <= (_LINE_GAP - 1) * height and apart_x <= height


def surrounding(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all of some."""
    return Box(
        min(box.x0 for box in boxes),
        min(box.y0 for box in boxes),
        max(box.x1 for box in boxes),
        max(box.y1 for box in boxes),
    )
