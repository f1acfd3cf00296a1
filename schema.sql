-- The end state of the relay's database. Runs as it is on SQLite (3.35 or newer) and PostgreSQL.
-- Times are epoch milliseconds, handed in by the relay. JSON is TEXT. Ids are TEXT and sort by time.
-- What stands behind `SQLite:` in a comment is for SQLite alone, as the relay runs it (src/store/schema.ts). WITHOUT ROWID: the table is its primary
-- key's index, where it would be a table and an index beside it that holds the key again.

-- One row a run: what lists filter by and show. Its settled state, one document, is in the table states of each database.
CREATE TABLE runs (
  run_id            TEXT   PRIMARY KEY,
  run_type          TEXT   NOT NULL,
  status            TEXT   NOT NULL,                     -- the settled outcome
  source            TEXT   NOT NULL,                     -- webhook | reconciled | backfill
  organization_id   TEXT,
  channel           TEXT,
  workflow          TEXT,                                -- permanent id, wpid_…
  title             TEXT,
  received_at       BIGINT NOT NULL,                     -- first receipt
  artifacts_status  TEXT   NOT NULL DEFAULT 'pending',   -- pending | complete | partial | unavailable
  follow_up_at      BIGINT,                              -- when Skyvern is to be asked what the webhook could not say
  follow_ups        BIGINT NOT NULL DEFAULT 0,           -- how often that failed
  brief             TEXT   NOT NULL,                     -- JSON, short: what lists show (src/store/brief.ts)
  state_bytes       BIGINT NOT NULL                      -- length of the state as JSON
);
CREATE INDEX runs_newest       ON runs (received_at, run_id);
CREATE INDEX runs_status       ON runs (status, received_at, run_id);
CREATE INDEX runs_type         ON runs (run_type, received_at, run_id);
CREATE INDEX runs_organization ON runs (organization_id, received_at, run_id) WHERE organization_id IS NOT NULL;
CREATE INDEX runs_follow_up    ON runs (follow_up_at) WHERE follow_up_at IS NOT NULL;
CREATE INDEX runs_channel      ON runs (channel, received_at, run_id) WHERE channel IS NOT NULL;

-- One row a distinct authenticated body. The same bytes again only count up.
CREATE TABLE receipts (
  id                TEXT   PRIMARY KEY,
  run_id            TEXT,                                -- null: genuine but not understood
  body_hash         TEXT   NOT NULL,                     -- sha256 of the bytes as received; the same bytes are of the same run
  body_bytes        BIGINT NOT NULL,                     -- length as received
  verdict           TEXT   NOT NULL,                     -- accepted | duplicate | updated | corrected | stored | kept
  note              TEXT,                                -- why, when the verdict alone does not say it
  routing           TEXT,                                -- JSON: what each route said, when sinks were chosen
  reported_status   TEXT,
  source            TEXT   NOT NULL,
  channel           TEXT,
  key_name          TEXT,                                -- name of the key that signed it
  sent_at           TEXT,                                -- x-skyvern-timestamp as it came: not signed, not trusted
  received_at       BIGINT NOT NULL,
  copies            BIGINT NOT NULL,                     -- how often these bytes came
  last_received_at  BIGINT NOT NULL
);
CREATE INDEX receipts_run  ON receipts (run_id, received_at);
CREATE INDEX receipts_kept ON receipts (received_at) WHERE run_id IS NULL;
-- Of all receipts it would have every webhook write into a page of its own, as hashes have no order.
CREATE UNIQUE INDEX receipts_kept_hash ON receipts (body_hash) WHERE run_id IS NULL;

-- The bytes, masked. Apart from the receipts so that those stay small. On SQLite those of a run at rest are packed elsewhere.
CREATE TABLE bodies (
  receipt_id        TEXT   PRIMARY KEY,
  body              BYTEA  NOT NULL
);

