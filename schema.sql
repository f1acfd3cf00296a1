-- The end state of the relay's database. Runs as it is on SQLite (3.42 or newer) and PostgreSQL.
-- Times are epoch milliseconds, handed in by the relay. JSON is TEXT. Ids are TEXT and sort by time.
-- What stands behind `SQLite:` in a comment is for SQLite alone, as the relay runs it (src/store/schema/schema.ts).
-- WITHOUT ROWID: the table is its primary key's index, where it would be a table and an index beside it that holds the
-- key again. A run that is accepted and delivered to one sink writes four rows: runs, receipts, deliveries, run_words.
-- Beside an index stands the question it answers.

-- One row a run: what lists filter by and show. Its settled state is in the block of the receipt that it names.
CREATE TABLE runs (
  seq               INTEGER PRIMARY KEY,                 -- its number in the order of arrival; what the full-text index calls it
  run_id            TEXT   NOT NULL UNIQUE,
  run_type          TEXT   NOT NULL,
  status            TEXT   NOT NULL,                     -- the settled outcome
  source            TEXT   NOT NULL,                     -- webhook | reconciled | backfill
  organization_id   TEXT,
  channel           TEXT,
  workflow          TEXT,                                -- permanent id, wpid_…
  title             TEXT,
  received_at       BIGINT NOT NULL,                     -- first receipt
  list_item         TEXT   NOT NULL,                     -- JSON, short: what else lists show (src/store/history/list-items.ts)
  state_receipt     TEXT   NOT NULL,                     -- the receipt whose block holds the settled state
  state_bytes       BIGINT NOT NULL,                     -- length of the state as JSON
  artifacts_status  TEXT   NOT NULL DEFAULT 'pending',   -- pending | complete | partial | unavailable
  artifacts         TEXT,                                -- JSON: artifacts (ids, as their URLs die within hours) and blocks that Skyvern's API told of
  follow_up_at      BIGINT,                              -- when Skyvern is to be asked what the webhook could not say
  follow_ups        BIGINT NOT NULL DEFAULT 0            -- how often that failed
);
CREATE INDEX runs_newest       ON runs (received_at, run_id);                               -- the list of runs, and what retention removes
CREATE INDEX runs_follow_up    ON runs (follow_up_at) WHERE follow_up_at IS NOT NULL;       -- what is to be asked again now

-- One row a distinct authenticated body. The same bytes again only count up.
CREATE TABLE receipts (
  id                TEXT   PRIMARY KEY,
  run_id            TEXT,                                -- null: unrecognized
  body_hash         TEXT   NOT NULL,                     -- sha256 of the body as masked
  body_bytes        BIGINT NOT NULL,                     -- its length
  verdict           TEXT   NOT NULL,                     -- accepted | duplicate | updated | corrected | stored | disputed | unrecognized
  note              TEXT,                                -- why, when the verdict alone does not say it
  routing           TEXT,                                -- JSON: what each route said, when sinks were chosen
  reported_status   TEXT,
  source            TEXT   NOT NULL,
  channel           TEXT,
  labels            TEXT,                                -- JSON: what its address named of receive.labels, for when it is read again
  key_name          TEXT,                                -- name of the key that signed it
  sent_at           TEXT,                                -- x-skyvern-timestamp as it came: not signed, not trusted
  received_at       BIGINT NOT NULL,
  copies            BIGINT NOT NULL,                     -- how often these bytes came
  last_received_at  BIGINT NOT NULL,
  block             BYTEA                                -- the state its run came to and the masked body, compressed together (src/store/receipts/blocks.ts)
);
CREATE INDEX receipts_run      ON receipts (run_id) WHERE run_id IS NOT NULL;               -- the receipts of a run
CREATE INDEX receipts_unrecognized     ON receipts (received_at) WHERE run_id IS NULL;              -- unrecognized receipts, by age
CREATE UNIQUE INDEX receipts_unrecognized_hash ON receipts (body_hash, key_name) WHERE run_id IS NULL;   -- whether the same bytes of the same key were unrecognized before

