"""Is there a genuine seal in these bytes, and is the file still as it was sealed? Used inside the opener only.

Seals are found in the bytes themselves and everything is checked against bytes: cross-references, which attackers bend
(shadow documents, wrapping, incremental saving), are never asked. What follows a seal is looked at part by part
(additions.py): another seal or an addendum of ours, a signature by somebody else; all else is a change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from emeterai.seal.addendum import Addendum, checked_addenda, raised
from emeterai.seal.additions import OurTail, Part, parts_after
from emeterai.seal.cms_check import SealFaultError, Trusted, check_cms, common_name, digest_of, leads_to, read_cms
from emeterai.seal.model import Outcome, StampFacts, VerifyReport
from emeterai.seal.signature import TRACE, SealFound, find_seals

SEALS_MAX = 100


@dataclass(frozen=True, slots=True)
class _Checked:
    """A seal after its checks: no `faults` when the signature holds, `ours` when its certificate leads to our root."""

    found: SealFound
    certificate: x509.Certificate | None
    ours: bool
    faults: list[str]
    level: str = "B-B"

    @property
    def end(self) -> int:
        return self.found.byte_range[1] + self.found.byte_range[2]

    @property
    def holds(self) -> bool:
        return self.ours and not self.faults


def verify_bytes(content: bytes, *, roots: list[bytes], timestamp_roots: Sequence[bytes] = ()) -> VerifyReport:
    """Check every seal in `content` against the root certificates (DER) of seals and of timestamp authorities."""
    trusted = Trusted.of(roots, timestamp_roots)
    seals = [_check(content, found, trusted) for found in find_seals(content)[:SEALS_MAX]]
    addenda = checked_addenda(content, trusted)
    parts = _parts(content, seals, addenda)
    stamps = [_facts(content, seal, parts) for seal in seals]
    return VerifyReport(_outcome(content, seals, stamps), stamps, [part.facts for part in parts])


def _outcome(content: bytes, seals: list[_Checked], stamps: list[StampFacts]) -> Outcome:
    if any(seal.holds for seal in seals):
        whole = all(stamp.intact and not stamp.changes_after for stamp in stamps)
        return "genuine" if whole and content.count(TRACE) == len(seals) else "changed"
    # A seal of another issuer is whole but not ours; one that cannot even be read was ours before somebody bent it.
    bent = any(seal.ours or seal.certificate is None for seal in seals)
    return "changed" if bent or (not seals and TRACE in content) else "not_ours"


def _parts(content: bytes, seals: list[_Checked], addenda: Mapping[int, Addendum]) -> list[Part]:
    """Everything behind the first seal that holds."""
    holding = [seal for seal in seals if seal.holds]
    ours: dict[int, OurTail] = {
        start: OurTail(one.end, "document_timestamp" if one.level == "B-T" else "validation_data", level=one.level)
        for start, one in addenda.items()
    }
    for seal in holding:
        facts = seal.found.facts
        ours[facts.original_size_bytes] = OurTail(seal.end, "stamp", name=facts.serial)
    return parts_after(content, holding[0].end, ours) if holding else []


def _facts(content: bytes, seal: _Checked, parts: list[Part]) -> StampFacts:
    changes, level = list(seal.faults), seal.level
    if not seal.ours and seal.certificate is not None:
        changes.append("certificate_not_ours")
    following = [part for part in parts if part.start >= seal.end]
    for part in following:
        changes += part.facts.changes
        # What raised a later stamp of the same file says the same of this one: it stands on all the bytes below.
        level = raised(level, part.level)
    if seal.end != len(content) and (not following or following[0].start != seal.end):
        changes.append("bytes_added_after_seal")
    facts = seal.found.facts
    return StampFacts(
        serial=facts.serial,
        sealed_at=facts.sealed_at,
        original_sha256=hashlib.sha256(memoryview(content)[: facts.original_size_bytes]).hexdigest(),
        covers_whole_file=seal.holds and seal.end == len(content),
        signer=common_name(seal.certificate),
        certificate_sha256=seal.certificate.fingerprint(hashes.SHA256()).hex() if seal.certificate else "",
        level=level if seal.holds else "B-B",
        intact=seal.holds,
        changes_after=[*dict.fromkeys(changes)],
        sealed_size_bytes=seal.end if seal.holds else 0,
    )


def _check(content: bytes, found: SealFound, trusted: Trusted) -> _Checked:
    certificate, ours, level = None, False, "B-B"
    try:
        signature, certificates = read_cms(found.contents)
        certificate = certificates[0]
        ours = leads_to(certificate, certificates[1:], trusted.seals, moment=found.facts.sealed_at)
        _check_range(content, found)
        start, end, rest = found.byte_range
        level = check_cms(
            signature,
            certificates,
            digest_of(content, (0, start), (end, end + rest)),
            timestamp_roots=trusted.timestamps,
        )
    except SealFaultError as fault:
        return _Checked(found, certificate, ours, [str(fault)])
    return _Checked(found, certificate, ours, [], level)


def _check_range(content: bytes, found: SealFound) -> None:
    """The byte range is everything but the slot, and the tail begins where the dictionary says."""
    start, end, rest = found.byte_range
    original_size = found.facts.original_size_bytes
    if (start, end) != (found.slot_start, found.slot_end) or end + rest > len(content):
        raise SealFaultError("byte_range_wrong")
    if not 0 < original_size < start or content[original_size : original_size + 1] != b"\n":
        raise SealFaultError("byte_range_wrong")
