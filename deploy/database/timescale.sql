-- With the extension TimescaleDB, after schema.sql: hypertables, compression, retention, and a table of counts that keeps
-- itself up to date. Leave it out, and everything works in plain PostgreSQL.
--   sudo -u postgres psql --dbname vedette --set ON_ERROR_STOP=1 --file timescale.sql

CREATE EXTENSION IF NOT EXISTS timescaledb;

SELECT create_hypertable('vedette.event', 'time', chunk_time_interval => INTERVAL '7 days', if_not_exists => TRUE, migrate_data => TRUE);
SELECT create_hypertable('vedette.stats', 'time', chunk_time_interval => INTERVAL '7 days', if_not_exists => TRUE, migrate_data => TRUE);

ALTER TABLE vedette.event SET (timescaledb.compress, timescaledb.compress_segmentby = 'source', timescaledb.compress_orderby = 'time DESC');
ALTER TABLE vedette.stats SET (timescaledb.compress, timescaledb.compress_segmentby = 'source', timescaledb.compress_orderby = 'time DESC');
SELECT add_compression_policy('vedette.event', INTERVAL '30 days', if_not_exists => TRUE);
SELECT add_compression_policy('vedette.stats', INTERVAL '30 days', if_not_exists => TRUE);
SELECT add_retention_policy('vedette.stats', INTERVAL '1 year', if_not_exists => TRUE);

-- Events of devices that were offline arrive late, so the last month is looked at again.
CREATE MATERIALIZED VIEW IF NOT EXISTS vedette.hourly WITH (timescaledb.continuous) AS
SELECT time_bucket(INTERVAL '1 hour', time) AS hour, source, rule, kind, count(*) AS events, max(top_score) AS top_score
FROM vedette.event
GROUP BY 1, 2, 3, 4
WITH NO DATA;
SELECT add_continuous_aggregate_policy('vedette.hourly', start_offset => INTERVAL '30 days', end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '30 minutes', if_not_exists => TRUE);
GRANT SELECT ON vedette.hourly TO grafana;
