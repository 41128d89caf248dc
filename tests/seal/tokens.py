"""A SoftHSM2 token of a test's own, made with its own tool; it can be taken away and put back."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from seal_judges import require

from emeterai.seal.token_key import TokenPlace

PIN = "135790"
LABEL = "meterai-uji"
_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


def softhsm_module() -> Path:
    """SoftHSM2's module; without it the test is skipped, and fails on CI."""
    folders = [*map(Path, _MODULES), *Path("/usr/lib").glob("*/softhsm")]
    module = next((path for folder in folders if (path := folder / "libsofthsm2.so").is_file()), None)
    require(module and shutil.which("softhsm2-util"), "SoftHSM2 (Debian: softhsm2)")
    assert module is not None
    return module


class SoftToken:
    """One token in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.module = softhsm_module()
        self._tokens = folder / "tokens"
        self._away = folder / "taken-away"
        self._tokens.mkdir(parents=True)
        self._config = folder / "softhsm2.conf"
        self._config.write_text(
            f"directories.tokendir = {self._tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        self._pin_file = folder / "pin"
        self._pin_file.write_text(PIN + "\n")
        self._tool("--init-token", "--free", "--label", LABEL, "--so-pin", "2468", "--pin", PIN)

    @contextmanager
    def configured(self) -> Iterator[None]:
        """The processes that are started here find this token."""
        before = os.environ.get("SOFTHSM2_CONF")
        os.environ["SOFTHSM2_CONF"] = str(self._config)
        try:
            yield
        finally:
            os.environ.pop("SOFTHSM2_CONF")
            if before is not None:
                os.environ["SOFTHSM2_CONF"] = before

    def put_key(self, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, label: str, number: int = 1) -> None:
        """Put a key into the token."""
        path = self._config.with_name(f"{label}.pem")
        pkcs8, pem = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
        path.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
        self._tool("--import", str(path), "--token", LABEL, "--label", label, "--id", f"{number:04x}", "--pin", PIN)
        path.unlink()

    def place(self, key_label: str, *, sessions: int = 2) -> TokenPlace:
        """Where one of its keys is, as an operator configures it."""
        return TokenPlace(self.module, LABEL, key_label, self._pin_file, sessions)

    def take_away(self) -> None:
        """Pull it out."""
        self._tokens.rename(self._away)
        self._tokens.mkdir()

    def put_back(self) -> None:
        """Put it in again."""
        self._tokens.rmdir()
        self._away.rename(self._tokens)

    def change_pin(self, pin: str) -> None:
        """Another PIN in the configured file, right or wrong."""
        self._pin_file.write_text(pin + "\n")

    def _tool(self, *arguments: str) -> None:
        environment = {**os.environ, "SOFTHSM2_CONF": str(self._config)}
        subprocess.run(
            [str(shutil.which("softhsm2-util")), *arguments], env=environment, capture_output=True, check=True
        )
