"""The process that talks to one session of a PKCS#11 token: `python -m emeterai.seal.token_process FD PARENT`.

Vendors' modules hang, crash, and are not safe for several threads when they are initialised as python-pkcs11 does it
(PKCS#11 2.40, 5.4: without arguments no two threads may call at once). So each session has a process of its own, which
can be killed and replaced. It takes one opening and then signs what it is sent until its parent hangs up.
"""

from __future__ import annotations

import hashlib
import sys
from socket import socket
from typing import Any, BinaryIO

import msgspec
import pkcs11
from pkcs11.util.ec import encode_ecdsa_signature

from emeterai.infra.process import die_with_parent
from emeterai.seal.token_messages import LENGTH, Answer, Opening, frame


def main(descriptor: int, parent_pid: int) -> None:
    """Open the session, then sign until the parent hangs up."""
    die_with_parent(parent_pid=parent_pid)
    with socket(fileno=descriptor) as connection, connection.makefile("rb") as requests:
        opening = msgspec.msgpack.decode(_read(requests) or b"", type=Opening)
        try:
            key = _open(opening)
        except (pkcs11.PKCS11Error, RuntimeError) as error:
            _write(connection, Answer(fault=_named(error)))
            return
        _write(connection, Answer())
        while to_be_signed := _read(requests):
            try:
                _write(connection, Answer(_sign(key, to_be_signed)))
            except (pkcs11.PKCS11Error, RuntimeError, ValueError) as error:
                _write(connection, Answer(fault=_named(error)))
                return


def _open(opening: Opening) -> Any:
    token = pkcs11.lib(opening.module).get_token(token_label=opening.token_label)
    session = token.open(user_pin=opening.pin)
    return session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=opening.key_label)


def _sign(key: Any, to_be_signed: bytes) -> bytes:
    """RSA PKCS#1 v1.5 or ECDSA with SHA-512, encoded as CMS wants it."""
    if key.key_type is pkcs11.KeyType.RSA:
        return bytes(key.sign(to_be_signed, mechanism=pkcs11.Mechanism.SHA512_RSA_PKCS))
    digest = hashlib.sha512(to_be_signed).digest()
    return bytes(encode_ecdsa_signature(key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA)))


def _named(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()


def _read(requests: BinaryIO) -> bytes | None:
    head = requests.read(LENGTH.size)
    return requests.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else None


def _write(connection: socket, answer: Answer) -> None:
    connection.sendall(frame(msgspec.msgpack.encode(answer)))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]))
