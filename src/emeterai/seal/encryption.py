"""What an encrypted file asks of a tail: its strings and streams enciphered with the file's own key (ISO 32000-2, 7.6).

The key comes from qpdf, which has checked the password. Initial vectors follow from key and content, so that the same
order makes the same tail; nobody without the key can foretell them.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal

import msgspec

Method = Literal["none", "rc4", "aesv2", "aesv3"]

_BLOCK_SIZE_BYTES = 16
_OBJECT_KEY_SIZE_BYTES_MAX = 16


class FileCipher(msgspec.Struct, frozen=True):
    """The file's key and what it is used for. `none` is the crypt filter Identity, or no encryption at all."""

    key: bytes
    strings: Method
    streams: Method

    def string(self, content: bytes, number: int, generation: int = 0) -> bytes:
        """A string as it is written within an object: enciphered, as hexadecimal digits."""
        return b"<" + self._enciphered(self.strings, content, number, generation).hex().encode() + b">"

    def stream(self, content: bytes, number: int, generation: int = 0) -> bytes:
        """The bytes of a stream as they are written, after its filters."""
        return self._enciphered(self.streams, content, number, generation)

    def _enciphered(self, method: Method, content: bytes, number: int, generation: int) -> bytes:
        if method == "none":
            return content
        if method == "aesv3":
            return _aes(self.key, content, number)
        object_key = self._object_key(number, generation, b"sAlT" if method == "aesv2" else b"")
        return _aes(object_key, content, number) if method == "aesv2" else _rc4(object_key, content)

    def _object_key(self, number: int, generation: int, salt: bytes) -> bytes:
        """ISO 32000-2, 7.6.3.2, algorithm 1: each object has a key of its own."""
        place = number.to_bytes(3, "little") + generation.to_bytes(2, "little")
        digest = hashlib.md5(self.key + place + salt, usedforsecurity=False).digest()
        return digest[: min(len(self.key) + 5, _OBJECT_KEY_SIZE_BYTES_MAX)]


# `cryptography` is imported when first needed: it takes 50 ms, and most openers never meet an encrypted file.


def _aes(key: bytes, content: bytes, number: int) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415

    vector = hmac.digest(key, number.to_bytes(4, "big") + content, "sha256")[:_BLOCK_SIZE_BYTES]
    missing = _BLOCK_SIZE_BYTES - len(content) % _BLOCK_SIZE_BYTES
    encryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    return vector + encryptor.update(content + bytes([missing]) * missing) + encryptor.finalize()


def _rc4(key: bytes, content: bytes) -> bytes:
    from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4  # noqa: PLC0415
    from cryptography.hazmat.primitives.ciphers import Cipher  # noqa: PLC0415

    return Cipher(ARC4(key), mode=None).encryptor().update(content)
