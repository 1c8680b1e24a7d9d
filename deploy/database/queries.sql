-- Queries for dashboards (docs/database.md). They run in plain PostgreSQL and in TimescaleDB. In Grafana, put $__timeFilter(time)
-- in the place of `time >= now() - interval …`.

-- name: events per hour by box and kind
SELECT date_trunc('hour', time) AS time, device, camera, kind, count(*) AS events
FROM vedette.event
WHERE time >= now() - interval '24 hours'
GROUP BY 1, 2, 3, 4
ORDER BY 1, 2, 3, 4;

-- name: highest scores per day
-- Of the messages that open an event. A rising median means that good parts look less good, or that the camera has moved.
SELECT date_trunc('day', time) AS time, source, rule, count(*) AS events, max(top_score) AS highest,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY top_score) AS median
FROM vedette.event
WHERE kind = 'new' AND top_score IS NOT NULL AND time >= now() - interval '30 days'
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3;

-- name: events per thousand frames
-- The complement of the yield, if one frame is one part. Counters start at 0 with the daemon, so falls are left out.
WITH step AS (
    SELECT time, source, inferences - lag(inferences) OVER series AS frames, events - lag(events) OVER series AS events
    FROM vedette.stats
    WHERE time >= now() - interval '7 days'
    WINDOW series AS (PARTITION BY source ORDER BY time)
)
SELECT date_trunc('hour', time) AS time, source, sum(frames) AS frames, sum(events) AS events,
       round(1000.0 * sum(events) / nullif(sum(frames), 0), 2) AS per_thousand
FROM step
WHERE frames >= 0 AND events >= 0
GROUP BY 1, 2
ORDER BY 1, 2;

-- name: drift
-- The shares of good scores above and below where a tenth of them lay in the workshop, and the evidence (docs/status.md).
SELECT date_trunc('hour', time) AS time, source, avg(drift_above) AS above, avg(drift_below) AS below,
       max(drift_evidence) AS evidence
FROM vedette.stats
WHERE drift_evidence IS NOT NULL AND time >= now() - interval '7 days'
GROUP BY 1, 2
ORDER BY 1, 2;

-- name: silent boxes
-- A camera sends figures every minute. `heard` is empty if nothing but old retained messages came.
SELECT device, camera, availability, available_since, heard, now() - heard AS silent_for
FROM vedette.camera
WHERE availability IS DISTINCT FROM 'stopped' AND (heard IS NULL OR heard < now() - interval '5 minutes')
ORDER BY heard NULLS FIRST;

-- name: what runs where
SELECT device, camera, availability, info ->> 'model' AS model, info ->> 'backend' AS backend, info ->> 'runtime' AS runtime,
       state -> 'open' AS open, state -> 'faults' AS faults, stats ->> 'backlog' AS backlog
FROM vedette.camera
ORDER BY device, camera;

-- name: latency of delivery
-- From the frame to Telegraf, in seconds. Only events of a synchronized clock; events that waited for the broker are in it.
SELECT source, count(*) AS events,
       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM received - time)))::numeric, 3) AS median,
       round((percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM received - time)))::numeric, 3) AS p99,
       round(max(extract(epoch FROM received - time))::numeric, 3) AS longest
FROM vedette.event
WHERE timequality = 'synced' AND time >= now() - interval '24 hours'
GROUP BY source
ORDER BY source;

-- name: duplicates
-- Messages that came more than once. A few after a lost connection are usual, and so are all that a replay brings.
SELECT source, count(*) AS messages, sum(copies) AS copies, count(*) FILTER (WHERE copies > 1) AS repeated,
       max(copies) AS most
FROM vedette.delivery
WHERE last_received >= now() - interval '24 hours'
GROUP BY source
ORDER BY source;

-- name: missing events
-- Each row with the payload of cmd/replay that asks for it again. Ignore rows that are younger than a minute.
SELECT source, epoch, first, last, missing, seen,
       json_build_object('epoch', epoch, 'from', first, 'to', last) AS replay
FROM vedette.gap
ORDER BY seen DESC;

-- name: faults
SELECT time, device, camera, type, data
FROM vedette.event
WHERE type NOT LIKE '%.new' AND type NOT LIKE '%.update' AND type NOT LIKE '%.end' AND time >= now() - interval '7 days'
ORDER BY time DESC;

-- name: rejected messages
SELECT time, topic, reason, convert_from(decode(value, 'base64'), 'LATIN1') AS payload
FROM vedette.rejected
ORDER BY time DESC
LIMIT 100;
