"""Whom to trust over TLS: read once for each protocol, and never one for the other."""

from __future__ import annotations

from emeterai.infra.tls import trusted, trusted_for_letters


def test_letters_are_sent_in_nobody_elses_name() -> None:
    """Each call by HTTP says in the context it uses that HTTP is spoken; a mail server may hang up on that."""
    assert trusted() is trusted()
    assert trusted_for_letters() is trusted_for_letters()
    assert trusted_for_letters() is not trusted()
