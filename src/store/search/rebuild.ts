/**
 * The version of the full-text index. The database records which function made its words. When this release's function
 * differs, all words are rebuilt, some runs at a time, while the relay works. Until a run is rebuilt, no search finds
 * it.
 */
import { indexedText } from "./search.ts";
import { WORDS_VERSION } from "./text-words.ts";
import type { BulkSql, IndexedWords } from "../bulk-sql.ts";
import { stateIn } from "../receipts/blocks.ts";

/**
 * Settings: the function that made the words, and during a rebuild the numbers of the runs still to come, `[first,
 * last]`.
 */
const VERSION = "words_version";
const PENDING = "words_pending";

/** Updates the words of runs. A run that waits for the rebuild has none in the index and gets its new ones then. */
export async function indexWords(rows: BulkSql, words: readonly IndexedWords[]): Promise<void> {
  if (words.length === 0) return;
  const pending = await pendingSeqs(rows);
  await rows.index(pending === null ? words : words.filter(({ seq }) => seq < pending.first || seq > pending.last));
}

/**
 * Rebuilds the words of the next `limit` runs, if another function made them. Returns how many runs it rebuilt; 0 when
 * all words are this release's.
 */
export async function rebuildWords(rows: BulkSql, limit: number): Promise<number> {
  const pending = await pendingSeqs(rows);
  if (pending === null) return 0;
  const { first, last } = pending;
  const due = await rows.query<{ seq: number; block: Uint8Array }>(
    `select r.seq, p.block from runs r join receipts p on p.id = r.state_receipt
      where r.seq >= ? and r.seq <= ? order by r.seq limit ?`,
    [first, last, limit],
  );
  await rows.index(due.map(({ seq, block }) => ({ seq, before: null, after: indexedText(stateIn(block).run) })));
  if (due.length < limit) await rows.query("delete from settings where name = ?", [PENDING]);
  else await save(rows, PENDING, JSON.stringify([(due.at(-1)?.seq ?? last) + 1, last]));
  return due.length;
}

/**
 * The numbers of the runs whose words are still to be rebuilt; null when all words are this release's. When another
 * release made them, the index is emptied first: this release does not know those words, and the index can only remove
 * what it is given.
 */
async function pendingSeqs(rows: BulkSql): Promise<{ first: number; last: number } | null> {
  const saved = await rows.find("settings", ["name", "value"], "name", [VERSION, PENDING]);
  const [version, pending] = [VERSION, PENDING].map((name) => saved.find((row) => row.name === name)?.value);
  if (version !== String(WORDS_VERSION)) return beginRebuild(rows);
  if (pending === undefined) return null;
  const [first = 0, last = 0] = JSON.parse(pending) as number[];
  return { first, last };
}

async function beginRebuild(rows: BulkSql): Promise<{ first: number; last: number } | null> {
  const [row] = await rows.query<{ last: number | null }>("select max(seq) as last from runs", []);
  if (rows.dialect === "sqlite") await rows.query("insert into run_words (run_words) values ('delete-all')", []);
  else await rows.query("delete from run_words", []);
  await save(rows, VERSION, String(WORDS_VERSION));
  await rows.query("delete from settings where name = ?", [PENDING]);
  if (!row?.last) return null;
  await save(rows, PENDING, JSON.stringify([1, row.last]));
  return { first: 1, last: row.last };
}

const save = (rows: BulkSql, name: string, value: string): Promise<void> =>
  rows.insert("settings", [{ name, value }], "on conflict (name) do update set value = excluded.value");
