"""The roots that seals of ours lead to: of the certificate in use, and of all that were in use before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from emeterai.infra.clock import utc_now
from emeterai.seal.authority import ensure_test_authority
from emeterai.seal.signer import SignerError

_LOOK_AGAIN_S = 2.0
_log = structlog.get_logger(__name__)


def load_roots(
    *, folder: Path, certificate_file: Path | None = None, trusted_folder: Path | None = None
) -> list[bytes]:
    """The certificates (DER): the last of the configured chain, or the test authority's, and all in `trusted_folder`.

    That folder holds PEM files (`*.pem`), each with any number of certificates. Raises SignerError when one of them
    cannot be read.
    """
    if certificate_file is None:
        _, certificate_file = ensure_test_authority(folder, now=utc_now())
    found = [_certificates(certificate_file)[-1]]
    for path in _files(trusted_folder):
        found += _certificates(path)
    return list(dict.fromkeys(one.public_bytes(Encoding.DER) for one in found))


class TrustedRoots:
    """The roots as of now: files are looked at again every two seconds at most, so rotation needs no restart."""

    def __init__(
        self,
        *,
        folder: Path,
        certificate_file: Path | None = None,
        trusted_folder: Path | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read them for the first time. Raises SignerError."""
        self._folder, self._certificate_file, self._trusted_folder = folder, certificate_file, trusted_folder
        self._clock_s = clock_s
        self._seen = self._state()
        self._roots = self._read()
        self._look_again_at_s = clock_s() + _LOOK_AGAIN_S

    def __call__(self) -> Sequence[bytes]:
        """The certificates (DER). When a file cannot be read just now the roots are what they were."""
        if self._clock_s() >= self._look_again_at_s:
            self._look_again_at_s = self._clock_s() + _LOOK_AGAIN_S
            self._renew()
        return self._roots

    def _renew(self) -> None:
        seen = self._state()
        if seen == self._seen:
            return
        try:
            self._roots = self._read()
        except SignerError as error:
            _log.warning("trusted_roots_unreadable", error=str(error))
            return
        self._seen = seen
        _log.info("trusted_roots_changed", count=len(self._roots))

    def _read(self) -> list[bytes]:
        return load_roots(
            folder=self._folder, certificate_file=self._certificate_file, trusted_folder=self._trusted_folder
        )

    def _state(self) -> dict[Path, tuple[int, int, int] | None]:
        files = [self._certificate_file] if self._certificate_file else []
        return {file: state_of(file) for file in (*files, *_files(self._trusted_folder))}


def _files(folder: Path | None) -> list[Path]:
    return sorted(folder.glob("*.pem")) if folder else []


def state_of(file: Path) -> tuple[int, int, int] | None:
    """What changes when a file does: its inode, time of change and size; None when it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _certificates(file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as error:
        raise SignerError(f"the certificate {file.name} cannot be read: {error}") from error
