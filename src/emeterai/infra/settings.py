"""Settings: one frozen value, read once from `EMETERAI_*` environment variables. docs/settings.md explains each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Annotated, Literal

import msgspec

PREFIX = "EMETERAI_"

_PORT_MAX = 65_535
Port = Annotated[int, msgspec.Meta(ge=1, le=_PORT_MAX)]
PortOrZero = Annotated[int, msgspec.Meta(ge=0, le=_PORT_MAX)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=1e9)]
Rupiah = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
MegabitsPerSecond = Annotated[float, msgspec.Meta(ge=0.0, le=1e6)]
BasisPoints = Annotated[int, msgspec.Meta(ge=0, le=10_000)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an operator may set. The defaults run the whole service on one machine with no account anywhere."""

    data_dir: str = "var"
    """Where the embedded database, the blobs, the keys and the sockets live."""
    host: str = "127.0.0.1"
    port: Port = 8080
    public_url: str = ""
    """How people reach the service, as printed in QR codes; empty: `http://HOST:PORT`."""
    database_url: str = ""
    """A PostgreSQL 15 or later; empty: the embedded one is started."""
    postgres_bin_dir: str = ""
    """The `bin` folder of the PostgreSQL that `serve` starts; empty: the embedded wheel's."""
    blob_url: str = ""
    """An obstore URL such as `s3://bucket/prefix`; empty: a local folder in the data folder."""
    log_format: Literal["", "console", "json"] = ""
    """`console` or `json`; empty: console on a terminal, JSON otherwise."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    gate: Literal["on", "off"] = "on"
    """`off` lets everybody in, whatever happens: for comparing, never for people."""
    trusted_proxies: str = ""
    """Addresses and networks of proxies, with commas between, whose `X-Forwarded-For` is believed; empty: none."""
    room_port: PortOrZero = 0
    """Where a web process of its own answers those outside, with a proxy in front that sends them there; 0: none."""
    counter_port: PortOrZero = 0
    """Where a web process of its own answers programs with keys, to which a proxy in front sends them; 0: none."""
    web_processes: Count = 1
    upload_mbit_s: MegabitsPerSecond = 0.0
    """The speed of the link that files come in by, in megabits a second, which the lanes share; 0: not known."""
    sealer_processes: Count = 1
    database_connections: Count = 8
    """So many connections per process, in a web process with a gate up to as many again for what lanes are guaranteed;
    who waits longer than `database_wait_s` is refused politely.
    """
    database_wait_s: Seconds = 2.0
    document_size_bytes_max: Count = 25_000_000
    upload_life_s: Count = 86_400
    """An unfinished upload is forgotten after this time without a byte."""
    session_life_s: Count = 30 * 86_400
    address_sign_ups_an_hour_max: Count = 60
    """So many accounts may be opened from one network address; a block of them may open 200 times as many."""
    address_sign_ups_a_day_max: Count = 300
    hold_life_s: Seconds = 60.0
    """A held unit whose stamp has not been made by then returns by itself."""
    lease_s: Seconds = 5.0
    """A worker that is silent for this long is taken for dead and its work is given to another."""
    seal_attempts_max: Count = 3
    order_life_s: Count = 86_400
    invariants_every_s: Seconds = 60.0
    """So often the steward checks what is new and publishes a signed line."""
    audit_every_s: Seconds = 86_400.0
    """So often the steward recomputes the whole ledger."""
    duty_idr: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 10_000
    """The tax of one stamp (UU 10/2020 art. 5)."""
    fee_idr: Rupiah = 0
    """The service fee of one stamp, a line of its own."""
    qris_fee_bps: BasisPoints = 0
    """What paying by QRIS adds to an order's service fee, in hundredths of a percent of its price."""
    virtual_account_fee_idr: Rupiah = 0
    """What paying to a virtual account adds to an order's service fee, once for each order."""
    qris_amount_idr_max: Rupiah = 10_000_000
    """The most that one QRIS payment may carry; 0: no limit."""
    virtual_account_amount_idr_max: Rupiah = 0
    """The most that one transfer to a virtual account may carry; 0: no limit."""
    order_quantity_max: Count = 1_000
    person_units_a_day_max: Count = 5_000
    """The most stamps that one account may order within 24 hours, by page or by API key."""
    person_orders_an_hour_max: Count = 30
    person_open_orders_max: Count = 10
    """The most orders of one account that may await payment at once."""
    organisation_units_a_day_max: Count = 200_000
    """The same three for whom the issuer knows: groups that staff have approved, and partners that may sell."""
    organisation_orders_an_hour_max: Count = 120
    organisation_open_orders_max: Count = 200
    quota_due_s: Seconds = 900.0
    """Money that was seen and has not become quota by then goes back by itself."""
    provider_silence_s: Seconds = 7 * 86_400.0
    """A provider that gives no usable answer for so long is not asked any more: staff are told."""
    notification_months_kept: Annotated[int, msgspec.Meta(ge=1, le=9_999)] = 24
    """Raw notifications of payment providers leave the database as whole months after so many."""
    sandbox_port: PortOrZero = 0
    """The sandbox payment provider's port; 0: the one after the web port, or before the very last."""
    sandbox_public_url: str = ""
    """How people's browsers reach the sandbox's pay page; empty: `http://HOST:SANDBOX_PORT`."""
    payment_providers: str = "sandbox"
    """`sandbox`, `midtrans` and `xendit`, with commas between: orders go to the first that is well."""
    payment_bank: str = "bni"
    """Where the virtual accounts are kept: `bca`, `bni` or `bri`."""
    midtrans_url: str = "https://api.sandbox.midtrans.com"
    midtrans_server_key_file: str = ""
    """Holds the server key of the merchant at Midtrans, on its first line."""
    xendit_url: str = "https://api.xendit.co"
    xendit_secret_key_file: str = ""
    """Holds the secret key of the business at Xendit, on its first line."""
    xendit_callback_token_file: str = ""
    """Holds the token that Xendit sends with each notification, on its first line."""
    key_file: str = ""
    """The PEM file of the sealing key; empty: a local test authority is made at first run."""
    certificate_file: str = ""
    key_passphrase_file: str = ""
    """Holds the passphrase of an encrypted `key_file`, on its first line."""
    trusted_roots_folder: str = ""
    """PEM files of roots that older seals lead to; a new file is taken up without a restart."""
    pkcs11_module: str = ""
    """The library of a PKCS#11 token that holds the sealing key in place of `key_file`."""
    pkcs11_token: str = ""
    pkcs11_key_label: str = ""
    pkcs11_pin_file: str = ""
    pkcs11_sessions: Count = 2
    """So many signatures are made by the token at once, for each sealer process."""
    mark_file: str = ""
    """The TOML file of the issuer's mark (docs/mark.md); empty: the built-in SPECIMEN."""
    timestamp_url: str = ""
    """An RFC 3161 timestamp authority; empty: seals stay at level B-B."""
    timestamp_roots_file: str = ""
    """The PEM file of the roots that its timestamps lead to; needed with `timestamp_url`, and for verifying."""
    timestamp_timeout_s: Seconds = 1.0
    """A seal waits so long for its timestamp; then it is made without one and raised later."""
    smtp_url: str = ""
    """`smtp://HOST:PORT` or `smtps://HOST:PORT`: how people who left the line are called; empty: by no e-mail."""
    smtp_user: str = ""
    smtp_password_file: str = ""
    """Holds the password of `smtp_user`, on its first line."""
    mail_from: str = ""
    """The sender of e-mails; empty: `emeterai@` the host of `public_url`."""
    call_webhook_url: str = ""
    """Is told whom to call who gave a phone number; empty: people are called by e-mail only."""
    call_webhook_secret_file: str = ""
    """Holds the secret that signs what the webhook is told, on its first line: `whsec_` and base64."""
    call_webhook_channels: str = "whatsapp"
    """What the webhook calls people by, as the pages name it: `whatsapp` and `sms`, with commas between."""
    crash_folder: str = ""
    """For tests of death only: where named crash points are armed (infra/crash_points.py)."""

    @property
    def data_path(self) -> Path:
        """The data folder as an absolute path."""
        return Path(self.data_dir).absolute()

    @property
    def base_url(self) -> str:
        """The public URL without a slash at its end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def link_bytes_per_s(self) -> float:
        """What large bodies may come in by in one web process; endless where the link's speed is not known."""
        processes = self.web_processes + (self.counter_port > 0)
        return self.upload_mbit_s * 1e6 / 8 / processes or inf

    @property
    def is_specimen(self) -> bool:
        """Whether what is made here has no value: the mark and the sealing key are not an issuer's own."""
        return not (self.mark_file and (self.certificate_file or self.pkcs11_module))

    @property
    def sandbox_port_used(self) -> int:
        """Where the sandbox payment provider listens: as set, or beside the web port."""
        return self.sandbox_port or self.port + (1 if self.port < _PORT_MAX else -1)

    @property
    def sandbox_url(self) -> str:
        """How programs on this machine reach the sandbox payment provider."""
        return f"http://{self.host}:{self.sandbox_port_used}"

    @property
    def payment_provider_names(self) -> tuple[str, ...]:
        """The names of the payment providers, in their order of preference."""
        return tuple(name.strip() for name in self.payment_providers.split(",") if name.strip())

    @property
    def sandbox_page_url(self) -> str:
        """Where people pay at the sandbox, without a slash at its end."""
        return (self.sandbox_public_url or self.sandbox_url).rstrip("/")


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
        # msgspec says "Expected `int` >= 1 - at `$.port`"; an operator knows the variable, not the path.
        text, _, path = str(error).partition(" - at `$.")
        raise SettingsError(f"{PREFIX}{path.rstrip('`').upper()}: {text[:1].lower()}{text[1:]}") from error


def secret_in(file: str, variable: str) -> str:
    """The secret on the first line of the file that a setting names. Raises SettingsError, which never shows it."""
    try:
        line = Path(file).read_text(encoding="utf-8").partition("\n")[0].strip() if file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{PREFIX}{variable}: the file cannot be read") from error
    if not line:
        raise SettingsError(f"{PREFIX}{variable}: a file with the secret on its first line is needed")
    return line


def as_environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, to hand to a child process."""
    values = msgspec.structs.asdict(settings)
    return {PREFIX + name.upper(): str(value) for name, value in values.items()}
