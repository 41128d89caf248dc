"""The commands of the gate: anyone verifies a draw or a receipt; whoever runs the service withdraws a place."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from emeterai.cli_office import add_command
from emeterai.core.draw import SEED_BYTES, commitment_of, key_of, turn_of
from emeterai.gate import bearer_store, room_store
from emeterai.gate.lanes import require_lane
from emeterai.gate.receipts import read_receipt
from emeterai.gate.tickets import TicketPress, number_subject
from emeterai.infra.database import Database
from emeterai.infra.secrets import local_secret
from emeterai.infra.settings import Settings, load_settings

EXIT_NOT_GENUINE = 1


def add_gate(commands: Any) -> None:
    """Add every command of the gate to the parser's `commands`."""
    gate = commands.add_parser("gate", help="the waiting room").add_subparsers(required=True, metavar="COMMAND")
    draw = gate.add_parser("draw", help="who came when").add_subparsers(required=True, metavar="COMMAND")
    proof = draw.add_parser("verify", help="compute a draw again; exit 0 only if seed and commitment fit, 1 if not")
    proof.add_argument("--lane", required=True)
    proof.add_argument("--seed", required=True, type=_seed, help="in hex, as it was revealed")
    proof.add_argument("--count", required=True, type=int, help="how many numbers were in the draw")
    proof.add_argument("--commitment", help="SHA-256 of the seed in hex, as it was published before")
    proof.add_argument("--number", type=int, help="the number whose turn is asked; all without it")
    receipt = gate.add_parser("receipt", help="who was in time").add_subparsers(required=True, metavar="COMMAND")
    check = receipt.add_parser("verify", help="verify a receipt offline; exit 0 genuine, 3 not")
    check.add_argument("receipt")
    check.add_argument("--key", required=True, type=_key, metavar="PEM", help="a saved /v1/receipts-in-time/key.pem")
    for command, handler in ((proof, _draw), (check, _receipt)):
        command.add_argument("--json", action="store_true", help="print one JSON object")
        command.set_defaults(run=_told(handler))
    withdraw = add_command(gate, "revoke", _revoke, "withdraw a ticket and its passes")
    withdraw.add_argument("lane")
    subject = withdraw.add_mutually_exclusive_group(required=True)
    subject.add_argument("--number", type=int, help="a number: its ticket, and the account that it belongs to by now")
    subject.add_argument("--account", type=UUID, help="an account")
    withdraw.add_argument("--reason", required=True, help="for the record")


def _told(
    handler: Callable[[argparse.Namespace], tuple[Any, str, int]],
) -> Callable[[argparse.Namespace, Settings], int]:
    def run(arguments: argparse.Namespace, _: Settings) -> int:
        facts, text, code = handler(arguments)
        sys.stdout.write(f"{msgspec.json.encode(facts).decode() if arguments.json else text}\n")
        return code

    return run


def _draw(arguments: argparse.Namespace) -> tuple[Any, str, int]:
    seed, lane, count = arguments.seed, arguments.lane, arguments.count
    commitment, key = commitment_of(seed), key_of(seed, lane=lane, count=count)
    fits = arguments.commitment in {None, commitment}
    numbers = range(1, count + 1) if arguments.number is None else [arguments.number]
    try:
        turns = {number: turn_of(number, key=key, count=count) for number in numbers}
    except ValueError as error:
        return {"fits": False, "error": str(error)}, str(error), EXIT_NOT_GENUINE
    said = "the seed fits its commitment" if fits else f"WRONG  the seed's commitment is {commitment}"
    lines = [said, *(f"number {number}: turn {turn}" for number, turn in turns.items())]
    return {"fits": fits, "commitment": commitment, "turns": turns}, "\n".join(lines), 0 if fits else EXIT_NOT_GENUINE


def _receipt(arguments: argparse.Namespace) -> tuple[Any, str, int]:
    says = read_receipt(arguments.receipt, arguments.key)
    lane = f" in lane {says.lane}" if says.lane else ""
    at = f"{says.at.isoformat()} ({says.moment})"
    text = f"genuine: {says.what}{lane} at {at}, reference {says.reference}, said by {says.issuer}"
    return says, text, 0


async def _revoke(arguments: argparse.Namespace, db: Database) -> tuple[Any, str]:
    lane, account_id = arguments.lane, arguments.account
    await require_lane(db, lane)
    if account_id is None:
        await room_store.add_revocation(db, lane, number_subject(arguments.number), arguments.reason)
        # Now that nobody makes the number an account's any more: whose it has become by then.
        account_id = await bearer_store.owner_of(db, lane, arguments.number)
    if account_id is not None:
        press = TicketPress(local_secret(load_settings().data_path / "secrets", "gate"))
        await room_store.add_revocation(db, lane, press.holder_of(account_id), arguments.reason)
    whose = f", and all others of account {account_id} in this lane" if account_id and not arguments.account else ""
    return {"revoked": True, "account": account_id}, f"withdrawn{whose}; every web process knows within a second"


def _seed(text: str) -> bytes:
    try:
        seed = bytes.fromhex(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("a seed is written in hex") from error
    if len(seed) != SEED_BYTES:
        raise argparse.ArgumentTypeError(f"a seed has {SEED_BYTES} bytes")
    return seed


def _key(path: str) -> bytes:
    try:
        key = load_pem_public_key(Path(path).read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise argparse.ArgumentTypeError(f"no public key in {path}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise argparse.ArgumentTypeError("the key is an Ed25519 key in PEM")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
