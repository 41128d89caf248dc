"""What the steward does about programmes of grants, each at its own pace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from emeterai.infra.database import Database
from emeterai.ledger.service import Ledger
from emeterai.partners.programme_claims import Claims
from emeterai.partners.programme_returns import GrantReturns
from emeterai.partners.programme_secrets import ProgrammeSecrets
from emeterai.partners.programmes import Programmes

_RETURNS_EVERY_S = 2.0
_CODES_EVERY_S = 60.0
_TRIES_EVERY_S = 60.0


def programme_work(
    db: Database, ledger: Ledger, keys: ProgrammeSecrets
) -> dict[str, tuple[float, Callable[[], Awaitable[object]]]]:
    """Every sweep by its name: after how many seconds it is repeated, and what it does."""
    return {
        "return_grants": (_RETURNS_EVERY_S, GrantReturns(db, ledger).sweep),
        "finish_codes": (_CODES_EVERY_S, Programmes(db, ledger, keys).finish_codes),
        "sweep_claim_tries": (_TRIES_EVERY_S, Claims(db, ledger, keys).sweep),
    }
