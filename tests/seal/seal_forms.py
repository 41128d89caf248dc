"""The forms of letters that people send, each with the place where its stamp belongs."""

from __future__ import annotations

from collections.abc import Callable

from pikepdf import Array, Dictionary, Name
from seal_paper import Area, Paper, scanned, signature, written

Form = Callable[[Paper], tuple[int, list[Area]]]
"""Writes a letter; answers the page of its stamp and the areas in which the middle of the mark may lie."""
DOTS = "." * 30
CORNERS_BELOW: list[Area] = [(415, 30, 560, 180), (30, 30, 180, 180)]


def block(
    paper: Paper, x: float, *words: str, name: str = "Siti Rahmawati", lines: float = 4, at: str = "left", put: str = ""
) -> Area:
    """A signature block at x: words, room to sign, name; the area where a stamp beside the signature has its middle."""
    ends = [paper.text(x, word, y=paper.y - row * paper.leading, at=at) for row, word in enumerate(words)]
    paper.y -= (len(words) - 1) * paper.leading
    top = paper.y
    paper.skip(lines + 1)
    ends.append(paper.text(x, name, at=at))
    bottom = paper.y
    left, right = min(end[0] for end in ends), max(end[2] for end in ends)
    if put == "signature":
        paper.picture(signature(), (left + 2, bottom + 11, left + 112, top - 6))
    elif put:
        paper.stamp_word(left + 40, (top + bottom) / 2 + 3, *put.split("|"))
    paper.skip()
    return (left - 110, bottom - 30, right + 110, top + 30)


def opening(paper: Paper, title: str = "SURAT PERNYATAAN", body: int = 6) -> None:
    """The upper part of a letter: title, personal data, some text."""
    paper.text(paper.width / 2, title, at="middle", size=14)
    paper.skip(2)
    paper.lines("Yang bertanda tangan di bawah ini:", "Nama   : Siti Rahmawati", "NIK    : 3174012345678901")
    paper.skip()
    paper.body(body)
    paper.skip(1.5)


def application(paper: Paper) -> tuple[int, list[Area]]:
    paper.lines("Jakarta, 21 November 2026", x=paper.width - 72, at="right")
    paper.lines("Hal: Lamaran Pekerjaan", "", "Yth. Kepala Badan Kepegawaian Negara", "di Jakarta")
    paper.skip()
    paper.body(14)
    paper.skip(2)
    return 1, [block(paper, 370, "Hormat saya,")]


def application_full_block(paper: Paper) -> tuple[int, list[Area]]:
    paper.lines("Bandung, 3 Maret 2026", "", "Dengan hormat,")
    paper.body(10)
    paper.skip()
    return 1, [block(paper, 72, "Hormat saya,", lines=3)]


def application_signed(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "SURAT LAMARAN", 10)
    area = block(paper, 360, "Hormat kami,", lines=5, put="signature")
    return 1, [(area[0], area[1], area[0] + 75, area[3]), (area[2] - 110, area[1], area[2] + 20, area[3])]


def application_close_name(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "SURAT LAMARAN", 8)
    return 1, [block(paper, 380, "Hormat saya,", lines=1)]


def declaration_framed(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper)
    paper.lines(*(f"{point}. Tidak pernah dihukum penjara atau diberhentikan tidak hormat;" for point in range(1, 6)))
    paper.skip(2)
    paper.lines("Surabaya, 4 September 2026", x=350)
    y = paper.y
    block(paper, 350, "Yang membuat pernyataan,", lines=5)
    area = paper.stamp_word(388, y - 42, "Materai", "10.000", framed="dotted")
    return 1, [area]


def declaration_word(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper)
    paper.lines(*(f"{point}. Bersedia ditempatkan di seluruh wilayah Indonesia;" for point in range(1, 6)))
    paper.skip(2)
    block(paper, 350, "Yang membuat pernyataan,", lines=5, put="Meterai Rp10.000")
    return 1, [wider(paper.exempt[0], 42)]


