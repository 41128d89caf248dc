-- A group that staff have not approved buys under its founder's own limit and makes no vouchers.
ALTER TABLE accounts.groups ADD COLUMN approved boolean NOT NULL DEFAULT false;
CREATE INDEX groups_unapproved ON accounts.groups (created_by, id) WHERE NOT approved;

-- Who approved a group, or took that back, and why: a record that only grows.
CREATE TABLE accounts.group_approvals (
    number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    group_id uuid        NOT NULL REFERENCES accounts.groups (id),
    change   text        NOT NULL CHECK (change IN ('approved', 'withdrawn')),
    note     text        NOT NULL CHECK (length(note) BETWEEN 1 AND 500),
    done_by  text        NOT NULL CHECK (length(done_by) BETWEEN 1 AND 300),
    done_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX group_approvals_of_group ON accounts.group_approvals (group_id, number DESC);
CREATE FUNCTION accounts.refuse_approval_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'who approved a group stays on record';
END $$;
CREATE TRIGGER group_approvals_immutable BEFORE UPDATE OR DELETE ON accounts.group_approvals
    FOR EACH ROW EXECUTE FUNCTION accounts.refuse_approval_change();
CREATE TRIGGER group_approvals_not_truncated BEFORE TRUNCATE ON accounts.group_approvals
    FOR EACH STATEMENT EXECUTE FUNCTION accounts.refuse_approval_change();

-- An invitee's contact is kept only while the invitation is open; the history has it masked.
UPDATE accounts.invitations SET contact = NULL, ended_at = coalesce(ended_at, expires_at)
    WHERE ended_at IS NOT NULL OR expires_at <= now();
ALTER TABLE accounts.invitations ADD CONSTRAINT invitations_contact_forgotten
    CHECK (ended_at IS NULL OR contact IS NULL);
CREATE INDEX invitations_with_contact ON accounts.invitations (expires_at) WHERE contact IS NOT NULL;

ALTER TABLE accounts.deeds DISABLE TRIGGER deeds_immutable;
UPDATE accounts.deeds SET facts = jsonb_set(facts, '{contact}', to_jsonb(
        CASE WHEN facts ->> 'contact' LIKE '%@%'
            THEN left(facts ->> 'contact', 1) || '***@' || split_part(facts ->> 'contact', '@', 2)
            ELSE left(facts ->> 'contact', 3) || '***' || right(facts ->> 'contact', 2) END))
    WHERE kind = 'invited' AND facts ->> 'contact' IS NOT NULL;
ALTER TABLE accounts.deeds ENABLE TRIGGER deeds_immutable;

CREATE INDEX api_keys_of_group ON accounts.api_keys (group_id) WHERE group_id IS NOT NULL;

-- The API keys of partners that were made before their lane was written down.
INSERT INTO gate.lane_accounts (account_id, lane) SELECT account_id, 'partners' FROM partners.partners
    ON CONFLICT (account_id) DO NOTHING;
