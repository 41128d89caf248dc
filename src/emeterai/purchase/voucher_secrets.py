"""What keeps vouchers secret: the keyed hash under which a code is stored, and the cipher of a batch's key.

Both come from one secret of this installation, a file beside the data and never in the database: a leaked table redeems
nothing, and a leaked file without the table nothing either.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from emeterai.infra.ciphers import BoundCipher

BATCH_KEY_BYTES = 32
_DIGESTS = b"emeterai: digests of voucher codes"
_BATCH_KEYS = b"emeterai: keys of voucher batches"
_log = structlog.get_logger(__name__)


class VoucherSecrets:
    """Hashes codes and enciphers keys. `secret` has at least 32 bytes and is the same in every web process."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 32:
            raise ValueError("the secret of vouchers has at least 32 bytes")
        self._digest_key = HKDF(SHA256(), 32, salt=None, info=_DIGESTS).derive(secret)
        self._cipher = BoundCipher(secret, _BATCH_KEYS)

    def digest(self, code: str) -> bytes:
        """What is stored of a code."""
        return hmac.new(self._digest_key, code.encode(), hashlib.sha256).digest()

    def new_key(self) -> bytes:
        """A fresh key of a batch, from which its codes are drawn."""
        return secrets.token_bytes(BATCH_KEY_BYTES)

    def enciphered(self, batch_id: UUID, key: bytes) -> bytes:
        """The key as it may be kept: of no use for any other batch."""
        return self._cipher.enciphered(key, batch_id.bytes)

    def deciphered(self, batch_id: UUID, enciphered: bytes) -> bytes | None:
        """The key of a batch; None for one that was altered, or enciphered where another secret is in force."""
        key = self._cipher.deciphered(enciphered, batch_id.bytes)
        if key is None:
            _log.error("voucher_key_unreadable", batch=str(batch_id))
        return key
