"""Settings: one frozen value, read once from `EMETERAI_*` environment variables. docs/settings.md explains each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

PREFIX = "EMETERAI_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an operator may set. The defaults run the whole service on one machine with no account anywhere."""

    data_dir: str = "var"
    """Where the embedded database, the blobs, the keys and the sockets live."""
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""
    """How people reach the service, as printed in QR codes; empty: `http://HOST:PORT`."""
    database_url: str = ""
    """A PostgreSQL 15 or later; empty: the embedded one is started."""
    postgres_bin_dir: str = ""
    """The `bin` folder of the PostgreSQL that `serve` starts; empty: the embedded wheel's."""
    blob_url: str = ""
    """An obstore URL such as `s3://bucket/prefix`; empty: a local folder in the data folder."""
    log_format: str = ""
    """`console` or `json`; empty: console on a terminal, JSON otherwise."""
    log_level: str = "info"
    web_processes: int = 1
    sealer_processes: int = 1
    database_connections: int = 8
    """At most this many connections per process; who waits longer than `database_wait_s` is refused politely."""
    database_wait_s: float = 2.0
    document_size_bytes_max: int = 25_000_000
    upload_life_s: int = 86_400
    """An unfinished upload is forgotten after this time without a byte."""
    session_life_s: int = 30 * 86_400
    hold_life_s: float = 60.0
    """A held unit whose stamp has not been made by then returns by itself."""
    lease_s: float = 8.0
    """A worker that is silent for this long is taken for dead and its work is given to another."""
    seal_attempts_max: int = 3
    order_life_s: int = 86_400
    duty_idr: int = 10_000
    """The tax of one stamp (UU 10/2020 art. 5)."""
    fee_idr: int = 0
    """The service fee of one stamp, a line of its own."""
    order_quantity_max: int = 1_000
    sandbox_port: int = 0
    """The sandbox payment provider's port; 0: the web port plus one."""
    key_file: str = ""
    """The PEM file of the sealing key; empty: a local test authority is made at first run."""
    certificate_file: str = ""

    @property
    def data_path(self) -> Path:
        """The data folder as an absolute path."""
        return Path(self.data_dir).absolute()

    @property
    def base_url(self) -> str:
        """The public URL without a slash at its end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def sandbox_url(self) -> str:
        """Where the sandbox payment provider listens."""
        return f"http://{self.host}:{self.sandbox_port or self.port + 1}"


class SettingsError(Exception):
    """A setting cannot be read; the text names the variable and says what it wants."""


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environ`, by default the process's own. Raises SettingsError on any it cannot read."""
    found = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in (os.environ if environ is None else environ).items()
        if name.startswith(PREFIX)
    }
    known = set(Settings.__struct_fields__)
    unknown = sorted(set(found) - known)
    if unknown:
        raise SettingsError(f"{PREFIX}{unknown[0].upper()} is not a setting; docs/settings.md lists them all")
    try:
        return msgspec.convert(found, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{PREFIX} settings: {error}") from error


def as_environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, to hand to a child process."""
    values = msgspec.structs.asdict(settings)
    return {PREFIX + name.upper(): str(value) for name, value in values.items()}
