"""What must hold for any damaged file: sealed and valid, or refused by name; and no damaged seal is genuine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mutations import mutated
from seal_judges import judged_by_pdfsig, judged_by_pyhanko
from seal_orders import order_of

from emeterai.core.refusal import Refused
from emeterai.seal.service import SealEngine, Signer
from emeterai.seal.verification import verify_bytes

_SLOT = re.compile(rb"/Contents ?<[0-9A-Fa-f]*>")
OPENER_SIZE_BYTES_MAX = 500_000_000
Answer = TypeVar("Answer")


@dataclass
class Fuzzer:
    """Damages files and looks what comes of it; `outcomes` counts. An AssertionError names the sample and the seed."""

    engine: SealEngine
    signer: Signer
    folder: Path
    outcomes: Counter[str] = field(default_factory=Counter)

    async def seal(self, name: str, content: bytes, seed: int, *, judged: bool) -> None:
        """Take a damaged original the service's way: refused by name at inspection, or sealed, read back and genuine.

        When `judged`, the seal is valid for others too.
        """
        case = f"{name}, seed {seed}"
        original, tail, whole = (self.folder / part for part in ("original.pdf", "tail", "whole.pdf"))
        original.write_bytes(mutated(content, seed) or b" ")
        try:
            report = await self.engine.inspect(original)
            if report.repaired:
                original.write_bytes(await self.engine.repair(original))
        except Refused as refused:
            assert refused.code.startswith("pdf_"), case  # noqa: PT017 - both outcomes are right
            self.outcomes[refused.code] += 1
            return
        # From here on somebody pays: nothing may be refused any more.
        sealed = await self._promised(self.engine.seal(original, order_of(page=report.pages, plan=report.plan)), case)
        tail.write_bytes(sealed.tail)
        whole.write_bytes(original.read_bytes() + sealed.tail)
        await self._promised(self.engine.read_back(original, tail, sealed), case)
        assert (await self.engine.verify(whole)).outcome == _expected(original.read_bytes()), case
        self.outcomes["sealed after repair" if report.repaired else "sealed"] += 1
        if judged:
            await self._judge(whole, case)

    async def _promised(self, work: Awaitable[Answer], case: str) -> Answer:
        try:
            return await work
        except Refused as refused:
            raise AssertionError(f"{case}: {refused.code} after inspection") from refused

    def verify(self, name: str, content: bytes, seed: int, *, sealed_size_bytes: int) -> None:
        """Verify a damaged sealed file. It may be genuine only when every byte that the seal covers is as it was."""
        damaged = mutated(content, seed)
        report = verify_bytes(damaged, roots=list(self.signer.roots))
        self.outcomes[f"verified: {report.outcome}"] += 1
        if report.outcome == "genuine" and damaged != content:
            case = f"{name}, seed {seed}"
            assert damaged[:sealed_size_bytes] == content[:sealed_size_bytes], case
            # The slot of a later signature by somebody else is the one place that no signature covers.
            later, wanted = (_SLOT.sub(b"", one[sealed_size_bytes:]) for one in (damaged, content))
            assert later == wanted, case

    def check_memory(self) -> None:
        """No opener has ever used more memory than its bound."""
        for pid in self.engine.opener_pids:
            peak = Path(f"/proc/{pid}/status").read_text(encoding="ascii").partition("VmHWM:")[2].split()[0]
            assert int(peak) * 1024 < OPENER_SIZE_BYTES_MAX

    async def _judge(self, path: Path, case: str) -> None:
        """Ask pdfsig and pyHanko about our seal; what they cannot open at all is for qpdf's tolerance to answer for."""
        ours = [one for one in judged_by_pdfsig(path) if one.field.startswith("EMETERAI_")]
        self.outcomes["pdfsig: valid" if ours else "pdfsig: cannot open"] += 1
        assert all(one.valid for one in ours), case
        try:
            statuses = await judged_by_pyhanko(path.read_bytes(), self.signer.roots[0])
        except Exception:  # noqa: BLE001 - it gives up on damaged files in many ways
            self.outcomes["pyhanko: cannot open"] += 1
            return
        self.outcomes["pyhanko: valid"] += 1
        assert statuses[-1:], case
        assert all((one.intact, one.valid) == (True, True) for one in statuses[-1:]), case


def _expected(damaged: bytes) -> str:
    """A file that carried the damaged seal of ours before stays changed under the new one."""
    return "changed" if b"/EMTR_Serial" in damaged else "genuine"
