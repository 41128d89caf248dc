"""Accounts: people register, sign in and out, and give keys to their programs; every request learns here who calls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import UUID

from emeterai.accounts import details, groups_store, store
from emeterai.accounts.guesses import GuessLimit, guess_key, take_guess
from emeterai.accounts.model import Account, ApiKey, Caller, NewApiKey, SignedIn, Timezone
from emeterai.accounts.passwords import Passwords, check_new_password
from emeterai.accounts.sign_ups import USUAL, Bounds, refuse_sign_up, take_sign_up
from emeterai.accounts.tokens import (
    API_KEY_PREFIX,
    KEY_PREFIX_LENGTH,
    SESSION_PREFIX,
    RecentCallers,
    is_token,
    new_token,
    token_digest,
)
from emeterai.core.refusal import RefusalKind
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

__all__ = ["Account", "Accounts", "ApiKey", "Caller", "NewApiKey", "SignedIn", "Timezone"]

API_KEYS_MAX = 20
SESSIONS_MAX = 20
_EXPIRED_KEPT_S = 7 * 86_400
_SWEEP_ROWS_MAX = 1000

ACCOUNT_EXISTS = RefusalKind(
    "account_exists",
    409,
    "Surel atau nomor telepon ini sudah terdaftar; silakan masuk.",
    "This e-mail address or phone number has an account already; please sign in.",
)
SIGN_IN_WRONG = RefusalKind(
    "sign_in_wrong",
    401,
    "Surel, nomor telepon, atau kata sandi tidak cocok; periksa lalu coba lagi.",
    "The e-mail address, phone number or password does not match; check them and try again.",
)
SIGN_IN_NEEDED = RefusalKind(
    "sign_in_needed",
    401,
    "Silakan masuk terlebih dahulu.",
    "Please sign in first.",
)
SESSION_EXPIRED = RefusalKind(
    "session_expired",
    401,
    "Sesi Anda sudah berakhir dan tidak ada yang hilang; silakan masuk lagi.",
    "Your session has ended and nothing is lost; please sign in again.",
)
SESSION_NEEDED = RefusalKind(
    "session_needed",
    403,
    "Langkah ini tidak dapat dilakukan dengan kunci API; masuklah dengan kata sandi.",
    "This cannot be done with an API key; sign in with your password.",
)
API_KEYS_TOO_MANY = RefusalKind(
    "api_keys_too_many",
    409,
    "Anda sudah memiliki {keys_max} kunci API; cabut satu yang tidak dipakai.",
    "You have {keys_max} API keys already; revoke one that is not in use.",
)
API_KEY_UNKNOWN = RefusalKind(
    "api_key_unknown",
    404,
    "Anda tidak memiliki kunci API ini; lihat daftar kunci Anda.",
    "You have no such API key; look at the list of your keys.",
)


class Accounts:
    """The verbs of accounts. One per process; `session_life_s` comes from the settings."""

    def __init__(
        self,
        db: Database,
        *,
        session_life_s: int,
        passwords: Passwords | None = None,
        guess_limit: GuessLimit | None = None,
        sign_up_bounds: Bounds = USUAL,
    ) -> None:
        self._db = db
        self._sign_up_bounds = sign_up_bounds
        self._passwords = passwords or Passwords()
        self._guess_limit = guess_limit or GuessLimit()
        self._recent = RecentCallers()
        self.session_life_s = session_life_s

    async def register(
        self,
        *,
        name: str,
        password: str,
        email: str | None = None,
        phone: str | None = None,
        timezone: str = "WIB",
        address: str | None = None,
    ) -> Account:
        """Open an account; `address` is the client's, None where nobody asks from outside.

        Raises a refusal of `details` or `passwords`, `sign_ups_paused` when too many were opened from that network, or
        `account_exists`. Whoever hears `sign_in_busy` is not counted.
        """
        clean_name = details.clean_name(name)
        clean_email, clean_phone = details.clean_email_and_phone(email, phone)
        zone = details.clean_timezone(timezone)
        check_new_password(password, (clean_name, clean_email, clean_phone, phone))
        contacts = " ".join(filter(None, (clean_email, clean_phone)))
        if address is not None:
            await refuse_sign_up(self._db, address, self._sign_up_bounds, contacts=contacts)
        async with self._passwords.turn():
            if address is not None:
                await take_sign_up(self._db, address, self._sign_up_bounds, contacts=contacts)
            password_hash = await self._passwords.hash(password)
        async with self._db.transaction() as tx:
            account = await store.insert_account(
                tx, new_id(), (clean_name, clean_email, clean_phone, password_hash, zone.value)
            )
        if account is None:
            raise ACCOUNT_EXISTS()
        return account

    async def sign_in(self, *, contact: str, password: str, address: str) -> SignedIn:
        """Open a session for an e-mail address or phone number and its password; `address` is the client's.

        Raises `sign_in_wrong`, the same and after the same work whether or not there is such an account,
        `sign_in_paused` after too many wrong tries from this address, and `sign_in_busy`.
        """
        known = details.known_contact(contact)
        guess = guess_key(known or contact[: details.EMAIL_LENGTH_MAX], address)
        async with self._passwords.turn():
            await take_guess(self._db, guess, self._guess_limit)
            found = await store.read_account_by_contact(self._db, known or "")
            account, stored = found or (None, None)
            matches = await self._passwords.matches(stored, password)
            if account is None or stored is None or not matches:
                raise SIGN_IN_WRONG()
            new_hash = await self._passwords.hash(password) if self._passwords.is_outdated(stored) else None
        async with self._db.transaction() as tx:
            await store.forget_guesses(tx, guess)
            if new_hash is not None:
                await store.write_password_hash(tx, account.id, stored, new_hash)
        return await self.open_session(account)

    async def open_session(self, account: Account) -> SignedIn:
        """Open a session for a person who has just proved to be the account's; the oldest beyond 20 ends."""
        token = new_token(SESSION_PREFIX)
        async with self._db.transaction() as tx:
            row = await store.insert_session(
                tx, account.id, token_digest(token), life_s=self.session_life_s, sessions_max=SESSIONS_MAX
            )
        if row["ended"]:
            self._recent.forget(row["ended"])
        return SignedIn(token=token, expires_at=row["expires_at"], account=account)

    async def sign_out(self, token: str) -> None:
        """End the session of `token`; one that has ended already is no error."""
        digest = token_digest(token)
        async with self._db.transaction() as tx:
            await store.delete_session(tx, digest)
        self._recent.forget(digest)

    async def identify(self, token: str) -> Caller:
        """Who holds this session token or API key. Raises `sign_in_needed` or `session_expired`.

        One indexed query, or none when the same token was seen in the last three seconds.
        """
        if not is_token(token):
            raise SIGN_IN_NEEDED()
        digest = token_digest(token)
        known = self._recent.get(digest, time.monotonic())
        if known is not None:
            return known
        is_key = token.startswith(API_KEY_PREFIX)
        caller, left_s = await (self._identify_key(digest) if is_key else self._identify_session(digest))
        self._recent.put(digest, caller, time.monotonic(), left_s=left_s)
        return caller

    def remembered(self, token: str) -> Caller | None:
        """Who holds this token, if that was found out in the last three seconds: it asks nobody."""
        return self._recent.get(token_digest(token), time.monotonic()) if is_token(token) else None

    async def account(self, account_id: UUID) -> Account:
        """One account. Raises `sign_in_needed` when it is gone."""
        account = await store.read_account(self._db, account_id)
        if account is None:
            raise SIGN_IN_NEEDED()
        return account

    async def find(self, contacts: Sequence[str]) -> dict[str, UUID]:
        """Whose each e-mail address or phone number is, typed in any way; of one that is nobody's, nothing."""
        known = {typed: details.known_contact(typed) for typed in contacts}
        ids = await store.read_account_ids(self._db, [it for it in known.values() if it is not None])
        return {typed: ids[contact] for typed, contact in known.items() if contact in ids}

    async def create_api_key(self, caller: Caller, label: str) -> NewApiKey:
        """Make a key for a program; its token is in the answer and nowhere else. A key cannot make another.

        Made while acting for a group it is bound to that group, and the holder's limits there are its own.
        """
        require_session(caller)
        token = new_token(API_KEY_PREFIX)
        async with self._db.transaction() as tx:
            key = await store.insert_api_key(
                tx,
                new_id(),
                caller.actor,
                digest=token_digest(token),
                prefix=token[:KEY_PREFIX_LENGTH],
                label=details.clean_label(label),
                keys_max=API_KEYS_MAX,
                group_id=caller.account_id if caller.acting else None,
            )
        if key is None:
            raise API_KEYS_TOO_MANY(keys_max=API_KEYS_MAX)
        return NewApiKey(id=key.id, label=key.label, prefix=key.prefix, created_at=key.created_at, token=token)

    async def list_api_keys(self, caller: Caller) -> list[ApiKey]:
        """All keys in use, the newest first, and after them the last revoked ones; at most forty."""
        return await store.read_api_keys(self._db, caller.actor)

    async def api_key_digests(self, accounts: Sequence[UUID]) -> list[tuple[bytes, UUID]]:
        """The digests of the API keys in use that act for these accounts or groups, each with its account."""
        return await store.read_key_digests(self._db, accounts)

    async def revoke_api_key(self, caller: Caller, key_id: UUID) -> None:
        """End a key at once in this process, within three seconds in others. Raises `api_key_unknown`."""
        require_session(caller)
        async with self._db.transaction() as tx:
            digest = await store.revoke_api_key(tx, caller.actor, key_id)
        if digest is None:
            raise API_KEY_UNKNOWN()
        self._recent.forget(digest)

    async def sweep(self) -> int:
        """Delete old sessions and guess windows, end old invitations, some at a time; gives how many. For the steward.

        One after the other: the order tracker counts guesses too, and must not wait for sessions.
        """
        async with self._db.transaction() as tx:
            swept = await store.delete_windows(tx, _SWEEP_ROWS_MAX)
        async with self._db.transaction() as tx:
            swept += await groups_store.end_old_invitations(tx, rows_max=_SWEEP_ROWS_MAX)
        async with self._db.transaction() as tx:
            return swept + await store.delete_sessions(tx, kept_s=_EXPIRED_KEPT_S, rows_max=_SWEEP_ROWS_MAX)

    async def _identify_session(self, digest: bytes) -> tuple[Caller, float]:
        found = await store.read_session(self._db, digest)
        if found is None:
            raise SIGN_IN_NEEDED()
        if found[1] <= 0:
            raise SESSION_EXPIRED()
        return found

    async def _identify_key(self, digest: bytes) -> tuple[Caller, float]:
        found = await store.read_api_key(self._db, digest)
        if found is None:
            raise SIGN_IN_NEEDED()
        caller, key_id, first_today = found
        if first_today:
            async with self._db.transaction() as tx:
                await store.note_api_key_use(tx, key_id)
        return caller, float("inf")


def require_session(caller: Caller) -> None:
    """Raise `session_needed` when a program calls with its key."""
    if caller.via != "session":
        raise SESSION_NEEDED()
