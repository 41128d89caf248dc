"""Logs: one line for each event on stderr; readable on a terminal, JSON otherwise; never a secret.

structlog's events and those of the standard library (server, driver, framework) go the same way. Times are UTC
(RFC 3339). What `structlog.contextvars.bind_contextvars` binds, such as a request id, is in every line of that task.
"""

from __future__ import annotations

import logging
import logging.config
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

CONSOLE = "console"
JSON = "json"
COLOUR_VARIABLE = "FORCE_COLOR"
"""Set in the environment of a child whose output reaches a terminal through its supervisor."""
_SECRET_NAMES = frozenset(
    {
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "authorization",
        "cookie",
        "set_cookie",
        "key",
        "pin",
        "otp",
    }
)
_SECRET_ENDINGS = ("_password", "_passphrase", "_secret", "_token", "_key", "_cookie", "_pin", "_otp")
_URL_PASSWORD = re.compile(r"(?<=://)([^:/@\s]*):[^@/\s]+@")
_HIDDEN = "[hidden]"


def choose_format(log_format: str = "") -> str:
    """`console` or `json`, as set; when empty: console if stderr is a terminal. Raises ValueError for another word."""
    if log_format not in {"", CONSOLE, JSON}:
        raise ValueError(f"the log format is {CONSOLE} or {JSON}, not {log_format}")
    return log_format or (CONSOLE if sys.stderr.isatty() else JSON)


def configure_logging(log_format: str = "", log_level: str = "info") -> None:
    """Set up structlog and the standard library for this process; the last call counts. Raises ValueError."""
    logging.config.dictConfig(logging_config(log_format, log_level))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_common(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def logging_config(log_format: str = "", log_level: str = "info") -> dict[str, Any]:
    """The standard library's part as a `dictConfig`: for servers that set up logging in their own processes."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"events": {"()": event_formatter, "log_format": choose_format(log_format)}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "events"},
        },
        "root": {"level": log_level.upper(), "handlers": ["stderr"]},
        "loggers": {
            **{
                name: {"handlers": [], "propagate": True}
                for name in ("_granian", "granian.access", "litestar", "asyncpg")
            },
            # One line for each request that we send (probes, payment providers) says nothing that a metric does not.
            **{name: {"level": "WARNING"} for name in ("httpx", "httpcore")},
        },
    }


def event_formatter(log_format: str) -> logging.Formatter:
    """The formatter that writes an event of either origin as one line."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_common(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(log_format)],
    )


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: values under names that mean a secret, and passwords in URLs, become `[hidden]`."""
    return {name: _without_secrets(name, value) for name, value in event.items()}


def _without_secrets(name: str, value: Any) -> Any:
    plain = name.lower().replace("-", "_")
    if plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS):
        return _HIDDEN
    if isinstance(value, Mapping):
        return {str(inner): _without_secrets(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets("", item) for item in value]
    if isinstance(value, str) and "://" in value:
        return _URL_PASSWORD.sub(rf"\1:{_HIDDEN}@", value)
    return value


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _rendering(log_format: str) -> list[Processor]:
    """Secrets are hidden last, when the traceback is text too; local variables are never shown, they hold secrets."""
    if log_format == JSON:
        return [
            structlog.processors.format_exc_info,
            hide_secrets,
            structlog.processors.JSONRenderer(),
        ]
    colours = sys.stderr.isatty() or bool(os.environ.get(COLOUR_VARIABLE))
    return [
        structlog.processors.format_exc_info,
        hide_secrets,
        structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback),
    ]
