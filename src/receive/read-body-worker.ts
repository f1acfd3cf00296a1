/** The thread of `read-apart.ts`: reads one body and ends. */
import { parentPort, workerData } from "node:worker_threads";
import { createRedact } from "../skyvern/redact.ts";
import { readBody, type ReadOrder } from "./read-body.ts";

const { bytes, redactKeys } = workerData as ReadOrder;
const { stored, bounded } = readBody(
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
  createRedact(redactKeys),
);
const { buffer } = stored;
// A short buffer shares its memory with others.
parentPort?.postMessage({ stored, bounded }, stored.length === buffer.byteLength ? [buffer as ArrayBuffer] : []);
