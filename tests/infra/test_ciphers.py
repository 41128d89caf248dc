"""What is enciphered is of use for one thing only, under one secret, for one purpose."""

from __future__ import annotations

import pytest

from emeterai.infra.ciphers import BoundCipher

SECRET = b"s" * 32


def test_what_was_enciphered_comes_back() -> None:
    """Twice the same content is not twice the same on record."""
    cipher = BoundCipher(SECRET, b"tests")
    kept = [cipher.enciphered(b"content", b"one") for _ in range(2)]
    assert [b"content"] * 2 == [cipher.deciphered(one, b"one") for one in kept]
    assert kept[0] != kept[1]
    assert len(b"content") + 28 == len(kept[0])


def test_nobody_else_gets_it() -> None:
    """Not for another thing, another purpose or another secret; not when it was altered or cut."""
    cipher = BoundCipher(SECRET, b"tests")
    kept = cipher.enciphered(b"content", b"one")
    assert cipher.deciphered(kept, b"two") is None
    assert BoundCipher(SECRET, b"others").deciphered(kept, b"one") is None
    assert BoundCipher(b"t" * 32, b"tests").deciphered(kept, b"one") is None
    assert cipher.deciphered(kept[:-1] + bytes([kept[-1] ^ 1]), b"one") is None
    assert [None] * len(kept) == [cipher.deciphered(kept[:end], b"one") for end in range(len(kept))]


def test_a_short_secret_enciphers_nothing() -> None:
    """It could be guessed."""
    with pytest.raises(ValueError, match="at least 32 bytes"):
        BoundCipher(b"s" * 31, b"tests")
