-- What SQLite needs beside schema.sql: states, plain and packed, and the full-text index (FTS5, SQLite 3.43 or newer).

-- The number of a run in the order of arrival; what the index calls it.
ALTER TABLE runs ADD COLUMN doc INTEGER;
CREATE UNIQUE INDEX runs_doc ON runs (doc);

-- The settled state of runs that came or changed lately: RunState as JSON.
CREATE TABLE states (
  doc               INTEGER PRIMARY KEY,                 -- runs.doc
  state             TEXT    NOT NULL
);

-- The states and bodies of runs at rest, packed (src/store/packing.ts): a third of the bytes, or less. Tables of their own, to
-- which rows are only added at the end: an update in place would leave their pages nearly empty.
CREATE TABLE packed_states (
  doc               INTEGER PRIMARY KEY,
  state             BLOB    NOT NULL
);
CREATE TABLE packed_bodies (
  receipt_id        TEXT    PRIMARY KEY,
  body              BLOB    NOT NULL
) WITHOUT ROWID;

-- The words each run is found by and the values lists filter by (src/store/search.ts). It keeps no text: that is in
-- the states already.
CREATE VIRTUAL TABLE run_words USING fts5 (
  words, content = '', contentless_delete = 1, tokenize = "unicode61 remove_diacritics 2"
);

-- Runs whose words are not in it yet, or not as they are now. They are put there soon after, many in one transaction.
CREATE TABLE unindexed (
  doc               INTEGER PRIMARY KEY
);

-- Which words there are, for terms that end in * (src/store/prefixes.ts). It holds nothing itself.
CREATE VIRTUAL TABLE run_vocabulary USING fts5vocab (run_words, instance);

-- The lowest and highest doc of the runs received in an hour (UTC): where in the index a time begins and ends.
CREATE TABLE doc_hours (
  hour              INTEGER PRIMARY KEY,                 -- its first millisecond
  first_doc         INTEGER NOT NULL,
  last_doc          INTEGER NOT NULL
);
