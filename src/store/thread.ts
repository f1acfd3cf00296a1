/**
 * The thread that SQLite is written in, as a process starts it. It takes as long as all the rest of a relay, so it may be started ahead,
 * before it is known which file it is for.
 */
import { Worker } from "node:worker_threads";

const FILE = import.meta.url.endsWith(".ts") ? "./sqlite-thread.ts" : "./sqlite-thread.js";

let ahead: Worker | null = null;

const start = (): Worker => new Worker(new URL(FILE, import.meta.url));

/** Starts one where the environment says that a file of SQLite is to be opened: the next {@link threadOn} takes it. */
export function startAhead(env: { DATABASE_URL?: string; DATABASE_URL_FILE?: string }): void {
  const { DATABASE_URL: url = "", DATABASE_URL_FILE: file } = env;
  if (file === undefined && /^(sqlite:(?!:memory:)|$)/.test(url)) ahead ??= start();
}

/** One that opens that file. */
export function threadOn(path: string): Worker {
  const worker = ahead ?? start();
  ahead = null;
  // oxlint-disable-next-line require-post-message-target-origin -- a thread has none; windows do
  worker.postMessage(path);
  return worker;
}
