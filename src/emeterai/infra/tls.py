"""Whom to trust when we call others over TLS."""

from __future__ import annotations

import functools
import ssl

import httpx


@functools.cache
def trusted() -> ssl.SSLContext:
    """For HTTP: the certificate authorities that httpx brings, and those that this machine was told of besides.

    They are read once in a process, as to read them takes ten to thirty milliseconds of a processor: a client for each
    question would cost more than the question.
    """
    return _authorities()


@functools.cache
def trusted_for_letters() -> ssl.SSLContext:
    """The same for SMTP. Whoever calls by HTTP writes into the one above that it is spoken (ALPN, RFC 7301), which a
    mail server may refuse to hear.
    """
    return _authorities()


def _authorities() -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