-- The outbox: one row for the duty to bring one revision of one run to one sink.
CREATE TABLE deliveries (
  id                TEXT   PRIMARY KEY,                  -- the idempotency key of every attempt
  run_id            TEXT   NOT NULL,
  revision          BIGINT NOT NULL,
  sink              TEXT   NOT NULL,
  kind              TEXT   NOT NULL,                     -- the sink's kind
  cause             TEXT   NOT NULL,                     -- result | update | correction | redelivery | test
  state             TEXT   NOT NULL,                     -- pending | sending | delivered | dead | canceled
  attempts          BIGINT NOT NULL,                     -- begun, counted at the claim
  throttled         BIGINT NOT NULL,                     -- attempts that were only told to slow down
  next_attempt_at   BIGINT,                              -- when due; while sending: when the lease runs out
  maybe_sent        BIGINT NOT NULL,                     -- 1: an earlier attempt may have arrived
  last_error        TEXT,
  created_at        BIGINT NOT NULL,
  delivered_at      BIGINT,
  receipt           TEXT,                                -- JSON: what the sink answered with
  run_received_at   BIGINT NOT NULL                      -- of its run: the order of lists of runs
) /* SQLite: WITHOUT ROWID */;
CREATE INDEX deliveries_due    ON deliveries (sink, next_attempt_at) WHERE state IN ('pending', 'sending');
CREATE INDEX deliveries_queue  ON deliveries (sink, id) WHERE state IN ('pending', 'sending');
CREATE INDEX deliveries_run    ON deliveries (run_id, sink, id);
CREATE INDEX deliveries_newest ON deliveries (created_at, id);
CREATE INDEX deliveries_sink   ON deliveries (sink, state, created_at, id);
-- Runs that could not be told of, in the order of their list, however many there are. A delivery that arrives never enters it.
CREATE INDEX deliveries_dead   ON deliveries (sink, run_received_at, run_id) WHERE state = 'dead';

-- Every attempt whose end was seen. One that is counted in deliveries.attempts but missing here died with its process.
CREATE TABLE attempts (
  delivery_id       TEXT   NOT NULL,
  n                 BIGINT NOT NULL,
  started_at        BIGINT NOT NULL,
  finished_at       BIGINT NOT NULL,
  outcome           TEXT   NOT NULL,                     -- delivered | retry | dead
  reason            TEXT,
  PRIMARY KEY (delivery_id, n)
) /* SQLite: WITHOUT ROWID */;

-- One row a sink that was ever attempted: its circuit breaker.
CREATE TABLE circuits (
  sink              TEXT   PRIMARY KEY,
  state             TEXT   NOT NULL,                     -- closed | open | stopped
  failures          BIGINT NOT NULL,                     -- in a row
  openings          BIGINT NOT NULL,                     -- since the last success
  until             BIGINT,                              -- open: when a probe is due
  reason            TEXT,
  last_success_at   BIGINT,
  last_failure_at   BIGINT
);

-- What Skyvern's API lists for a run. Ids only: its URLs die within hours.
CREATE TABLE artifacts (
  run_id            TEXT   NOT NULL,
  position          BIGINT NOT NULL,
  artifact_id       TEXT   NOT NULL,
  type              TEXT   NOT NULL,
  created_at        BIGINT,
  PRIMARY KEY (run_id, position)
) /* SQLite: WITHOUT ROWID */;

-- Final runs seen in Skyvern's own list, to tell whether all of them were relayed.
CREATE TABLE sightings (
  run_id            TEXT   PRIMARY KEY,
  created_at        BIGINT NOT NULL,                     -- at Skyvern
  seen_at           BIGINT NOT NULL,                     -- first
  mine              BIGINT NOT NULL,                     -- 1: its webhook_url is this relay's
  settled           BIGINT NOT NULL DEFAULT 0,           -- 1: known here as final; noted when runs are next seen
  dead              BIGINT NOT NULL DEFAULT 0            -- 1: a delivery of it is dead, and no later one to that sink arrived
);
CREATE INDEX sightings_mine    ON sightings (created_at, dead) WHERE mine = 1;
CREATE INDEX sightings_others  ON sightings (created_at) WHERE mine = 0;
CREATE INDEX sightings_open    ON sightings (run_id) WHERE mine = 1 AND settled = 0;