def declaration_tight_word(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper)
    area = block(paper, 350, "Yang menyatakan,", lines=3, put="e-meterai")
    return 1, [area]


def declaration_three_lines(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, body=4)
    y = paper.y
    block(paper, 380, "Pembuat Pernyataan", lines=6, name="(Siti Rahmawati)")
    area = paper.stamp_word(330, y - 48, "TEMPEL", "MATERAI", "Rp 10.000", framed="solid")
    return 1, [area]


def candidate(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "SURAT LAMARAN CPNS 2026", 12)
    return 1, [block(paper, 400, "Pelamar,", lines=5, at="middle", name="Siti Rahmawati, S.Pd.")]


def power_of_attorney(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "SURAT KUASA", 6)
    y = paper.y
    block(paper, 90, "Penerima Kuasa,", lines=5)
    paper.y = y
    block(paper, 370, "Pemberi Kuasa,", lines=5, put="Meterai|10000")
    return 1, [wider(paper.exempt[0], 40)]


def contract(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "PERJANJIAN KERJA", 14)
    y = paper.y
    block(paper, 90, "PIHAK PERTAMA", lines=5, name="Budi Santoso")
    paper.y = y
    return 1, [block(paper, 400, "PIHAK KEDUA", lines=5)]


def contract_worded(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "PERJANJIAN SEWA MENYEWA", 8)
    y = paper.y
    block(paper, 80, "Pihak Pertama,", lines=6, name="Budi Santoso")
    paper.y = y
    block(paper, 430, "Pihak Kedua,", lines=6)
    return 1, [paper.stamp_word(298, y - 50, "METERAI", framed="solid")]


def parents_consent(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "SURAT IZIN ORANG TUA", 6)
    y = paper.y
    block(paper, 80, "Mengetahui,", "Orang tua/wali", lines=4, name="Sutrisno")
    paper.y = y
    return 1, [block(paper, 380, "Hormat saya,", "Calon peserta", lines=4)]


def receipt(paper: Paper) -> tuple[int, list[Area]]:
    paper.text(60, "KUITANSI   No. 014/XI/2026", size=14)
    paper.skip(2)
    paper.lines("Sudah terima dari : PT Maju Bersama", "Uang sejumlah     : Sepuluh juta rupiah", x=60)
    paper.lines("Untuk pembayaran  : Sewa ruang bulan November", "", x=60)
    paper.lines("Jakarta, 21 November 2026", x=400)
    y = paper.y
    paper.skip(5)
    paper.text(400, "(Siti Rahmawati)")
    return 1, [(290, 20, 560, y + 30)]


def director(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "SURAT KETERANGAN", 10)
    paper.lines("Bandung, 3 Maret 2026", x=360)
    return 1, [block(paper, 360, "PT Maju Bersama", "Direktur", lines=5)]


def dotted_name(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "SURAT TANDA TERIMA", 8)
    paper.skip(6)
    x0, y0, x1, y1 = paper.text(360, f"( {DOTS} )")
    return 1, [(x0 - 110, y0 - 30, x1 + 60, y1 + 100)]


def with_annex(paper: Paper) -> tuple[int, list[Area]]:
    _, areas = candidate(paper)
    paper.end_page()
    paper.lines("LAMPIRAN", *(f"{row}. Ijazah dan transkrip nilai" for row in range(1, 16)))
    return 1, areas


def with_word_before_annexes(paper: Paper) -> tuple[int, list[Area]]:
    _, areas = declaration_framed(paper)
    for _ in range(3):
        paper.end_page()
        paper.body(40)
    return 1, areas


def turned(paper: Paper) -> tuple[int, list[Area]]:
    """The page is stored sideways: what is written on it runs upwards, /Rotate 90 puts it right."""
    paper.draw("q 0 1 -1 0 595 0 cm")
    paper.y = 500
    paper.lines("SURAT PERNYATAAN", "", "Saya menyatakan data ini benar.", "", x=80)
    area = block(paper, 560, "Yang menyatakan,", lines=5)
    paper.draw("Q")
    paper.end_page(Rotate=90)
    return 1, [area]


