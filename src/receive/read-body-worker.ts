/** The thread of `read-apart.ts`: reads one body and ends. */
import { parentPort, workerData } from "node:worker_threads";
import { maskBody } from "../skyvern/payload.ts";
import { createRedact } from "../skyvern/redact.ts";
import type { ReadOrder } from "./intake.ts";

const { bytes, redactKeys } = workerData as ReadOrder;
const masked = maskBody(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), createRedact(redactKeys));
const { buffer, byteLength } = masked.stored;
// A short buffer shares its memory with others.
parentPort?.postMessage(masked, byteLength === buffer.byteLength ? [buffer as ArrayBuffer] : []);
