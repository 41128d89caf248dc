-- The money's way back: returns to payers, cases for care, and decisions that take two people.
ALTER TABLE purchase.orders
    ADD COLUMN second_payment text NOT NULL DEFAULT 'return' CHECK (second_payment IN ('return', 'credit')),
    ADD COLUMN wanted_channel text CHECK (wanted_channel IN ('qris', 'virtual_account')),
    ADD COLUMN paid_provider  text,
    ADD COLUMN paid_reference text,
    ADD COLUMN closing        boolean NOT NULL DEFAULT false;
-- Until now an order was paid by its own charge.
UPDATE purchase.orders SET paid_provider = provider, paid_reference = provider_reference
WHERE state IN ('paid', 'quarantined');
-- Charges of orders that ended without money and are to be cancelled at the provider.
CREATE INDEX orders_closing ON purchase.orders (changed_at) WHERE closing;

ALTER TABLE purchase.notifications ADD COLUMN reference text, ADD COLUMN back numeric;

-- All transfer ids are made with the return, so that however often a step is taken it posts the same transfers.
-- `amount_idr` is null where what was seen cannot be written in whole rupiah; such a return is never posted.
CREATE TABLE purchase.returns (
    id              uuid PRIMARY KEY,
    order_id        uuid        NOT NULL REFERENCES purchase.orders,
    account_id      uuid        NOT NULL,
    cause           text        NOT NULL CHECK (cause IN
        ('paid_again', 'amount_differs', 'no_quota_in_time', 'quota_returned')),
    state           text        NOT NULL CHECK (state IN
        ('undecided', 'owed', 'asked', 'returned', 'needs_care', 'credited')),
    provider        text        NOT NULL,
    reference       text,
    seen_amount     numeric     NOT NULL,
    seen_currency   text        NOT NULL,
    amount_idr      bigint      CHECK (amount_idr > 0),
    quantity        integer     CHECK (quantity > 0),
    duty_idr        bigint      NOT NULL DEFAULT 0 CHECK (duty_idr >= 0),
    fee_idr         bigint      NOT NULL DEFAULT 0 CHECK (fee_idr >= 0),
    seen_transfer   uuid        NOT NULL,
    duty_transfer   uuid        NOT NULL,
    fee_transfer    uuid        NOT NULL,
    quota_transfer  uuid        NOT NULL,
    back_transfer   uuid        NOT NULL,
    idempotency_key text        CHECK (length(idempotency_key) BETWEEN 1 AND 200),
    request_digest  bytea       CHECK (length(request_digest) = 32),
    trouble         text,
    proof           text,
    tries           integer     NOT NULL DEFAULT 0,
    next_try_at     timestamptz,
    due_at          timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    asked_at        timestamptz,
    ended_at        timestamptz,
    changed_at      timestamptz NOT NULL DEFAULT now(),
    CHECK ((ended_at IS NOT NULL) = (state IN ('returned', 'credited'))),
    CHECK ((next_try_at IS NOT NULL) = (state IN ('owed', 'asked'))),
    CHECK ((due_at IS NOT NULL) = (state = 'undecided')),
    CHECK ((trouble IS NOT NULL) OR state <> 'needs_care'),
    CHECK (amount_idr IS NOT NULL OR state IN ('needs_care', 'returned')),
    CHECK (state <> 'credited' OR (quantity IS NOT NULL AND amount_idr = duty_idr + fee_idr)),
    CHECK (cause <> 'quota_returned' OR (quantity IS NOT NULL AND amount_idr = duty_idr + fee_idr)),
    UNIQUE (account_id, idempotency_key)
) WITH (fillfactor = 80);
CREATE INDEX returns_of_order ON purchase.returns (order_id, id);
CREATE INDEX returns_to_try ON purchase.returns (next_try_at) WHERE next_try_at IS NOT NULL;
CREATE INDEX returns_due ON purchase.returns (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX returns_in_care ON purchase.returns (changed_at) WHERE state IN ('undecided', 'needs_care');

-- What nobody can decide alone: `amount_idr` is what the provider took back, and is posted when the case is opened.
CREATE TABLE purchase.cases (
    id             uuid PRIMARY KEY,
    kind           text        NOT NULL CHECK (kind IN ('taken_back', 'contradicted', 'no_answer')),
    order_id       uuid        NOT NULL REFERENCES purchase.orders,
    provider       text        NOT NULL,
    reference      text,
    amount_idr     bigint      CHECK (amount_idr > 0),
    quantity       integer     CHECK (quantity > 0),
    loss_transfer  uuid        NOT NULL,
    quota_transfer uuid        NOT NULL,
    duty_transfer  uuid        NOT NULL,
    fee_transfer   uuid        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    closed_at      timestamptz,
    CHECK (kind <> 'taken_back' OR amount_idr IS NOT NULL)
) WITH (fillfactor = 80);
CREATE INDEX cases_of_order ON purchase.cases (order_id, id);
CREATE INDEX cases_open ON purchase.cases (id) WHERE closed_at IS NULL;
-- Of these one at a time says enough.
CREATE UNIQUE INDEX cases_once ON purchase.cases (order_id, kind) WHERE closed_at IS NULL AND kind <> 'taken_back';

-- Four eyes: who decides is not who proposed, whatever the code above believes.
CREATE TABLE purchase.proposals (
    id          uuid PRIMARY KEY,
    return_id   uuid        REFERENCES purchase.returns,
    case_id     uuid        REFERENCES purchase.cases,
    action      text        NOT NULL CHECK (action IN
        ('credit', 'return', 'ask_again', 'paid_out', 'take_back', 'close')),
    quantity    integer     CHECK (quantity > 0),
    note        text        NOT NULL CHECK (length(note) BETWEEN 1 AND 500),
    proposed_by uuid        NOT NULL,
    decided_by  uuid        CHECK (decided_by <> proposed_by),
    approved    boolean     CHECK ((approved IS NULL) = (decided_by IS NULL)),
    created_at  timestamptz NOT NULL DEFAULT now(),
    decided_at  timestamptz CHECK ((decided_at IS NULL) = (decided_by IS NULL)),
    CHECK (num_nonnulls(return_id, case_id) = 1),
    CHECK ((action IN ('take_back', 'close')) = (case_id IS NOT NULL)),
    CHECK ((action = 'take_back') = (quantity IS NOT NULL))
);
CREATE UNIQUE INDEX proposals_open_return ON purchase.proposals (return_id) WHERE decided_at IS NULL;
CREATE UNIQUE INDEX proposals_open_case ON purchase.proposals (case_id) WHERE decided_at IS NULL;
CREATE INDEX proposals_of_return ON purchase.proposals (return_id) WHERE return_id IS NOT NULL;
CREATE INDEX proposals_of_case ON purchase.proposals (case_id) WHERE case_id IS NOT NULL;