def cropped(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, body=8)
    x0, y0, x1, y1 = block(paper, 350, "Hormat saya,", lines=5)
    paper.end_page(CropBox=Array([40, 60, 560, 820]))
    return 1, [(x0 - 40, y0 - 60, x1 - 40, y1 - 60)]


def columns(paper: Paper) -> tuple[int, list[Area]]:
    top = paper.y
    for x in (50, 310):
        paper.y = top
        paper.body(34, x=x, width=230)
    return 1, CORNERS_BELOW


def full_page(paper: Paper) -> tuple[int, list[Area]]:
    paper.body(int((paper.height - 144) / paper.leading))
    return 1, [(0, 0, 595, 72), (0, 770, 595, 842), (0, 0, 72, 842), (523, 0, 595, 842)]


def two_up(paper: Paper) -> tuple[int, list[Area]]:
    for x in (50, 450):
        paper.y = 500
        paper.body(8, x=x, width=330)
        paper.skip(2)
        area = block(paper, x + 170, "Hormat saya,", lines=5)
    return 1, [area]


def watermarked(paper: Paper) -> tuple[int, list[Area]]:
    paper.draw(
        f"0.93 0.95 0.99 rg 0 0 {paper.width} {paper.height} re f 0.1 0.2 0.5 rg 0 800 {paper.width} 42 re f 0 g"
    )
    paper.skip(2)
    opening(paper, "SURAT TUGAS", 8)
    return 1, [block(paper, 380, "Hormat kami,", lines=5)]


def in_a_table(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "FORMULIR PENDAFTARAN", 6)
    y = paper.y
    paper.draw(f"0.6 w 72 {y - 130} 451 130 re S 297 {y - 130} m 297 {y} l S")
    paper.text(80, "Catatan petugas", y=y - 14)
    paper.text(305, "Pemohon,", y=y - 14)
    paper.text(305, "Siti Rahmawati", y=y - 122)
    return 1, [(297, y - 130, 523, y)]


def stamped_before(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, body=6)
    area = block(paper, 350, "Hormat saya,", lines=6)
    mark = Dictionary(Type=Name.Annot, Subtype=Name.Stamp, F=4)
    mark.Rect = Array([350, area[1] + 45, 428, area[1] + 123])
    paper.end_page(Annots=Array([mark]))
    return 1, [(area[0], area[1] - 20, 345, area[3]), (430, area[1] - 20, area[2] + 40, area[3])]


def scan_signed_left(paper: Paper) -> tuple[int, list[Area]]:
    lines = [(10.0, 8 + 2.2 * row, "dengan ini saya menyatakan bahwa seluruh data adalah benar") for row in range(26)]
    page = written([*lines, (10, 70, "Hormat saya,"), (10, 84, "Siti Rahmawati")])
    page.paste(signature(), (120, 1270))
    paper.picture(scanned(page), (0, 0, 595, 842))
    return 1, CORNERS_BELOW


def photographed(paper: Paper) -> tuple[int, list[Area]]:
    lines = [(10.0, 8 + 2.2 * row, "dengan ini saya menyatakan bahwa seluruh data adalah benar") for row in range(22)]
    page = written([*lines, (62, 66, "Hormat saya,"), (62, 92, "Siti Rahmawati")])
    page.paste(signature(), (780, 1330))
    paper.picture(scanned(page, shade=0.25), (0, 0, 595, 842))
    return 1, CORNERS_BELOW


def short_note(paper: Paper) -> tuple[int, list[Area]]:
    paper.lines("Saya setuju dengan semua syarat.", "", "", "")
    y = paper.y
    paper.lines("Yang menyatakan", x=360)
    return 1, [(250, y - 120, 560, y + 20)]


def plain_page(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "DAFTAR RIWAYAT HIDUP", 10)
    return 1, CORNERS_BELOW[:1]


def wider(area: Area, by: float) -> Area:
    """An area grown on all sides."""
    return (area[0] - by, area[1] - by, area[2] + by, area[3] + by)
