"""How settings become a sealing engine and the roots that its seals lead to: for sealer, web and commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from emeterai.infra.settings import Settings
from emeterai.seal.mark_file import load_mark
from emeterai.seal.reader import FileReader
from emeterai.seal.roots import TrustedRoots
from emeterai.seal.service import (
    KeyPlace,
    RevocationClient,
    SealEngine,
    Signer,
    SignerError,
    TimestampClient,
    TokenPlace,
    load_signer_from,
)
from emeterai.seal.timestamp import TimestampPlace, read_roots
from emeterai.seal.token_key import TokenPinError

_TOKEN_RETRY_S = 2.0
_SESSIONS_MAX = 64
_REVOCATION_TIMEOUT_S = 10.0
_log = structlog.get_logger(__name__)


def level_wanted(settings: Settings) -> str:
    """The level that seals should reach in the end; without a timestamp authority it is the first."""
    return "B-LT" if settings.timestamp_url else "B-B"


def key_place(settings: Settings) -> KeyPlace:
    """Where the sealing key is. Raises SignerError when a token is named by half."""
    token = None
    if settings.pkcs11_module:
        if not (settings.pkcs11_token and settings.pkcs11_key_label and settings.pkcs11_pin_file):
            raise SignerError("a PKCS#11 module needs the token, the label of the key and the file of the PIN as well")
        if settings.pkcs11_sessions > _SESSIONS_MAX:
            raise SignerError(f"at most {_SESSIONS_MAX} sessions of a PKCS#11 token: each is a process")
        if not settings.certificate_file:
            raise SignerError("a key in a PKCS#11 token needs the file of its certificate as well")
        token = TokenPlace(
            Path(settings.pkcs11_module),
            settings.pkcs11_token,
            settings.pkcs11_key_label,
            Path(settings.pkcs11_pin_file),
            settings.pkcs11_sessions,
        )
    return KeyPlace(
        folder=_keys_folder(settings),
        key_file=_file_or_none(settings.key_file),
        certificate_file=_file_or_none(settings.certificate_file),
        passphrase_file=_file_or_none(settings.key_passphrase_file),
        token=token,
    )


def trusted_roots(settings: Settings) -> TrustedRoots:
    """The roots that a seal of ours leads to. Raises SignerError."""
    return TrustedRoots(
        folder=_keys_folder(settings),
        certificate_file=_file_or_none(settings.certificate_file),
        trusted_folder=_file_or_none(settings.trusted_roots_folder),
    )


async def open_reader(settings: Settings) -> FileReader:
    """A reader that trusts what the settings say; the caller closes it. Raises SignerError."""
    file = _file_or_none(settings.timestamp_roots_file)
    roots = [one.public_bytes(Encoding.DER) for one in read_roots(file)] if file else []
    return await FileReader.open(
        trusted_roots(settings), size_bytes_max=settings.document_size_bytes_max, timestamp_roots=roots
    )


@asynccontextmanager
async def opened_engine(settings: Settings, signer: Signer) -> AsyncIterator[SealEngine]:
    """A running engine with its mark and its timestamp authority, if any. Raises SignerError, MarkFileError."""
    async with AsyncExitStack() as stack:
        timestamps = revocations = None
        if settings.timestamp_url:
            timestamps = TimestampClient(
                TimestampPlace.read(
                    settings.timestamp_url,
                    _file_or_none(settings.timestamp_roots_file),
                    timeout_s=settings.timestamp_timeout_s,
                )
            )
            stack.push_async_callback(timestamps.close)
            revocations = RevocationClient(timeout_s=_REVOCATION_TIMEOUT_S)
            stack.push_async_callback(revocations.close)
        engine = await SealEngine.start(
            signer=signer,
            mark=load_mark(_file_or_none(settings.mark_file)),
            size_bytes_max=settings.document_size_bytes_max,
            timestamps=timestamps,
            revocations=revocations,
            roots=trusted_roots(settings),
        )
        stack.push_async_callback(engine.close)
        yield engine


async def patiently_loaded(place: KeyPlace) -> Signer:
    """The signer; a token that is away is waited for, since it will be back. Raises SignerError for a wrong PIN and
    for anything else.
    """
    while True:
        try:
            return await asyncio.to_thread(load_signer_from, place)
        except SignerError as error:
            if place.token is None or isinstance(error.__cause__, TokenPinError):
                raise
            _log.error("sealing_token_away", error=str(error), retry_s=_TOKEN_RETRY_S)
        await asyncio.sleep(_TOKEN_RETRY_S)


def _keys_folder(settings: Settings) -> Path:
    """Where the local test authority of this installation keeps its key and certificates."""
    return settings.data_path / "keys"


def _file_or_none(name: str) -> Path | None:
    return Path(name) if name else None
