"""Log lines are readable by their reader and never hold a secret."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from emeterai.infra.logs import choose_format, hide_secrets

PROGRAM = """
import logging, structlog
from emeterai.infra.logs import configure_logging
configure_logging("{log_format}", "info")
structlog.contextvars.bind_contextvars(request_id="r-1")
headers = {{"Authorization": "Bearer abc"}}
structlog.get_logger("ours").info("stamp_sealed", pages=2, password="hunter2", headers=headers)
logging.getLogger("granian.access").info("served %s", "/healthz")
logging.getLogger("quiet").debug("not shown")
try:
    local = "local-secret"
    raise RuntimeError("postgresql://emeterai:s3cret@/x failed")
except RuntimeError:
    structlog.get_logger("ours").exception("broken")
"""


def lines(log_format: str) -> list[str]:
    """What the program writes to stderr."""
    command = [sys.executable, "-c", PROGRAM.format(log_format=log_format)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_machines_read_one_json_object_a_line() -> None:
    """Our events and the libraries' have the same form: time in UTC, level, event, and the bound request id."""
    events = [json.loads(line) for line in lines("json")]
    assert [event["event"] for event in events] == ["stamp_sealed", "served /healthz", "broken"]
    assert {"r-1"} == {event["request_id"] for event in events}
    assert [event["level"] for event in events] == ["info", "info", "error"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", event["timestamp"]) for event in events)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_secrets_are_hidden_in_both_forms(log_format: str) -> None:
    """Values under secret names, passwords in URLs and local variables of tracebacks do not appear; the rest does."""
    text = "\n".join(lines(log_format))
    assert [secret for secret in ("hunter2", "Bearer abc", "s3cret", "local-secret") if secret in text] == []
    assert "RuntimeError" in text
    assert "pages" in text


@pytest.mark.parametrize("name", ["token", "X-Api-Key", "session_token", "Set-Cookie", "signature_key", "PASSWORD"])
def test_a_secret_is_known_by_its_name_at_any_depth(name: str) -> None:
    """The spelling of the name does not matter, nor where it is."""
    event = {"event": "e", "facts": [{name: "value"}], name: "value"}
    assert {"event": "e", "facts": [{name: "[hidden]"}], name: "[hidden]"} == hide_secrets(None, "info", event)


def test_what_only_sounds_like_a_secret_stays() -> None:
    """Numbers of keys, words that end alike and plain URLs are shown."""
    event = {"monkey": 1, "keys_counted": 2, "url": "https://example.org:8080/a@b"}
    assert dict(event) == hide_secrets(None, "info", event)


def test_an_unknown_format_is_refused() -> None:
    """A word that is neither form is an error, not a guess."""
    assert choose_format("json") == "json"
    with pytest.raises(ValueError, match="console or json, not xml"):
        choose_format("xml")
