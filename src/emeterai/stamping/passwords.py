"""Passwords of locked files: enciphered, bound to their document, kept for a short time. See docs/decisions/0011.

The sealer is another process than the one that is given a password, so it goes through the database, and never in the
clear. Nothing here logs or refuses with a password in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog

from emeterai.core.refusal import RefusalKind
from emeterai.infra.ciphers import BoundCipher
from emeterai.infra.database import Connection, Database
from emeterai.infra.http import REQUEST_MALFORMED
from emeterai.stamping import password_store as store
from emeterai.stamping.model import Document, Stamp, StampWanted

PASSWORD_LIFE_S = 3_600.0
"""How long a password is kept while no stamp on its document is being made."""
PASSWORD_LENGTH_MAX = 500
"""In characters; PDF itself looks at the first 127 bytes at most (ISO 32000-2, 7.6.4.3)."""
TRIES_MAX = 10
"""So many passwords an account may try on one file within `_TRIES_WINDOW_S`; the right one begins anew."""
_TRIES_WINDOW_S = 3_600
_PURPOSE = b"emeterai: passwords of locked files"
_log = structlog.get_logger(__name__)

PASSWORD_TRIES_OVER = RefusalKind(
    "password_tries_over",
    429,
    "Terlalu banyak kata sandi dicoba pada berkas ini. Tunggu {retry_after_s} detik, lalu coba lagi.",
    "Too many passwords were tried on this file. Wait {retry_after_s} seconds, then try again.",
)


class Passwords:
    """Keeps passwords by document. `secret` has at least 32 bytes and is the same for every web process and sealer."""

    def __init__(self, db: Database, secret: bytes) -> None:
        self._db = db
        self._cipher = BoundCipher(secret, _PURPOSE)

    def enciphered(self, document_id: UUID, password: str) -> bytes:
        """The password as it may be kept: of no use for any other document."""
        return self._cipher.enciphered(password.encode(), document_id.bytes)

    async def kept(self, document_ids: Sequence[UUID]) -> dict[UUID, str]:
        """The passwords that are kept, by document; one that cannot be deciphered is as good as forgotten."""
        found = await store.kept(self._db, document_ids)
        opened = {key: self._deciphered(key, enciphered) for key, enciphered in found.items()}
        return {key: password for key, password in opened.items() if password is not None}

    async def take_try(self, account_id: UUID, digest: bytes) -> None:
        """Count a try before it is made, so that tries at the same moment count too. Raises `password_tries_over`."""
        async with self._db.transaction() as tx:
            tries, left_s = await store.count_try(tx, account_id, digest, window_s=_TRIES_WINDOW_S)
        if tries > TRIES_MAX:
            raise PASSWORD_TRIES_OVER(retry_after_s=max(1, left_s))

    async def forget_unless_held(self, document_id: UUID) -> None:
        """Forget a document's password, unless a stamp is being made on it: that one's end forgets it."""
        async with self._db.transaction() as tx:
            await store.forget_unless_held(tx, [document_id])

    async def sweep(self, limit: int = 1_000) -> int:
        """Forget passwords whose life is over; answers how many."""
        async with self._db.transaction() as tx:
            return await store.sweep(tx, limit)

    def _deciphered(self, document_id: UUID, enciphered: bytes) -> str | None:
        password = self._cipher.deciphered(enciphered, document_id.bytes)
        if password is None:
            # Altered in the database, or enciphered where another secret is in force: its owner is asked again.
            _log.error("kept_password_unreadable", document=str(document_id))
            return None
        return password.decode()


async def keep_passwords(tx: Connection, enciphered: Mapping[UUID, bytes]) -> None:
    """Keep enciphered passwords, by document, in the caller's transaction."""
    await store.keep(tx, enciphered, life_s=PASSWORD_LIFE_S)


async def keep_passwords_of(tx: Connection, wanted: Sequence[StampWanted]) -> None:
    """Keep the passwords of the locked among these, which have opened their files, until their stamps have ended."""
    opened = [(one, one.enciphered_password) for one in wanted if one.enciphered_password is not None]
    if opened:
        await keep_passwords(tx, {one.document_id: enciphered for one, enciphered in opened})
        await store.forget_tries(tx, [(one.account_id, one.digest) for one, _ in opened])


async def drop_useless_passwords(tx: Connection, documents: Sequence[Document]) -> None:
    """Forget what was kept for those of these inspected documents that a password did not open, or that need none."""
    useless = [document.id for document in documents if document.locked]
    if useless:
        await store.unlocked(tx, useless)


async def forget_passwords_of(tx: Connection, stamps: Sequence[Stamp]) -> None:
    """Forget the passwords of the locked documents among those of these ended stamps, unless another stamp is held."""
    locked = [stamp.document_id for stamp in stamps if stamp.locked]
    if locked:
        await store.forget_unless_held(tx, locked)


def checked_password(text: str | None) -> str | None:
    """A password as it was sent; None when there is none. Raises `request_malformed`."""
    if not text:
        return None
    if len(text) > PASSWORD_LENGTH_MAX:
        raise REQUEST_MALFORMED(detail=f"a password has at most {PASSWORD_LENGTH_MAX} characters")
    return text
