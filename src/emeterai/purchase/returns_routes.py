"""Returns for programs: hand unused quota back, and see where the money is."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, HeaderParameter, JSONBody

from emeterai.accounts.callers import caller
from emeterai.accounts.service import SESSION_EXPIRED, SIGN_IN_NEEDED, Caller
from emeterai.core.returning import ReturnCause, ReturnState
from emeterai.infra.http import (
    IDEMPOTENCY_KEY_BAD,
    IDEMPOTENCY_KEY_REUSED,
    IDEMPOTENCY_KEY_SCHEMA,
    checked_idempotency_key,
    problems,
)
from emeterai.purchase.returns import (
    RETURN_ALREADY_MADE,
    RETURN_IN_CARE,
    RETURN_NOT_AVAILABLE,
    RETURN_NOT_PAID,
    RETURN_QUANTITY_INVALID,
)
from emeterai.purchase.returns_model import Return
from emeterai.purchase.returns_words import cause_in_words, state_in_words
from emeterai.purchase.service import ORDER_UNKNOWN, Purchase

_NO_STORE = {"cache-control": "no-store"}
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}]
_HANDING_BACK = (
    RETURN_QUANTITY_INVALID,
    RETURN_NOT_AVAILABLE,
    RETURN_ALREADY_MADE,
    RETURN_NOT_PAID,
    RETURN_IN_CARE,
    ORDER_UNKNOWN,
    IDEMPOTENCY_KEY_BAD,
    IDEMPOTENCY_KEY_REUSED,
)


class NewReturn(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What to hand back."""

    quantity: Annotated[int, msgspec.Meta(description="How many unused stamps of this order.", examples=[1])]


class ReturnView(msgspec.Struct, frozen=True, kw_only=True):
    """Money on its way back, step by step; what has not happened yet is null."""

    id: UUID
    cause: ReturnCause
    state: ReturnState
    amount_idr: Annotated[
        int | None, msgspec.Meta(description="Whole rupiah; null for money that cannot be written so.")
    ]
    seen_amount: Annotated[Decimal, msgspec.Meta(description="What the provider saw come, in `seen_currency`.")]
    seen_currency: str
    quantity: Annotated[int | None, msgspec.Meta(description="Stamps that were handed back, or credited.")]
    created_at: datetime
    decided_by: Annotated[datetime | None, msgspec.Meta(description="Without a decision it goes back then.")]
    asked_at: Annotated[datetime | None, msgspec.Meta(description="When the payment provider was asked.")]
    ended_at: Annotated[datetime | None, msgspec.Meta(description="When the payer had the money, or it was quota.")]
    id_text: Annotated[str, msgspec.Meta(description="Why and where it is now, in Indonesian.")]
    en_text: Annotated[str, msgspec.Meta(description="The same in English.")]


def return_view(back: Return) -> ReturnView:
    """A return as the API shows it to its owner."""
    why, where = cause_in_words(back), state_in_words(back)
    return ReturnView(
        id=back.id,
        cause=back.cause,
        state=back.state,
        amount_idr=back.amount_idr,
        seen_amount=back.seen_amount,
        seen_currency=back.seen_currency,
        quantity=back.quantity,
        created_at=back.created_at,
        decided_by=back.due_at,
        asked_at=back.asked_at,
        ended_at=back.ended_at,
        id_text=f"{why[0]} {where[0]}",
        en_text=f"{why[1]} {where[1]}",
    )


class ReturnsController(Controller):
    """Hand quota back."""

    path = "/v1/orders/{order_id:uuid}/returns"
    tags = ("Orders",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way
    security = _SECURITY

    @post(
        operation_id="create_return",
        summary="Hand unused quota back",
        responses=problems(SIGN_IN_NEEDED, SESSION_EXPIRED, *_HANDING_BACK),
    )
    async def create(
        self,
        request: Request[Any, Any, Any],
        caller: NamedDependency[Caller],
        order_id: FromPath[UUID],
        data: JSONBody[NewReturn],
        idempotency_key: Annotated[
            str | None,
            HeaderParameter(
                name="Idempotency-Key",
                required=False,
                description="Send a fresh one with each return: a repeated request then gives the same return.",
                schema_extra=IDEMPOTENCY_KEY_SCHEMA,
            ),
        ] = None,
    ) -> Response[ReturnView]:
        """Hand unused stamps of a paid order back. They leave your quota now; the money follows, fee included."""
        purchase: Purchase = request.app.state["services"].purchase
        back = await purchase.returns.hand_back(
            caller.account_id, order_id, data.quantity, idempotency_key=checked_idempotency_key(idempotency_key)
        )
        if back is None:
            raise ORDER_UNKNOWN()
        return Response(return_view(back), status_code=201, headers=_NO_STORE)


controllers: tuple[type[Any], ...] = (ReturnsController,)
"""What the application mounts."""
