"""The road of vouchers through the whole service: made, activated, redeemed, voided, with a death at any step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from running import Person

if TYPE_CHECKING:
    from death_trial import Trial

UNITS, VOUCHERS, STOCK = 3, 2, 10
VOUCHER_POINTS = tuple(
    f"{step}.{moment}" for step in ("batch", "activate", "redeem", "void") for moment in ("written", "recorded")
)


async def vouchers(trial: Trial, point: str) -> None:
    """An organisation makes two vouchers of three units; one is redeemed, the other voided, and every unit is there."""
    seller, buyer = await _organisation(trial), await Person.sign_up(trial.service)
    step = point.partition(".")[0]

    async def done(mine: str, person: Person, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if mine == step:
            trial.arm(point)
        return await trial.post(person, f"/v1/vouchers/{path}", json=body)

    batch = await done("batch", seller, "batches", {"vouchers": VOUCHERS, "units": UNITS})
    assert [batch["id"]] == [one["id"] for one in (await _got(trial, seller, "batches"))["items"]]
    answer = await trial.crowd.insist(lambda: seller.api.post(f"/v1/vouchers/batches/{batch['id']}/codes"))
    code = answer.raise_for_status().text.splitlines()[1].split(",")[1]
    await done("activate", seller, "activations", {"batch_id": batch["id"]})
    assert VOUCHERS == (await _got(trial, seller, f"batches/{batch['id']}"))["counts"]["active"]
    assert UNITS == (await done("redeem", buyer, "redemptions", {"code": code}))["units"]
    voided = await done("void", seller, "voidings", {"batch_id": batch["id"], "confirm": True})
    assert (1, UNITS) == (voided["vouchers"], voided["units"])
    assert trial.has_died(point)
    quotas = [(await trial.crowd.insist(lambda one=one: one.api.get("/v1/quota"))).json() for one in (seller, buyer)]
    assert [STOCK - UNITS, UNITS] == [quota["available"] for quota in quotas]
    for person in (seller, buyer):
        await person.close()


async def _organisation(trial: Trial) -> Person:
    """Somebody who acts for an organisation that has bought quota."""
    person = await Person.sign_up(trial.service)
    await person.act_for_organisation("Koperasi Uji")
    await person.buy(STOCK)
    return person


async def _got(trial: Trial, person: Person, path: str) -> dict[str, Any]:
    answer = await trial.crowd.insist(lambda: person.api.get(f"/v1/vouchers/{path}"))
    found: dict[str, Any] = answer.raise_for_status().json()
    return found
