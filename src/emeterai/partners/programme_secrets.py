"""What keeps applicants private: the key under which an identity or a code is stored, and the codes of a batch.

Both come from one secret of this installation, a file beside the data and never in the database. So a leaked table
cannot be searched for an identity, although there are few enough of those to try them all.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from emeterai.core.granting import identity_hash
from emeterai.core.refusal import RefusalKind
from emeterai.core.voucher_code import CodeBook

_HASHED_AT_ONCE = 2
_WAITING_MAX = 200

CLAIMS_BUSY = RefusalKind(
    "claims_busy",
    503,
    "Banyak orang sedang mengambil hibah; tunggu {retry_after_s} detik lalu coba lagi, bagian Anda tetap ada.",
    "Many people are claiming grants now; wait {retry_after_s} seconds and try again, yours is still there.",
)


class ProgrammeSecrets:
    """Keys and codes. `secret` has at least 32 bytes and is the same in every web process."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 32:
            raise ValueError("the secret of programmes has at least 32 bytes")
        self._keys = HKDF(SHA256(), 32, salt=None, info=b"emeterai: keys of invited people").derive(secret)
        self._codes = HKDF(SHA256(), 32, salt=None, info=b"emeterai: codes of programmes").derive(secret)
        self._turns = asyncio.Semaphore(_HASHED_AT_ONCE)
        self._waiting = 0

    async def key_of_identity(self, programme_id: UUID, identity: str, salt: bytes) -> bytes:
        """What is stored of a person: keyed SHA-256 over the hash that a list holds. Raises `claims_busy`."""
        if self._waiting >= _WAITING_MAX:
            raise CLAIMS_BUSY(retry_after_s=3)
        self._waiting += 1
        try:
            async with self._turns:
                hashed = await asyncio.to_thread(identity_hash, identity, salt)
        finally:
            self._waiting -= 1
        return self.key_of_hash(programme_id, hashed)

    def key_of_hash(self, programme_id: UUID, hashed: bytes) -> bytes:
        """What is stored of a line of a list."""
        return hmac.digest(self._keys, b"i" + programme_id.bytes + hashed, hashlib.sha256)

    def key_of_code(self, programme_id: UUID, code: str) -> bytes:
        """What is stored of a code."""
        return hmac.digest(self._keys, b"c" + programme_id.bytes + code.encode(), hashlib.sha256)

    def codes(self, batch_id: UUID, quantity: int) -> CodeBook:
        """The codes of a batch, always the same."""
        return CodeBook(hmac.digest(self._codes, batch_id.bytes, hashlib.sha256), quantity)
