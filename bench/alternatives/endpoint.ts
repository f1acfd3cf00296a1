/** The endpoint that every alternative has: it answers 200 when the queue has stored the event for good. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { isGenuine, parseEvent, type RunEvent } from "./event.ts";

/** Loads a package from the benches' cache. The caller names the part of its interface that it uses. */
export const loadPeer = <T>(name: string): T =>
  createRequire(join(process.env.BENCH_PEER ?? "", "package.json"))(name) as T;

/** Listens on `PORT`. `store` resolves when the event survives the end of every process. */
export function listen(store: (event: RunEvent) => Promise<unknown>): void {
  const app = new Hono();
  app.post("/webhook", async (c) => {
    const body = Buffer.from(await c.req.arrayBuffer());
    if (!isGenuine(body, c.req.header("x-skyvern-signature"))) return c.json({ error: "wrong signature" }, 401);
    let event: RunEvent;
    try {
      event = parseEvent(body);
    } catch (error) {
      return c.json({ error: String(error) }, 400);
    }
    await store(event);
    return c.json({ run_id: event.data.run_id, result: "accepted" });
  });
  app.onError((error, c) => {
    console.error(error);
    return c.json({ error: "try again" }, 503);
  });
  serve({ fetch: app.fetch, port: Number(process.env.PORT), hostname: "127.0.0.1" });
  process.once("SIGTERM", () => process.exit(0));
}

const LARGEST_BATCH = 256;

interface Waiter<T> {
  item: T;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/**
 * Gathers the items of one turn of the event loop, and those that come while a batch is being written, into one call of
 * `write`.
 */
export function batched<T>(write: (items: T[]) => Promise<unknown>): (item: T) => Promise<void> {
  const waiting: Waiter<T>[] = [];
  let isWriting = false;
  const flush = async (): Promise<void> => {
    if (isWriting || waiting.length === 0) return;
    isWriting = true;
    const batch = waiting.splice(0, LARGEST_BATCH);
    try {
      await write(batch.map(({ item }) => item));
      for (const { resolve } of batch) resolve();
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
    isWriting = false;
    void flush();
  };
  return (item) =>
    new Promise((resolve, reject) => {
      if (waiting.push({ item, resolve, reject }) === 1) setImmediate(() => void flush());
    });
}
