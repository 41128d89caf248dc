"""Other signers doing the same work on the same file with the same key: the yardsticks of `emeterai bench seal`.

pyHanko signs in this process with a visible text-and-QR stamp, as its own documentation shows. podofosign (Debian:
libpodofo-utils) is C++ and one process a file. @signpdf/signpdf (npm, in the folder that SIGNPDF_FOLDER names) signs
without any visible mark. A peer that is absent is left out.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from cryptography.x509 import load_pem_x509_certificates
from pyhanko import stamp
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers

SIGNPDF_SCRIPT = Path(__file__).with_name("signpdf.mjs")
_QR_URL = "https://contoh.id/v/0000000000000000000000"


@dataclass(frozen=True)
class Keys:
    """The same key for everyone: PEM files, and the key itself."""

    key: rsa.RSAPrivateKey
    key_file: Path
    certificate_file: Path


def pyhanko_signer(keys: Keys, original: bytes) -> Callable[[], object]:
    """PAdES, SHA-512, visible stamp with a QR code: everything that our seal has."""
    signer = signers.SimpleSigner.load(str(keys.key_file), str(leaf_of(keys)))
    assert signer is not None
    style = stamp.QRStampStyle(stamp_text="METERAI ELEKTRONIK\n10000\nSPECIMEN")
    meta = signers.PdfSignatureMetadata(
        field_name="Seal", md_algorithm="sha512", subfilter=fields.SigSeedSubFilter.PADES
    )
    field = fields.SigFieldSpec("Seal", on_page=-1, box=(400, 40, 480, 120))

    def sign() -> bytes:
        pdf_signer = signers.PdfSigner(meta, signer=signer, stamp_style=style, new_field_spec=field)
        out = pdf_signer.sign_pdf(
            IncrementalPdfFileWriter(io.BytesIO(original)), appearance_text_params={"url": _QR_URL}
        )
        return bytes(out.getbuffer())

    return sign


def podofo_signer(keys: Keys, path: Path) -> Callable[[], object] | None:
    """One podofosign process a file, with a visible text; None when it is not installed."""
    program = shutil.which("podofosign")
    if program is None:
        return None
    command = [program, "-in", str(path), "-out", str(path.with_suffix(".podofo")), "-cert", str(leaf_of(keys))]
    command += ["-pkey", str(keys.key_file), "-annot-position", "1,150,250,28,28", "-annot-print"]
    command += ["-annot-text", "2,2,METERAI ELEKTRONIK 10000 SPECIMEN"]

    def sign() -> None:
        subprocess.run(command, check=True, capture_output=True)

    return sign


def signpdf_rate(keys: Keys, path: Path, seconds: float) -> float | None:
    """Signatures a second of @signpdf/signpdf in one Node process; None when it is not there."""
    folder, node = os.environ.get("SIGNPDF_FOLDER"), shutil.which("node")
    if folder is None or node is None:
        return None
    store = path.with_suffix(".p12")
    chain = load_pem_x509_certificates(keys.certificate_file.read_bytes())
    store.write_bytes(
        pkcs12.serialize_key_and_certificates(b"peer", keys.key, chain[0], None, BestAvailableEncryption(b"peer"))
    )
    script = Path(folder) / SIGNPDF_SCRIPT.name
    shutil.copy(SIGNPDF_SCRIPT, script)
    command = [node, str(script), str(path), str(store), str(seconds)]
    said = subprocess.run(command, check=False, capture_output=True, text=True)
    return float(said.stdout) if said.returncode == 0 else None


def leaf_of(keys: Keys) -> Path:
    """The sealing certificate alone: the peers take no chain."""
    end = "-----END CERTIFICATE-----\n"
    leaf = keys.certificate_file.with_name("leaf.pem")
    leaf.write_text(keys.certificate_file.read_text().partition(end)[0] + end)
    return leaf
