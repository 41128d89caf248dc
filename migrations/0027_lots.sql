-- Lots of the draw that an address has taken without an account. The address is there as a keyed digest, until the draw.
CREATE TABLE gate.lots (
    lane    text  NOT NULL,
    network bytea NOT NULL CHECK (length(network) = 12),
    taken   int   NOT NULL CHECK (taken > 0),
    PRIMARY KEY (lane, network)
) WITH (fillfactor = 50);

-- Numbers that were given to nobody in particular: the account that each became, for good, and when its passes that name no
-- account end (seconds since 1970). A number that was an account's once is never another's, whatever its owner left.
CREATE TABLE gate.bearers (
    lane       text     NOT NULL,
    number     bigint   NOT NULL CHECK (number > 0),
    account_id uuid,
    ends_s     bigint[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (lane, number)
);
INSERT INTO gate.bearers (lane, number, account_id) SELECT lane, number, account_id FROM gate.places;
