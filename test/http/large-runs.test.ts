/** Runs as large as a webhook may be: what lists them has only a few in memory. */
import { join } from "node:path";
import { expect, it } from "vitest";
import { openSqlite } from "../../src/store/database.ts";
import { migrate } from "../../src/store/schema/migrate.ts";
import { PAGE_BYTES } from "../../src/store/history/page-size.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import { anArrival, aRun } from "../support/a-run.ts";
import { aFolder, TOKEN } from "../support/app.ts";
import { serve, type RelayProcess } from "../support/process.ts";

const COUNT = 12;
const BYTES = 9_000_000;
/**
 * 100 MB of runs, three times as much once they are read and written; the process may have 140 MB of objects and texts.
 */
const HEAP = "--max-old-space-size=140";

const idOf = (n: number): string => `tsk_${String(n).padStart(2, "0")}`;
const newestFirst = Array.from({ length: COUNT }, (_none, i) => idOf(COUNT - 1 - i));

/** Many small values: they take more memory than one long text. */
const output = Array.from({ length: BYTES / 90 }, (_none, n) => ({ n, text: "x".repeat(64) }));

/** Recent, as old runs are removed. */
const START = Date.now() - 3_600_000;

async function aLargeDatabase(): Promise<string> {
  const path = join(aFolder(), "relay.db");
  const database = openSqlite(path, { exclusive: true });
  await migrate(database);
  const store = createSqlStore(database);
  for (let n = 0; n < COUNT; n += 1)
    await store.accept([
      anArrival(aRun({ run_id: idOf(n), received_at: START + n, output: n % 8 === 7 ? null : output })),
    ]);
  await store.close();
  return path;
}

const get = (relay: RelayProcess, path: string) =>
  fetch(`${relay.url}${path}`, { headers: { authorization: `Bearer ${TOKEN}` } });

/** The id that a stream which begins now goes on after. */
async function beginOfEvents(relay: RelayProcess): Promise<string> {
  const stream = await get(relay, "/v1/events");
  let text = "";
  for await (const chunk of stream.body ?? []) {
    text += new TextDecoder().decode(chunk as Uint8Array);
    const [, id] = /^id: (\S+)\n/m.exec(text) ?? [];
    if (id !== undefined) return id;
  }
  throw new Error("the stream ended");
}

it("pages, exports and events of runs of 9 MB each fit into a small memory, and miss none of the runs", async () => {
  const relay = await serve({ DATABASE_URL: `sqlite:${await aLargeDatabase()}`, NODE_OPTIONS: HEAP });

  const listed: string[] = [];
  let pages = 0;
  for (let cursor: string | null = ""; cursor !== null;) {
    const answer = await get(relay, `/v1/runs?limit=200${cursor === "" ? "" : `&cursor=${cursor}`}`);
    const text = await answer.text();
    const { data, next_cursor } = JSON.parse(text) as { data: { run_id: string }[]; next_cursor: string | null };
    expect(data.length).toBeGreaterThan(0);
    // One alone may be larger than a page.
    if (data.length > 1) expect(text.length).toBeLessThan(PAGE_BYTES * 1.1);
    listed.push(...data.map(({ run_id }) => run_id));
    pages += 1;
    cursor = next_cursor;
  }
  expect(listed).toEqual(newestFirst);
  expect(pages).toBeGreaterThan(COUNT / 2);

  const exported: string[] = [];
  for (const line of (await (await get(relay, "/v1/runs.ndjson")).text()).trimEnd().split("\n"))
    exported.push(/"run_id":"(\w+)"/.exec(line)?.[1] ?? "");
  expect(exported).toEqual(newestFirst);

  const begin = await beginOfEvents(relay);
  const sent = Array.from({ length: 6 }, (_none, n) => `tsk_v2_${n}`);
  for (const run_id of sent)
    expect((await relay.webhook(JSON.stringify({ run_id, status: "completed", output }))).status).toBe(200);
  const stream = await get(relay, `/v1/events?last_event_id=${begin}`);
  const told: string[] = [];
  let rest = "";
  for await (const chunk of stream.body ?? []) {
    rest += new TextDecoder().decode(chunk as Uint8Array);
    const found = [...rest.matchAll(/^data: \{"run_id":"(\w+)"/gm)].map(([, id]) => id ?? "");
    told.push(...found);
    // Each event is one line; only the last may be cut off before its id.
    rest = rest.slice(-40).replace(/^data: \{"run_id":"\w+"/gm, "");
    if (told.length >= sent.length) break;
  }
  expect(told).toEqual(sent);
  expect((await get(relay, "/v1/sinks")).status).toBe(200);
}, 300_000);
