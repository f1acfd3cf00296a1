/**
 * The thread that SQLite is written in, as a process starts it. It takes as long as all the rest of a relay, so it may be started ahead,
 * before it is known which file it is for.
 */
import { Worker } from "node:worker_threads";

let ahead: { entry: URL; worker: Worker } | null = null;

/** Starts one where the environment says that a file of SQLite is to be opened: the next {@link threadOn} takes it. */
export function startAhead(entry: URL, env: { DATABASE_URL?: string; DATABASE_URL_FILE?: string }): void {
  const { DATABASE_URL: url = "", DATABASE_URL_FILE: file } = env;
  if (file === undefined && /^(sqlite:(?!:memory:)|$)/.test(url)) ahead ??= { entry, worker: new Worker(entry) };
}

/** One that is told, before all else, the path of its database. */
export function threadOn(entry: URL, path: string): Worker {
  const worker = ahead?.entry.href === entry.href ? ahead.worker : new Worker(entry);
  if (worker === ahead?.worker) ahead = null;
  // oxlint-disable-next-line require-post-message-target-origin -- a thread has none; windows do
  worker.postMessage(path);
  return worker;
}
