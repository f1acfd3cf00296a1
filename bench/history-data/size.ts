/** A database of so many runs: how it is made, and what its runs are called. */
import { rmSync } from "node:fs";
import { fill, type FillOptions } from "./fill.ts";
import { openSqlite } from "../../src/store/database.ts";
import { COPY_STEP, multiply } from "./multiply.ts";
import { payloadOf } from "./payloads.ts";

export interface Size {
  runs: number;
  /** When the last one came, epoch ms. */
  until: number;
}

/** All sizes span the same time, so that charts have as many bars. */
const SPAN_MS = 60 * 86_400_000;
/** More are copies of so many. */
const MOST_MADE = 20_000;
const WAITING = 40;

const copiesOf = ({ runs }: Size): number => Math.ceil(runs / MOST_MADE);

/** When run `n` came, epoch ms. */
export const atOf = ({ runs, until }: Size, n: number): number =>
  Math.floor(until - SPAN_MS + ((n + 1) / runs) * SPAN_MS);

export function idOf(size: Size, n: number): string {
  const copies = copiesOf(size);
  const { runId } = payloadOf(Math.floor(n / copies), atOf(size, n));
  return runId.replace(/\d{18}$/, (number) => String(BigInt(number) + BigInt((n % copies) * COPY_STEP)));
}

/** Makes it at `path`. `runs` must divide by how many copies there are of each. */
export async function make(
  path: string,
  size: Size,
  { config, progress }: Pick<FillOptions, "config" | "progress">,
): Promise<void> {
  const copies = copiesOf(size);
  const made = size.runs / copies;
  if (!Number.isInteger(made)) throw new Error(`${size.runs} runs cannot be made of ${copies} copies each`);
  const first = copies === 1 ? path : `${path}.first`;
  const waiting = Math.ceil(WAITING / copies);
  await fill({ path: first, runs: made, at: (n) => atOf(size, n * copies), waiting, config, progress });
  if (copies > 1) await multiply({ from: first, to: path, copies, stepMs: SPAN_MS / size.runs, progress });
  await putInOrder(path);
  if (copies === 1) return;
  for (const ending of ["", "-wal", "-shm", ".lock"]) rmSync(`${first}${ending}`, { force: true });
}

/** Rows in the order of their keys, and no page that nothing uses. */
async function putInOrder(path: string): Promise<void> {
  const database = openSqlite(path, { exclusive: true });
  await database.script(database.db, "vacuum; pragma wal_checkpoint(TRUNCATE)");
  await database.close();
}