-- Roll-ups, kept in the transactions that change what they count, so that no chart and no scrape of the metrics counts
-- rows. Retention leaves those that count by time (run_counts, delivery_times): they name no run, and the past stays to be
-- seen in the statistics. It takes off what counts rows that are there, delivery_counts and sighting_counts.

-- Runs by the hour and by the day (UTC) of their first receipt, and by settled status.
CREATE TABLE run_counts (
  grain             TEXT   NOT NULL,                     -- hour | day
  start             BIGINT NOT NULL,                     -- its first millisecond
  status            TEXT   NOT NULL,
  count             BIGINT NOT NULL,
  PRIMARY KEY (grain, start, status)
) /* SQLite: WITHOUT ROWID */;

-- Deliveries by sink: all ever made, and those that have come to an end. What is left waits.
CREATE TABLE delivery_counts (
  sink              TEXT   NOT NULL,
  state             TEXT   NOT NULL,                     -- made | delivered | dead | canceled; test: made by a test, not counted else
  count             BIGINT NOT NULL,
  PRIMARY KEY (sink, state)
) /* SQLite: WITHOUT ROWID */;

-- How long deliveries took from the outbox to their sink, by the time they arrived: a histogram (src/store/latency.ts).
CREATE TABLE delivery_times (
  grain             TEXT   NOT NULL,                     -- hour | day
  start             BIGINT NOT NULL,
  sink              TEXT   NOT NULL,
  bucket            BIGINT NOT NULL,
  count             BIGINT NOT NULL,
  PRIMARY KEY (grain, start, sink, bucket)
) /* SQLite: WITHOUT ROWID */;

-- Sightings that are mine, by day (UTC) of creation at Skyvern.
CREATE TABLE sighting_counts (
  day               BIGINT PRIMARY KEY,                  -- its first millisecond
  count             BIGINT NOT NULL,
  dead              BIGINT NOT NULL DEFAULT 0            -- of them
);

-- What changed, for the event stream: the last some ten thousand. Ids count up in the order of commits.
CREATE TABLE events (
  id                BIGINT PRIMARY KEY,
  kind              TEXT   NOT NULL,                     -- run | delivery
  run_id            TEXT   NOT NULL,
  delivery          TEXT,                                -- its id
  told              TEXT                                 -- JSON: what of the delivery may have changed since (src/store/events.ts)
) /* SQLite: WITHOUT ROWID */;

-- Runs whose artifacts are still to be copied into the archive.
CREATE TABLE archiving (
  run_id            TEXT   PRIMARY KEY,
  due_at            BIGINT NOT NULL,
  failures          BIGINT NOT NULL                      -- how often that failed
);
CREATE INDEX archiving_due ON archiving (due_at);

-- What the archive holds, by artifact. Equal bytes are kept once, under their sha256.
CREATE TABLE copies (
  run_id            TEXT   NOT NULL,
  artifact          TEXT   NOT NULL,                     -- its id, or its place: recording, screenshot-1
  sha256            TEXT   NOT NULL,                     -- hex
  type              TEXT,                                -- of a picture or film by its first bytes
  bytes             BIGINT NOT NULL,
  copied_at         BIGINT NOT NULL,
  PRIMARY KEY (run_id, artifact)
) /* SQLite: WITHOUT ROWID */;
CREATE INDEX copies_sha256 ON copies (sha256, bytes);

-- Bytes that no copy needs any more, until they are removed.
CREATE TABLE discarded (
  sha256            TEXT   PRIMARY KEY,
  due_at            BIGINT NOT NULL
);

-- Few and small: the schema's version, the key that signs links.
CREATE TABLE settings (
  name              TEXT   PRIMARY KEY,
  value             TEXT   NOT NULL
);
