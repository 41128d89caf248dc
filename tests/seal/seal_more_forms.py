"""More forms of letters, rarer ones and such as mislead."""

from __future__ import annotations

from seal_forms import CORNERS_BELOW, DOTS, block, contract, opening, wider
from seal_paper import Area, Paper


def cell_with_word(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "BERITA ACARA SERAH TERIMA", 6)
    y = paper.y
    paper.draw(f"0.6 w 72 {y - 110} 451 110 re S 222 {y - 110} m 222 {y} l S 372 {y - 110} m 372 {y} l S")
    paper.text(80, "Yang menyerahkan,", y=y - 14)
    paper.text(80, "Budi Santoso", y=y - 104)
    area = paper.stamp_word(297, y - 55, "Materai Rp10.000,-")
    paper.text(380, "Yang menerima,", y=y - 14)
    paper.text(380, "Siti Rahmawati", y=y - 104)
    return 1, [wider(area, 30)]


def english(paper: Paper) -> tuple[int, list[Area]]:
    paper.lines("Jakarta, November 21, 2026", "", "Dear Sir or Madam,", "")
    paper.body(12)
    paper.skip()
    return 1, [block(paper, 72, "Yours sincerely,", lines=4)]


def table_of_people(paper: Paper) -> tuple[int, list[Area]]:
    paper.text(72, "Daftar permohonan", size=14)
    paper.skip(2)
    for row in range(12):
        for x, text in ((72, "Pemohon"), (200, "Pihak Pertama"), (360, f"Rp {row}.000")):
            paper.text(x, text)
        paper.skip()
    paper.skip(2)
    return 1, [block(paper, 380, "Kepala Bagian", lines=5, name="Dra. Endang")]


def proxy(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "SURAT KUASA PENGAMBILAN", 8)
    y = paper.y
    block(paper, 90, "Yang diberi kuasa,", lines=5, name="Budi Santoso")
    paper.y = y
    return 1, [block(paper, 380, "Yang memberi kuasa,", lines=5)]


def signed_by_letters(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "SURAT PERNYATAAN", 8)
    y = paper.y
    area = block(paper, 370, "Yang membuat pernyataan,", lines=5)
    paper.text(390, "ttd.", y=y - 3.2 * paper.leading)
    return 1, [area]


def dotted_end(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "SURAT PERNYATAAN", 8)
    paper.lines(f"{DOTS[:14]}, {DOTS[:20]} 2026", x=340)
    return 1, [block(paper, 340, "Yang menyatakan,", lines=5, name=DOTS)]


def with_witnesses(paper: Paper) -> tuple[int, list[Area]]:
    _, areas = contract(paper)
    paper.skip(2)
    paper.lines("Saksi-saksi:", f"1. Agus   {DOTS}", "", f"2. Dewi   {DOTS}")
    return 1, areas


def end_on_second_page(paper: Paper) -> tuple[int, list[Area]]:
    paper.body(44)
    paper.end_page()
    paper.body(3)
    paper.skip(2)
    area = block(paper, 350, "Hormat kami,", "PT Maju Bersama", lines=5, name="Budi Santoso")
    paper.end_page()
    return 2, [area]


def low_on_the_page(paper: Paper) -> tuple[int, list[Area]]:
    paper.body(int((paper.height - 230) / paper.leading))
    paper.skip()
    return 1, [block(paper, 370, "Hormat saya,", lines=3)]


def named_by_number(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "SURAT TUGAS", 8)
    area = block(paper, 430, "Kepala Dinas Pendidikan", "Kota Bandung,", lines=4, at="middle", name="Dr. H. Asep, M.M.")
    paper.text(430, "NIP 196501011990031001", at="middle")
    return 1, [area]


def dated_above_only(paper: Paper) -> tuple[int, list[Area]]:
    """Nothing at its end says that somebody signs; the date at its head is no signature."""
    paper.lines("Jakarta, 21 November 2026", x=paper.width - 72, at="right")
    paper.skip(2)
    paper.lines("Kepada semua pegawai", "")
    paper.body(18)
    return 1, CORNERS_BELOW


def numbered_in_brackets(paper: Paper) -> tuple[int, list[Area]]:
    paper.text(paper.width / 2, "PENGUMUMAN", at="middle", size=14)
    paper.skip()
    paper.text(paper.width / 2, "(Nomor 14 Tahun 2026)", at="middle")
    paper.skip(2)
    paper.body(18)
    return 1, CORNERS_BELOW


def stamp_in_brackets(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "SURAT PERNYATAAN AHLI WARIS", 8)
    block(paper, 360, "Yang menyatakan,", lines=6, put="(materai 10.000)")
    return 1, [wider(paper.exempt[0], 42)]


def unit_below_name(paper: Paper) -> tuple[int, list[Area]]:
    opening(paper, "SURAT KETERANGAN KERJA", 8)
    paper.lines("Surabaya, 2 Mei 2026", x=340)
    area = block(paper, 340, "PT Maju Bersama,", lines=5, name="Rina Kartika")
    paper.text(340, "Kepala Personalia", y=paper.y + 0.1 * paper.leading)
    return 1, [area]
