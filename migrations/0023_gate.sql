-- The waiting room: how far the numbers of each lane are given out, whose turn it is, who holds a number, who wants to be called.
CREATE SCHEMA IF NOT EXISTS gate;

-- One row a lane. `next_number` grows by whole leases; nothing else writes it. The rest belongs to the steward that holds `writer`.
CREATE TABLE gate.rooms (
    lane         text   PRIMARY KEY CHECK (lane ~ '^[a-z][a-z0-9-]{0,39}$'),
    next_number  bigint NOT NULL DEFAULT 1 CHECK (next_number BETWEEN 1 AND 1073741824),
    now_serving  bigint NOT NULL DEFAULT 0 CHECK (now_serving >= 0),
    credit       float8 NOT NULL DEFAULT 0,
    moved_at     timestamptz NOT NULL DEFAULT now(),
    -- [[seconds, turn], ...]: when the line had come how far, for the last while.
    marks        text   NOT NULL DEFAULT '[]',
    come_share   float8 NOT NULL DEFAULT 1 CHECK (come_share BETWEEN 0 AND 1),
    -- The draw: a seed that is made before opening and never changes; how many numbers were in the pool when it was closed.
    draw_seed    bytea  CHECK (length(draw_seed) = 32),
    draw_count   bigint CHECK (draw_count >= 0),
    published    text,
    writer       uuid,
    writer_until timestamptz NOT NULL DEFAULT '-infinity',
    CHECK (draw_count IS NULL OR draw_seed IS NOT NULL)
) WITH (fillfactor = 50);

CREATE FUNCTION gate.keep_draw() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.draw_seed IS NOT NULL AND NEW.draw_seed IS DISTINCT FROM OLD.draw_seed
       OR OLD.draw_count IS NOT NULL AND NEW.draw_count IS DISTINCT FROM OLD.draw_count
       OR NEW.now_serving < OLD.now_serving THEN
        RAISE EXCEPTION 'a draw is never changed and a turn never goes back';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER rooms_keep_draw BEFORE UPDATE ON gate.rooms FOR EACH ROW EXECUTE FUNCTION gate.keep_draw();

-- Which machines give numbers now: alone, one takes many at once; beside others, few.
CREATE UNLOGGED TABLE gate.givers (
    machine uuid PRIMARY KEY,
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- Who holds which number, as far as accounts do: one person, one place in a lane.
CREATE TABLE gate.places (
    lane       text   NOT NULL,
    account_id uuid   NOT NULL,
    number     bigint NOT NULL CHECK (number > 0),
    issued_ms  bigint NOT NULL,
    PRIMARY KEY (lane, account_id),
    UNIQUE (lane, number)
);

-- What each web process counted since it started, written each second into its own row. The row of the dead is nobody's.
CREATE TABLE gate.counts (
    lane        text   NOT NULL,
    process     uuid   NOT NULL,
    given       bigint NOT NULL DEFAULT 0,
    last_number bigint NOT NULL DEFAULT 0,
    came        bigint NOT NULL DEFAULT 0,
    finishing   bigint NOT NULL DEFAULT 0,
    left_line   bigint NOT NULL DEFAULT 0,
    -- Of those who came: whose wait was promised, whose promise held, by how many seconds it was late (early: negative) in all.
    promised    bigint NOT NULL DEFAULT 0,
    kept        bigint NOT NULL DEFAULT 0,
    late_s      float8 NOT NULL DEFAULT 0,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (lane, process)
) WITH (fillfactor = 50);

-- Withdrawn tickets and passes: few, and read by every web process each second.
CREATE TABLE gate.revocations (
    lane       text  NOT NULL,
    subject    bytea NOT NULL CHECK (length(subject) = 12),
    reason     text  NOT NULL CHECK (length(reason) BETWEEN 1 AND 200),
    revoked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (lane, subject)
);

-- Who left and wants to be called. The address is deleted once the call was made or given up.
CREATE TABLE gate.calls (
    lane     text     NOT NULL,
    number   bigint   NOT NULL,
    email    text     CHECK (length(email) BETWEEN 6 AND 254),
    asked_at timestamptz NOT NULL DEFAULT now(),
    tries    smallint NOT NULL DEFAULT 0,
    again_at timestamptz NOT NULL DEFAULT '-infinity',
    state    text     NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'called', 'failed')),
    turn     bigint   NOT NULL CHECK (turn > 0),
    PRIMARY KEY (lane, number),
    CHECK ((state = 'waiting') = (email IS NOT NULL))
);
CREATE INDEX calls_waiting ON gate.calls (lane, turn) WHERE state = 'waiting';
