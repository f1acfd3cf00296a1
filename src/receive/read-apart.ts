/**
 * Reads large bodies in a thread of their own. To mask nine megabytes takes up to some seconds, depending on what they
 * hold, and meanwhile every other webhook would wait.
 */
import { Worker } from "node:worker_threads";
import type { MaskedBody } from "../skyvern/payload.ts";
import type { ReadApart, ReadOrder } from "./intake.ts";

/** One body at a time, because each takes some 50 MB. */
export function createReadApart(): ReadApart {
  let last: Promise<unknown> = Promise.resolve();
  return (order) => {
    const reading = last.then(() => readInThread(order));
    last = reading.catch(() => {});
    return reading;
  };
}

const PROGRAM = new URL(
  import.meta.url.endsWith(".ts") ? "./read-body-worker.ts" : "./read-body-worker.js",
  import.meta.url,
);

function readInThread(order: ReadOrder): Promise<MaskedBody> {
  return new Promise((resolve, reject) => {
    // A small young generation: what becomes garbage is collected at once.
    const worker = new Worker(PROGRAM, { workerData: order, resourceLimits: { maxYoungGenerationSizeMb: 8 } });
    worker.once("message", ({ stored, ...read }: { stored: Uint8Array } & Omit<MaskedBody, "stored">) =>
      resolve({ stored: Buffer.from(stored.buffer, stored.byteOffset, stored.length), ...read }),
    );
    worker.once("error", reject);
    worker.once("exit", () => reject(new Error("the thread that reads a large body ended without a word")));
  });
}
