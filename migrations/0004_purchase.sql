-- Buying quota: orders, and every notification that a payment provider sent about them.
CREATE SCHEMA purchase;

-- The four transfer ids are made with the order, so that however often an order is settled it posts the same transfers.
CREATE TABLE purchase.orders (
    id                 uuid PRIMARY KEY,
    account_id         uuid        NOT NULL,
    quantity           integer     NOT NULL CHECK (quantity > 0),
    duty_idr           bigint      NOT NULL CHECK (duty_idr > 0),
    fee_idr            bigint      NOT NULL CHECK (fee_idr >= 0),
    total_idr          bigint      NOT NULL CHECK (total_idr = duty_idr + fee_idr),
    state              text        NOT NULL DEFAULT 'awaiting_payment'
        CHECK (state IN ('awaiting_payment', 'paid', 'expired', 'cancelled', 'quarantined')),
    provider           text        NOT NULL,
    provider_reference text,
    pay_url            text        CHECK ((pay_url IS NULL) = (provider_reference IS NULL)),
    idempotency_key    text        CHECK (length(idempotency_key) BETWEEN 1 AND 200),
    request_digest     bytea       NOT NULL CHECK (length(request_digest) = 32),
    payment_transfer   uuid        NOT NULL,
    duty_transfer      uuid        NOT NULL,
    fee_transfer       uuid        NOT NULL,
    credit_transfer    uuid        NOT NULL,
    seen_amount        numeric,
    seen_currency      text        CHECK ((seen_currency IS NULL) = (seen_amount IS NULL)),
    checks             integer     NOT NULL DEFAULT 0,
    next_check_at      timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now(),
    expires_at         timestamptz NOT NULL,
    paid_at            timestamptz CHECK ((paid_at IS NOT NULL) = (state = 'paid')),
    changed_at         timestamptz NOT NULL DEFAULT now(),
    CHECK (state NOT IN ('paid', 'quarantined') OR (seen_amount IS NOT NULL AND next_check_at IS NULL)),
    UNIQUE (account_id, idempotency_key)
) WITH (fillfactor = 80);
CREATE INDEX orders_of_account ON purchase.orders (account_id, id DESC);
CREATE INDEX orders_to_check ON purchase.orders (next_check_at) WHERE next_check_at IS NOT NULL;
CREATE UNIQUE INDEX orders_charge ON purchase.orders (provider, provider_reference) WHERE provider_reference IS NOT NULL;

-- A row is written before the provider gets its answer; `outcome` is null until the notification has been worked.
CREATE TABLE purchase.notifications (
    id          uuid PRIMARY KEY,
    provider    text        NOT NULL,
    event_id    text        NOT NULL,
    order_id    uuid,
    state       text        NOT NULL CHECK (state IN ('pending', 'settled', 'expired', 'cancelled')),
    amount      numeric     NOT NULL,
    currency    text        NOT NULL,
    headers     jsonb       NOT NULL,
    body        bytea       NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    outcome     text,
    worked_at   timestamptz CHECK ((worked_at IS NULL) = (outcome IS NULL)),
    UNIQUE (provider, event_id)
) WITH (fillfactor = 90);
CREATE INDEX notifications_unworked ON purchase.notifications (received_at) WHERE outcome IS NULL;
CREATE INDEX notifications_of_order ON purchase.notifications (order_id);
