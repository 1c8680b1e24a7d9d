-- Tables of the events in PostgreSQL 14 or later (docs/database.md). Run it as the owner of the database, once or again:
--   sudo -u postgres psql --dbname vedette --set ON_ERROR_STOP=1 --file schema.sql
-- Telegraf copies messages into vedette.inbox. A trigger sorts them into the other tables and leaves the inbox empty.

BEGIN;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'telegraf') THEN
        CREATE ROLE telegraf LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'grafana') THEN
        CREATE ROLE grafana LOGIN;
    END IF;
END
$$;

CREATE SCHEMA IF NOT EXISTS vedette;

-- What Telegraf writes: `time` is when it received the message, `value` the payload in Base64.
CREATE TABLE IF NOT EXISTS vedette.inbox (
    time timestamptz,
    topic text,
    value text
);
COMMENT ON COLUMN vedette.inbox.topic IS 'tag';

CREATE TABLE IF NOT EXISTS vedette.event (
    time timestamptz NOT NULL,      -- when the frame was taken
    received timestamptz NOT NULL,  -- when Telegraf had the first copy
    source text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    site text NOT NULL,
    area text NOT NULL,
    line text NOT NULL,
    device text NOT NULL,
    camera text NOT NULL,
    rule text NOT NULL,
    kind text NOT NULL,             -- new, update, end; of events about the device: the end of their type
    epoch text,
    sequence bigint,
    timequality text,
    modelid text,
    event text,                     -- the id of the `new` message that opened this event
    started timestamptz,
    top_score double precision,
    label text,                     -- of the prediction with the highest score
    data jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS event_time ON vedette.event (time DESC);
CREATE INDEX IF NOT EXISTS event_source_time ON vedette.event (source, time DESC);
CREATE INDEX IF NOT EXISTS event_sequence ON vedette.event (source, epoch, sequence);

-- Each message once, however often it came. It is what makes vedette.event free of duplicates, so it is not part of it:
-- a unique index of a hypertable must contain its time, and the time of a message may be corrected between two copies.
CREATE TABLE IF NOT EXISTS vedette.delivery (
    source text NOT NULL,
    id text NOT NULL,
    first_received timestamptz NOT NULL,
    last_received timestamptz NOT NULL,
    copies integer NOT NULL DEFAULT 1,
    PRIMARY KEY (source, id)
);
CREATE INDEX IF NOT EXISTS delivery_received ON vedette.delivery (last_received);

-- The newest retained messages of each camera.
CREATE TABLE IF NOT EXISTS vedette.camera (
    source text PRIMARY KEY,
    site text NOT NULL,
    area text NOT NULL,
    line text NOT NULL,
    device text NOT NULL,
    camera text NOT NULL,
    heard timestamptz,              -- the last event or changed figures; a repeated retained message does not count
    availability text,
    available_since timestamptz,    -- since when availability is what it is
    info jsonb,
    state jsonb,
    stats jsonb
);

-- Figures over time: one row a minute and camera.
CREATE TABLE IF NOT EXISTS vedette.stats (
    time timestamptz NOT NULL,      -- when Telegraf received them
    source text NOT NULL,
    model text,
    uptime_seconds double precision,
    frames bigint,
    inferences bigint,
    events bigint,
    frames_per_second double precision,
    latency_p50_ms double precision,
    latency_p95_ms double precision,
    backlog bigint,
    dead bigint,
    memory_mb double precision,
    temperature double precision,
    drift_above double precision,
    drift_below double precision,
    drift_evidence double precision
);
CREATE INDEX IF NOT EXISTS stats_source_time ON vedette.stats (source, time DESC);

-- Messages that are not what docs/events.md says. Nothing of them is lost, and they hold up no other.
CREATE TABLE IF NOT EXISTS vedette.rejected (
    time timestamptz NOT NULL,
    topic text,
    value text,
    reason text NOT NULL
);
CREATE INDEX IF NOT EXISTS rejected_time ON vedette.rejected (time);

-- Sorts one message; raises a data exception for what it does not understand.
CREATE OR REPLACE FUNCTION vedette.take(topic text, payload bytea, received timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    level text[] := regexp_match(
        topic, '^.+/v1/([^/]+)/([^/]+)/([^/]+)/([^/]+)/(evt|availability|info|state|stats)/([^/]+)(?:/([^/]+))?$');
    origin text;
    content text := convert_from(payload, 'UTF8');
    message jsonb;
    happened timestamptz;
    best jsonb;
    is_new boolean;
BEGIN
    IF level IS NULL THEN
        RAISE data_exception USING MESSAGE = 'not a topic of a device';
    END IF;
    origin := '/' || concat_ws('/', level[1], level[2], level[3], level[4], level[6]);
    IF level[5] = 'availability' THEN
        IF content NOT IN ('online', 'stopped', 'offline') THEN
            RAISE data_exception USING MESSAGE = 'availability is online, stopped or offline';
        END IF;
        INSERT INTO vedette.camera AS c (source, site, area, line, device, camera, availability, available_since)
        VALUES (origin, level[1], level[2], level[3], level[4], level[6], content, received)
        ON CONFLICT (source) DO UPDATE
        SET availability = excluded.availability, available_since = excluded.available_since
        WHERE c.availability IS DISTINCT FROM excluded.availability;
        RETURN;
    END IF;

    message := content::jsonb;
    IF jsonb_typeof(message) <> 'object' THEN
        RAISE data_exception USING MESSAGE = 'not a JSON object';
    END IF;
    INSERT INTO vedette.camera (source, site, area, line, device, camera)
    VALUES (origin, level[1], level[2], level[3], level[4], level[6])
    ON CONFLICT (source) DO NOTHING;
    IF level[5] = 'info' THEN
        UPDATE vedette.camera AS c SET info = message WHERE c.source = origin AND c.info IS DISTINCT FROM message;
    ELSIF level[5] = 'state' THEN
        UPDATE vedette.camera AS c SET state = message WHERE c.source = origin AND c.state IS DISTINCT FROM message;
    ELSIF level[5] = 'stats' THEN
        UPDATE vedette.camera AS c SET stats = message, heard = received
        WHERE c.source = origin AND c.stats IS DISTINCT FROM message;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        INSERT INTO vedette.stats VALUES (
            received, origin, message ->> 'model', (message ->> 'uptime_seconds')::float8, (message ->> 'frames')::bigint,
            (message ->> 'inferences')::bigint, (message ->> 'events')::bigint, (message ->> 'frames_per_second')::float8,
            (message #>> '{latency_ms,p50}')::float8, (message #>> '{latency_ms,p95}')::float8,
            (message ->> 'backlog')::bigint, (message ->> 'dead')::bigint, (message ->> 'memory_mb')::float8,
            (message ->> 'temperature')::float8, (message #>> '{drift,share_above}')::float8,
            (message #>> '{drift,share_below}')::float8, (message #>> '{drift,evidence}')::float8);
    ELSE
        IF message ->> 'specversion' IS DISTINCT FROM '1.0' THEN
            RAISE data_exception USING MESSAGE = 'not an event of CloudEvents 1.0';
        ELSIF message ->> 'source' IS DISTINCT FROM origin THEN  -- the broker checked the topic, and nobody the payload
            RAISE data_exception USING MESSAGE = 'the event names another source than its topic';
        ELSIF coalesce(length(message ->> 'id'), 0) NOT BETWEEN 1 AND 200 THEN
            RAISE data_exception USING MESSAGE = 'the event has no usable id';
        ELSIF level[7] IS NULL THEN
            RAISE data_exception USING MESSAGE = 'the topic names no rule';
        END IF;
        happened := (message ->> 'time')::timestamptz;
        IF happened IS NULL OR NOT happened BETWEEN '2000-01-01Z' AND received + interval '1 year' THEN
            RAISE data_exception USING MESSAGE = 'the event has no usable time';
        END IF;
        INSERT INTO vedette.delivery AS d (source, id, first_received, last_received)
        VALUES (origin, message ->> 'id', received, received)
        ON CONFLICT (source, id) DO UPDATE
        SET copies = d.copies + 1, last_received = greatest(d.last_received, excluded.last_received)
        RETURNING d.copies = 1 INTO is_new;
        IF NOT is_new THEN
            RETURN;
        END IF;
        IF jsonb_typeof(message #> '{data,predictions}') = 'array' THEN
            SELECT p INTO best FROM jsonb_array_elements(message #> '{data,predictions}') AS p
            ORDER BY (p ->> 'score')::float8 DESC NULLS LAST LIMIT 1;
        END IF;
        INSERT INTO vedette.event VALUES (
            happened, received, origin, message ->> 'id', coalesce(message ->> 'type', ''),
            level[1], level[2], level[3], level[4], level[6], level[7],
            coalesce(message #>> '{data,kind}', substring(message ->> 'type' FROM '[^.]*$'), ''),
            message ->> 'epoch', (message ->> 'sequence')::bigint, message ->> 'timequality', message ->> 'modelid',
            message #>> '{data,event}', (message #>> '{data,started}')::timestamptz,
            (message #>> '{data,top_score}')::float8, best ->> 'label', coalesce(message -> 'data', '{}'));
        UPDATE vedette.camera AS c SET heard = greatest(c.heard, received) WHERE c.source = origin;
    END IF;
END
$$;

-- A message that cannot be sorted becomes a row of vedette.rejected. Other failures (disk full, a deadlock) are passed on,
-- so that Telegraf tries the batch again.
CREATE OR REPLACE FUNCTION vedette.sort_message() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    received timestamptz := coalesce(new.time, now());
BEGIN
    BEGIN
        PERFORM vedette.take(new.topic, decode(new.value, 'base64'), received);
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
        INSERT INTO vedette.rejected VALUES (received, left(new.topic, 1000), left(new.value, 350000), sqlerrm);
    END;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER sort_message BEFORE INSERT ON vedette.inbox
    FOR EACH ROW EXECUTE FUNCTION vedette.sort_message();

-- Numbers that are missing between two events of one outbox, without those that a tombstone tells. Events may still be on
-- their way, so look again after a minute; then ask the device for them: cmd/replay (docs/delivery.md).
CREATE OR REPLACE VIEW vedette.gap AS
WITH numbered AS (
    SELECT source, epoch, sequence, time, received,
           lag(sequence) OVER (PARTITION BY source, epoch ORDER BY sequence) AS before
    FROM vedette.event
    WHERE epoch IS NOT NULL AND sequence IS NOT NULL
), tombstone AS (
    SELECT source, epoch, (data ->> 'first')::bigint AS first, (data ->> 'last')::bigint AS last
    FROM vedette.event
    WHERE type = 'vedette.outbox.evicted'
)
SELECT n.source, n.epoch, min(missing) AS first, max(missing) AS last, count(*) AS missing, n.received AS seen
FROM numbered AS n, generate_series(n.before + 1, least(n.sequence - 1, n.before + 100000)) AS missing
WHERE n.sequence > n.before + 1
  AND NOT EXISTS (
      SELECT FROM tombstone AS t
      WHERE t.source = n.source AND t.epoch = n.epoch AND missing BETWEEN t.first AND t.last)
GROUP BY n.source, n.epoch, n.sequence, n.received;

-- Deletes what was received before. A replay of forgotten events brings them back.
CREATE OR REPLACE FUNCTION vedette.forget(before timestamptz) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deleted bigint;
BEGIN
    DELETE FROM vedette.event WHERE received < before;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    DELETE FROM vedette.delivery WHERE last_received < before;
    DELETE FROM vedette.stats WHERE time < before;
    DELETE FROM vedette.rejected WHERE time < before;
    RETURN deleted;
END
$$;

REVOKE ALL ON FUNCTION vedette.take, vedette.sort_message, vedette.forget FROM PUBLIC;
GRANT USAGE ON SCHEMA vedette TO telegraf, grafana;
GRANT SELECT, INSERT ON vedette.inbox TO telegraf;
GRANT SELECT ON vedette.event, vedette.delivery, vedette.camera, vedette.stats, vedette.rejected, vedette.gap TO grafana;

COMMIT;
