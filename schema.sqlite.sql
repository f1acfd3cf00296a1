-- What SQLite needs beside schema.sql: the full-text index (FTS5, SQLite 3.42 or newer).

-- The words each run is found by and the values lists filter by (src/store/search/search.ts), by runs.seq. It keeps no
-- text: what is taken out is named by its old words, which are made anew from the state.
CREATE VIRTUAL TABLE run_words USING fts5 (words, content = '', columnsize = 0, tokenize = "unicode61 remove_diacritics 2");
-- What is taken out leaves the file, instead of being marked as gone.
INSERT INTO run_words (run_words, rank) VALUES ('secure-delete', 1);
-- Its segments are merged 16 at a time, where 4 is usual: that writes an eighth less a run.
INSERT INTO run_words (run_words, rank) VALUES ('automerge', 16);

-- Which words there are, for terms that end in * (src/store/search/prefixes.ts). It holds nothing itself.
CREATE VIRTUAL TABLE run_vocabulary USING fts5vocab (run_words, instance);
