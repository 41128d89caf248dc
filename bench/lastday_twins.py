"""Whom the service of the outages leans on besides PostgreSQL, blobs and payments: key, timestamps and mail, as twins.

The service of the ramp has none of them: a seal that a token signs and an authority dates costs more.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from figures import TESTS

from emeterai.infra.clock import utc_now
from emeterai.seal.authority import ensure_test_authority

sys.path.insert(0, str(TESTS / "seal"))

from tokens import SoftToken

from twins.apart import Apart
from twins.mail_server import HOST

_KEY_LABEL = "segel"


@dataclass(frozen=True)
class Twins:
    """All three, at work. `token` None: this machine has no SoftHSM2, and the key is in a file as by default."""

    token: SoftToken | None
    timestamps: Apart
    mail: Apart
    settings: dict[str, str]
    """What the service that leans on them is told."""
    register_file: Path

    def letters(self) -> list[float]:
        """When the mail server took each letter, in seconds since 1970."""
        return [float(line) for line in self.register_file.read_text(encoding="ascii").splitlines()]


@contextmanager
def twins_in(folder: Path) -> Iterator[Twins]:
    """The twins, with what they keep in `folder`; a service that is started inside the block finds them."""
    folder.mkdir(parents=True)
    roots_file, register_file = folder / "timestamp-roots.pem", folder / "letters"
    register_file.touch()
    with ExitStack() as stack:
        timestamps = Apart("timestamp_process", str(roots_file))
        stack.callback(timestamps.end)
        mail = Apart("mail_server", str(register_file))
        stack.callback(mail.end)
        settings = {
            "EMETERAI_TIMESTAMP_URL": timestamps.said,
            "EMETERAI_TIMESTAMP_ROOTS_FILE": str(roots_file),
            "EMETERAI_SMTP_URL": f"smtp://{HOST}:{mail.said}",
        }
        token = _token_in(folder)
        if token is not None:
            stack.enter_context(token.configured())
            settings |= _key_settings(token, folder)
        yield Twins(token, timestamps, mail, settings, register_file)


def _token_in(folder: Path) -> SoftToken | None:
    """An empty token; None without SoftHSM2, which CI must have."""
    try:
        return SoftToken(folder / "token")
    except pytest.skip.Exception:
        return None


def _key_settings(token: SoftToken, folder: Path) -> dict[str, str]:
    """A key of the same kind as the service would have made for itself, in the token."""
    key_file, certificate_file = ensure_test_authority(folder / "keys", now=utc_now())
    key = load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    token.put_key(key, _KEY_LABEL)
    key_file.unlink()
    place = token.place(_KEY_LABEL)
    return {
        "EMETERAI_PKCS11_MODULE": str(place.module),
        "EMETERAI_PKCS11_TOKEN": place.token_label,
        "EMETERAI_PKCS11_KEY_LABEL": place.key_label,
        "EMETERAI_PKCS11_PIN_FILE": str(place.pin_file),
        "EMETERAI_CERTIFICATE_FILE": str(certificate_file),
    }