-- The outbox: one row for the duty to bring one revision of one subject (a run, or one attempt of it) to one sink.
CREATE TABLE deliveries (
  id                TEXT   PRIMARY KEY,                  -- the idempotency key of every attempt
  subject_kind      TEXT   NOT NULL,                     -- run | attempt: a run attempt that failed with another one to come
  subject_id        TEXT   NOT NULL,                     -- the run's id
  revision          BIGINT NOT NULL,                     -- of an attempt its number
  sink              TEXT   NOT NULL,
  kind              TEXT   NOT NULL,                     -- the sink's kind
  cause             TEXT   NOT NULL,                     -- result | update | correction | redelivery | test
  state             TEXT   NOT NULL,                     -- pending | sending | delivered | dead | canceled
  attempts          BIGINT NOT NULL,                     -- begun, counted at the claim
  ended             BIGINT NOT NULL,                     -- attempts whose end was seen; the others died with their process
  throttled         BIGINT NOT NULL,                     -- attempts that were only told to slow down
  next_attempt_at   BIGINT,                              -- when due; while sending: when the lease runs out
  maybe_sent        BIGINT NOT NULL,                     -- 1: an earlier attempt may have arrived
  last_error        TEXT,
  created_at        BIGINT NOT NULL,
  delivered_at      BIGINT,
  receipt           TEXT,                                -- JSON: what the sink answered with
  log               TEXT,                                -- JSON: the attempts whose end was seen (src/store/outbox/outbox.ts)
  subject_at        BIGINT NOT NULL                      -- when its run was received: the order of lists of runs
) /* SQLite: WITHOUT ROWID */;
CREATE INDEX deliveries_due    ON deliveries (sink, next_attempt_at) WHERE state IN ('pending', 'sending');   -- what is due for a sink
CREATE INDEX deliveries_queue  ON deliveries (sink, id) WHERE state IN ('pending', 'sending');                -- the same of an ordered sink, and the oldest that waits
CREATE INDEX deliveries_run    ON deliveries (subject_id, sink, id);                                          -- who was told of a run
CREATE INDEX deliveries_newest ON deliveries (created_at, id);                                                -- the list of deliveries
CREATE INDEX deliveries_ended  ON deliveries (sink, state, created_at, id) WHERE state IN ('delivered', 'dead', 'canceled');   -- the same by sink and state
-- Runs that could not be told of, in the order of their list, however many there are. A delivery that arrives never
-- enters it.
CREATE INDEX deliveries_dead   ON deliveries (sink, subject_at, subject_id) WHERE state = 'dead';

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

-- Final runs seen in Skyvern's own list, to tell whether all of them were relayed.
CREATE TABLE listed_runs (
  run_id            TEXT   PRIMARY KEY,
  created_at        BIGINT NOT NULL,                     -- at Skyvern
  seen_at           BIGINT NOT NULL,                     -- first
  targets_this_relay BIGINT NOT NULL,                     -- 1: its webhook_url is this relay's
  settled           BIGINT NOT NULL DEFAULT 0,           -- 1: known here as final; noted when runs are next seen
  dead              BIGINT NOT NULL DEFAULT 0            -- 1: a delivery of it is dead, and no later one to that sink arrived
);
CREATE INDEX listed_runs_ours   ON listed_runs (created_at, dead) WHERE targets_this_relay = 1;              -- coverage of a span, and retention
CREATE INDEX listed_runs_others ON listed_runs (created_at) WHERE targets_this_relay = 0;                    -- retention
CREATE INDEX listed_runs_open   ON listed_runs (run_id) WHERE targets_this_relay = 1 AND settled = 0;        -- which may lack a result

-- Roll-ups, added up once a commit in the transactions that change what they count, so that no chart and no scrape of
-- the metrics counts rows. Retention leaves those that count by time (run_counts, delivery_times): they name no run,
-- and the past stays to be seen in the statistics. It takes off what counts rows that are there, delivery_counts and
-- listed_run_counts.

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

-- How long deliveries took from the outbox to their sink, by the time they arrived: a histogram
-- (src/store/stats/latency-buckets.ts).
CREATE TABLE delivery_times (
  grain             TEXT   NOT NULL,                     -- hour | day
  start             BIGINT NOT NULL,
  sink              TEXT   NOT NULL,
  bucket            BIGINT NOT NULL,
  count             BIGINT NOT NULL,
  PRIMARY KEY (grain, start, sink, bucket)
) /* SQLite: WITHOUT ROWID */;

-- Listed runs that are this relay's, by day (UTC) of creation at Skyvern.
CREATE TABLE listed_run_counts (
  day               BIGINT PRIMARY KEY,                  -- its first millisecond
  count             BIGINT NOT NULL,
  dead              BIGINT NOT NULL DEFAULT 0            -- of them
);

-- The lowest and highest number of the runs received in an hour (UTC): where in the full-text index a time begins and
-- ends.
CREATE TABLE run_hours (
  hour              BIGINT PRIMARY KEY,                  -- its first millisecond
  first_seq         BIGINT NOT NULL,
  last_seq          BIGINT NOT NULL
);

-- Runs whose artifacts are still to be copied into the archive.
CREATE TABLE archiving (
  run_id            TEXT   PRIMARY KEY,
  due_at            BIGINT NOT NULL,
  failures          BIGINT NOT NULL                      -- how often that failed
);
CREATE INDEX archiving_due ON archiving (due_at);                                           -- what is to be copied now

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
CREATE INDEX copies_sha256 ON copies (sha256, bytes);                                       -- whether another copy needs these bytes

-- Bytes that no copy needs any more, until they are removed.
CREATE TABLE discarded (
  sha256            TEXT   PRIMARY KEY,
  due_at            BIGINT NOT NULL
);

-- Few and small: the schema's version, the key that signs links, the addresses that workflows had before `register`.
CREATE TABLE settings (
  name              TEXT   PRIMARY KEY,
  value             TEXT   NOT NULL
);
