"""The known attacks come out as changed, whatever other verifiers make of them; each disagreement has its reason."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from forgery_cases import FORGERIES
from seal_judges import judged_by_pdfsig, judged_by_pyhanko
from seal_orders import SealBytes

from emeterai.seal.service import Signer
from emeterai.seal.verification import verify_bytes

_OUTSIDE = "pyHanko judges the bytes up to its last cross-reference; we judge every byte of the file"
_INERT = "pyHanko allows new objects that nothing shows yet; we do not keep room for the next step of an attack"
_COVERED = "pyHanko does not look at pages; we do, and what was legible when it was sealed must stay so"
_FIELD = "pyHanko allows any new signature field; we only one that looks the same everywhere and does nothing else"
DISAGREEMENTS = {
    "saving: update without cross-reference": _OUTSIDE,
    "saving: update with a bare body": _OUTSIDE,
    "saving: update whose startxref is the old one": _OUTSIDE,
    "saving: the tail twice": _OUTSIDE,
    "saving: trailing garbage": _OUTSIDE,
    "saving: zeros behind the end": _OUTSIDE,
    "shadow: an object that was waited for": "pyHanko sees a new object; the sealed page waited for its number",
    "shadow: an object that was waited for, signed": "the same, within a signed update",
    "annotation: an object for later": _INERT,
    "sneaky: a white signature over the text": _COVERED,
    "sneaky: a black signature over the text": _COVERED,
    "sneaky: a signature over the stamp": _COVERED,
    "sneaky: a signature as large as the page": _COVERED,
    "sneaky: a signature that shows on paper only": _FIELD,
    "sneaky: a signature with a script": _FIELD,
    "sneaky: a signature in a layer": _FIELD,
    "sneaky: a signature that is a note": _FIELD,
    "structure: an object twice in an update": "pyHanko asks the cross-reference; a reader that mends takes the other",
    "structure: an empty update": _INERT,
    "structure: only metadata": "pyHanko allows metadata alone; here they come along with a signature or not at all",
}
"""Attacks after which pyHanko still calls the seal valid, and why we do not."""


@pytest.mark.parametrize("name", FORGERIES)
async def test_an_attack_comes_out_as_changed(name: str, seal: SealBytes, signer: Signer, tmp_path: Path) -> None:
    """Never genuine, never a stranger's; pyHanko agrees or the reason is known; pdfsig never says "whole and valid"."""
    forgery = FORGERIES[name]
    sealed, _ = await seal(forgery.original)
    made = forgery.make(sealed)
    forged = await made if inspect.isawaitable(made) else made
    assert isinstance(forged, bytes)
    assert forged != sealed
    report = verify_bytes(forged, roots=list(signer.roots))
    assert "changed" == report.outcome
    assert all(stamp.changes_after for stamp in report.stamps)
    assert (name in DISAGREEMENTS) == await _valid_for_pyhanko(forged, signer)
    path = tmp_path / "forged.pdf"
    path.write_bytes(forged)
    whole = [one for one in judged_by_pdfsig(path) if one.valid and one.whole_document]
    assert [] == [one.field for one in whole if one.field.startswith("EMETERAI_")]


async def _valid_for_pyhanko(content: bytes, signer: Signer) -> bool:
    """Whether pyHanko finds our seal valid and what follows it allowed; files that it cannot read are not."""
    try:
        statuses = await judged_by_pyhanko(content, signer.roots[0])
    except Exception:  # noqa: BLE001 - it is a judge of hostile files, and gives up in many ways
        return False
    return any(status.bottom_line for status in statuses)
