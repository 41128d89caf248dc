"""What must not be readable in the database: enciphered under a secret of this installation, bound to what it is of."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from emeterai.infra.secrets import SECRET_BYTES

_NONCE_BYTES = 12


class BoundCipher:
    """AES-256-GCM (NIST SP 800-38D) under a key that HKDF (RFC 5869) derives from a secret for one purpose."""

    def __init__(self, secret: bytes, purpose: bytes) -> None:
        """Raises ValueError for a secret of fewer than 32 bytes."""
        if len(secret) < SECRET_BYTES:
            raise ValueError(f"a secret that enciphers has at least {SECRET_BYTES} bytes")
        self._aead = AESGCM(HKDF(SHA256(), 32, salt=None, info=purpose).derive(secret))

    def enciphered(self, content: bytes, bound_to: bytes) -> bytes:
        """The content as it may be kept, 28 bytes longer: of no use for anything else than what it is bound to."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, content, bound_to)

    def deciphered(self, kept: bytes, bound_to: bytes) -> bytes | None:
        """The content; None when it was altered, is of something else, or another secret was in force."""
        try:
            return self._aead.decrypt(kept[:_NONCE_BYTES], kept[_NONCE_BYTES:], bound_to)
        except (InvalidTag, ValueError):
            return None
