"""The audit of programmes: what they say of themselves against what the ledger says of their units, to the unit.

SQL over what was written, as of one moment; it shares no code with funding, claiming and returning.
"""

from __future__ import annotations

from emeterai.infra.database import READS_ALL, Database
from emeterai.ledger.check import Rule

_EXAMPLES_MAX = 5


async def check_all_programmes(db: Database) -> list[Rule]:
    """Every rule on every programme and grant, and on every transfer that should be of one. Takes no lock."""
    async with db.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(READS_ALL)
        rules = []
        for name, query in RULES.items():
            rows = await connection.fetch(
                f"WITH broken AS ({query}) SELECT count(*) OVER () AS broken, place::text FROM broken "
                f"LIMIT {_EXAMPLES_MAX}",
                timeout=600,
            )
            rules.append(Rule(name, rows[0]["broken"] if rows else 0, [row["place"] for row in rows]))
    return rules


_POSTED = """
    SELECT subject, (array_agg(debit) FILTER (WHERE kind = 'give'))[1] AS giver,
        (array_agg(credit) FILTER (WHERE kind = 'receive'))[1] AS receiver,
        min(amount) AS least, max(amount) AS most, count(*) AS transfers
    FROM ledger.transfers WHERE reason = '{reason}' GROUP BY subject
"""
_EACH = "(posted.giver, posted.receiver, posted.least, posted.most, posted.transfers)"
_SUMS = """
    SELECT programmes.id, programmes.state, programmes.invited, programmes.claimed,
        (SELECT coalesce(sum(units), 0) FROM partners.fundings WHERE programme_id = programmes.id) AS funded,
        (SELECT count(*) FROM partners.invited WHERE programme_id = programmes.id) AS lines,
        claims.*, back.*
    FROM partners.programmes, LATERAL (
        SELECT count(*) AS count, coalesce(sum(units), 0) AS granted, coalesce(sum(used), 0) AS used,
            coalesce(sum(returned), 0) AS returned, coalesce(sum(kept), 0) AS kept,
            count(*) FILTER (WHERE claims.ended_at IS NULL) AS not_ended
        FROM partners.claims WHERE programme_id = programmes.id
    ) AS claims, LATERAL (
        SELECT coalesce(sum(units) FILTER (WHERE what = 'unclaimed'), 0) AS unclaimed_back,
            coalesce(sum(units) FILTER (WHERE what = 'claimed'), 0) AS claimed_back
        FROM partners.grant_returns WHERE programme_id = programmes.id
    ) AS back
"""
RULES = {
    "a programme received from its agency exactly what it was funded with": f"""
        SELECT coalesce(fundings.id, posted.subject) AS place
        FROM partners.fundings JOIN partners.programmes ON programmes.id = programme_id
        FULL JOIN ({_POSTED.format(reason="grant_funded")}) AS posted ON posted.subject = fundings.id
        WHERE {_EACH} IS DISTINCT FROM (agency_id, programme_id, fundings.units, fundings.units, 2)
    """,
    "a person received from a programme exactly what he claimed, and nothing else was granted": f"""
        SELECT coalesce(claims.id, posted.subject) AS place
        FROM partners.claims
        FULL JOIN ({_POSTED.format(reason="granted")}) AS posted ON posted.subject = claims.id
        WHERE {_EACH} IS DISTINCT FROM (programme_id, account_id, claims.units::bigint, claims.units::bigint, 2)
    """,
    "of a grant that ended exactly what it says came back, and of a programme to its agency": f"""
        SELECT coalesce(back.id, posted.subject) AS place
        FROM (
            SELECT id, account_id AS giver, programme_id AS receiver, returned::bigint AS units
            FROM partners.claims WHERE returned > 0
            UNION ALL
            SELECT grant_returns.id, programme_id, agency_id, units
            FROM partners.grant_returns JOIN partners.programmes ON programmes.id = programme_id
        ) AS back
        FULL JOIN ({_POSTED.format(reason="grant_returned")}) AS posted ON posted.subject = back.id
        WHERE {_EACH} IS DISTINCT FROM (back.giver, back.receiver, back.units, back.units, 2)
    """,
    "a programme holds what was funded and came back, less what was granted and returned": f"""
        SELECT sums.id AS place FROM ({_SUMS}) AS sums LEFT JOIN ledger.balances ON account = sums.id
        WHERE coalesce(bought - held - used_units - refunded, 0)
            <> funded - granted + returned - unclaimed_back - claimed_back
    """.replace("used_units", "balances.used"),
    "an ended programme accounts for every unit: funded = used + returned + kept": f"""
        SELECT id AS place FROM ({_SUMS}) AS sums
        WHERE state = 'ended' AND (not_ended > 0 OR claimed_back <> returned
            OR funded <> sums.used + claimed_back + unclaimed_back + kept)
    """,
    "a programme counts its invitations and its claims right": f"""
        SELECT id AS place FROM ({_SUMS}) AS sums WHERE (invited, claimed) IS DISTINCT FROM (lines::int, count::int)
    """,
    "a person claims once, and by an identity or code that is invited": """
        SELECT programme_id AS place FROM partners.claims GROUP BY programme_id, key HAVING count(*) > 1
        UNION ALL
        SELECT programme_id FROM partners.claims GROUP BY programme_id, account_id HAVING count(*) > 1
        UNION ALL
        SELECT id FROM partners.claims LEFT JOIN partners.invited USING (programme_id, key) WHERE invited.key IS NULL
    """,
}
"""Each rule in words, and the places that break it."""
