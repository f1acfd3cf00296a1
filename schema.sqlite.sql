-- What SQLite needs beside schema.sql: the full-text index (FTS5, SQLite 3.43 or newer).

-- The number of a run in the order of arrival; what the index calls it.
ALTER TABLE runs ADD COLUMN doc INTEGER;
CREATE UNIQUE INDEX runs_doc ON runs (doc);

-- The words each run is found by and the values lists filter by (src/store/search.ts). It keeps no text: that is in
-- runs.state already.
CREATE VIRTUAL TABLE run_words USING fts5 (
  words, content = '', contentless_delete = 1, tokenize = "unicode61 remove_diacritics 2"
);

-- Which words there are, for terms that end in * (src/store/prefixes.ts). It holds nothing itself.
CREATE VIRTUAL TABLE run_vocabulary USING fts5vocab (run_words, instance);

-- The lowest and highest doc of the runs received in an hour (UTC): where in the index a time begins and ends.
CREATE TABLE doc_hours (
  hour              INTEGER PRIMARY KEY,                 -- its first millisecond
  first_doc         INTEGER NOT NULL,
  last_doc          INTEGER NOT NULL
);
