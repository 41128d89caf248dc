"""Every "no" of the sealing engine. Declared in one place because the opener says them and the parent rebuilds them."""

from __future__ import annotations

from emeterai.core.refusal import RefusalKind

PDF_EMPTY = RefusalKind(
    "pdf_empty",
    422,
    "Berkas kosong (0 bita). Unggah lagi berkas yang benar.",
    "The file is empty (0 bytes). Upload the right file again.",
)
PDF_NOT_PDF = RefusalKind(
    "pdf_not_pdf",
    422,
    "Berkas ini bukan PDF. Simpan dokumen Anda sebagai PDF, lalu unggah lagi.",
    "This file is not a PDF. Save your document as a PDF, then upload it again.",
)
PDF_TOO_LARGE = RefusalKind(
    "pdf_too_large",
    413,
    "Berkas lebih besar dari {size_bytes_max} bita. Perkecil gambar di dalamnya, simpan ulang, lalu unggah lagi.",
    "The file is larger than {size_bytes_max} bytes. Make its pictures smaller, save it again, then upload it again.",
)
PDF_ENCRYPTED = RefusalKind(
    "pdf_encrypted",
    422,
    "Berkas ini terkunci kata sandi. Sertakan kata sandinya, atau simpan ulang tanpa kata sandi lalu unggah lagi.",
    "This file is locked by a password. Give its password, or save it again without one, then upload it again.",
)
PDF_PASSWORD_WRONG = RefusalKind(
    "pdf_password_wrong",
    422,
    "Kata sandi itu tidak membuka berkas ini. Periksa kata sandinya, lalu coba lagi.",
    "That password does not open this file. Check the password, then try again.",
)
PDF_ENCRYPTION_UNKNOWN = RefusalKind(
    "pdf_encryption_unknown",
    422,
    "Berkas ini dikunci dengan cara yang tidak dapat kami buka, misalnya dengan sertifikat penerima. "
    "Simpan ulang sebagai PDF tanpa kunci, lalu unggah lagi.",
    "This file is locked in a way that we cannot open, for example with the recipient's certificate. "
    "Save it again as a PDF without a lock, then upload it again.",
)
PDF_BROKEN = RefusalKind(
    "pdf_broken",
    422,
    "Isi berkas PDF ini rusak. Buka dengan pembaca PDF, simpan ulang sebagai PDF, lalu unggah lagi.",
    "The inside of this PDF is damaged. Open it in a PDF reader, save it as a PDF again, then upload it again.",
)
PDF_SIGNED_AND_BROKEN = RefusalKind(
    "pdf_signed_and_broken",
    422,
    "Berkas ini bertanda tangan digital dan susunannya rusak. Memperbaikinya akan membatalkan tanda tangan itu, "
    "jadi tidak kami ubah. Minta berkas asli yang utuh dari penandatangan, lalu unggah yang itu.",
    "This file is digitally signed and its structure is damaged. Mending it would end the signature, so we left it "
    "as it is. Ask the signer for the whole original file and upload that one.",
)
PDF_NUMBERS_EXHAUSTED = RefusalKind(
    "pdf_numbers_exhausted",
    422,
    "Penomoran di dalam berkas bertanda tangan ini sudah habis, jadi tidak ada tempat untuk meterai. "
    "Bubuhkan meterai pada versi yang belum ditandatangani.",
    "The numbering inside this signed file is used up, so there is no room for a stamp. "
    "Stamp the version that is not signed yet.",
)
PDF_NO_PAGES = RefusalKind(
    "pdf_no_pages",
    422,
    "Berkas PDF ini tidak memiliki halaman. Unggah dokumen yang berisi setidaknya satu halaman.",
    "This PDF has no pages. Upload a document with at least one page.",
)
PDF_CERTIFIED_NO_CHANGES = RefusalKind(
    "pdf_certified_no_changes",
    422,
    "Pembuat dokumen ini mengunci isinya dengan sertifikasi yang melarang perubahan apa pun. "
    "Minta versi tanpa kunci itu, atau bubuhkan meterai sebelum dokumen disertifikasi.",
    "The author certified this document so that no change at all is allowed. "
    "Ask for a version without that lock, or stamp the document before it is certified.",
)
PDF_FIELDS_LOCKED = RefusalKind(
    "pdf_fields_locked",
    422,
    "Penandatangan dokumen ini mengunci semua isian, juga yang baru, jadi meterai akan membatalkan tanda tangannya. "
    "Bubuhkan meterai sebelum dokumen ditandatangani dan dikunci.",
    "The signer of this document locked all fields, new ones too, so a stamp would end the signature. "
    "Stamp the document before it is signed and locked.",
)
PDF_TOO_COMPLEX = RefusalKind(
    "pdf_too_complex",
    422,
    "Berkas ini terlalu rumit untuk dibuka dengan aman. Cetak ke PDF yang lebih sederhana, lalu unggah lagi.",
    "This file is too complex to be opened safely. Print it to a simpler PDF, then upload it again.",
)
PAGE_NOT_IN_DOCUMENT = RefusalKind(
    "page_not_in_document",
    422,
    "Halaman {page} tidak ada. Dokumen ini memiliki {pages} halaman; pilih halaman 1 sampai {pages}.",
    "There is no page {page}. This document has {pages} page(s); choose a page from 1 to {pages}.",
)
BOX_OFF_PAGE = RefusalKind(
    "box_off_page",
    422,
    "Kotak meterai keluar dari halaman (ukuran halaman {width_pt} x {height_pt} pt). Geser ke dalam halaman.",
    "The stamp's box lies off the page (the page is {width_pt} x {height_pt} pt). Move it inside the page.",
)
BOX_TOO_SMALL = RefusalKind(
    "box_too_small",
    422,
    "Kotak meterai terlalu kecil. Lebar dan tingginya paling sedikit {side_pt_min} pt agar kode QR terbaca.",
    "The stamp's box is too small. Make it at least {side_pt_min} pt wide and high so that the QR code can be read.",
)
PLACE_UNKNOWN = RefusalKind(
    "place_unknown",
    422,
    "Letak itu tidak dikenal. Pilih salah satu: {places}.",
    "That place is not known. Choose one of: {places}.",
)
SEALER_BUSY = RefusalKind(
    "sealer_busy",
    503,
    "Pembubuh meterai sedang penuh. Coba lagi dalam beberapa detik; kuota Anda tidak berkurang.",
    "The sealer is full at the moment. Try again in a few seconds; your quota is untouched.",
)
SEAL_NOT_VALID = RefusalKind(
    "seal_not_valid",
    500,
    "Meterai gagal lolos pemeriksaan ulang dan tidak dipakai. Coba lagi; kuota Anda kembali.",
    "The stamp did not pass its re-check and was not used. Try again; your quota comes back.",
)
SEAL_SLOT_OVERFLOW = RefusalKind(
    "seal_slot_overflow",
    500,
    "Tanda tangan meterai lebih besar dari tempatnya, jadi meterai dibatalkan. Coba lagi; kuota Anda kembali.",
    "The stamp's signature is larger than its slot, so the stamp was cancelled. Try again; your quota comes back.",
)
SEALING_KEY_AWAY = RefusalKind(
    "sealing_key_away",
    503,
    "Kunci pembubuh meterai sedang tidak terjangkau. Coba lagi sebentar; kuota Anda tidak berkurang.",
    "The key that makes stamps cannot be reached at the moment. Try again shortly; your quota is untouched.",
)
SEALING_CERTIFICATE_EXPIRED = RefusalKind(
    "sealing_certificate_expired",
    503,
    "Sertifikat pembubuh meterai sudah habis masa berlakunya dan sedang diganti. Coba lagi nanti; kuota Anda kembali.",
    "The certificate that makes stamps has expired and is being replaced. Try again later; your quota comes back.",
)
