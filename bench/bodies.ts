/**
 * The bodies of the benches: workflow results of about 4 kB as Skyvern sends them (contract of `test/fixtures`), each
 * with other words and numbers, and a place for the run id near the end, where the load client writes a new one for
 * every request.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Every id of a bench is this and nine digits that count. */
export const RUN_MARK = "777777777";
const SLOT = "@".repeat(18);
const BODIES = 2_000;
const BYTES = 4_096;

const WORDS = (
  "account agent amount archive balance bank batch billing booking branch calendar cancel carrier category channel check claim client " +
  "code column company confirm contract country court credit currency customer date deadline deliver deposit detail discount district " +
  "document download draft due email employer entry error estimate event exchange expense export failure field file filter final form " +
  "freight grant harbour health holder import index insurance invoice item journal label ledger letter licence limit list loan lookup " +
  "market member meter method month notice number office option order owner package page partner party payment period permit person " +
  "phone policy port portal premium price print process product profile project provider purchase quarter query quote rate receipt " +
  "record refund region register renewal report request reserve result retail return review route salary sample schedule school search " +
  "section seller service session shipment shop site staff state status stock store street subject summary supplier support table tariff " +
  "tax tenant term ticket title total town tracking trade transfer transport travel unit user valid vehicle vendor visit voucher wage week"
).split(" ");

/** Small, fast, the same on every machine: a bench must send the same bodies every time (mulberry32). */
export function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export type Shape = "skyvern" | "alertmanager";

/** Writes the load client's file. Returns its path. */
export function writeBodies(folder: string, shape: Shape, count = BODIES): string {
  const path = join(folder, `bodies-${shape}`);
  const pieces: Buffer[] = [];
  for (let n = 0; n < count; n++) {
    const body = Buffer.from(shape === "skyvern" ? skyvernBody(n) : alertBody(n));
    const size = Buffer.alloc(4);
    size.writeUInt32LE(body.length);
    pieces.push(size, body);
  }
  writeFileSync(path, Buffer.concat(pieces));
  return path;
}

/** The bodies of such a file, without their ids. */
export function readBodies(path: string): string[] {
  const all = readFileSync(path);
  const bodies: string[] = [];
  for (let at = 0; at < all.length;) {
    const size = all.readUInt32LE(at);
    bodies.push(all.toString("utf8", at + 4, at + 4 + size));
    at += 4 + size;
  }
  return bodies;
}

/** A run id as the load client makes it. */
export const runId = (seq: number): string => `wr_${RUN_MARK}${String(seq).padStart(9, "0")}`;

function skyvernBody(seed: number): string {
  const random = chance(seed);
  const below = (n: number) => Math.floor(random() * n);
  const word = () => WORDS[below(WORDS.length)] ?? "";
  const sentence = (n: number) => Array.from({ length: n }, word).join(" ");
  const digits = (n: number) => Array.from({ length: n }, () => below(10)).join("");
  const signed = (id: string) =>
    `https://api.skyvern.com/v1/artifacts/${id}/content?expiry=1787295854&kid=k2026-06&sig=${Array.from({ length: 43 }, () => below(36).toString(36)).join("")}`;
  const artifact = () => `a_56525${digits(13)}`;
  const isFailed = seed % 10 === 0;
  const file = artifact();
  const rows: unknown[] = [];
  const whole = () =>
    JSON.stringify({
      workflow_id: `wpid_5241114255${digits(8)}`,
      status: isFailed ? "failed" : "completed",
      failure_reason: isFailed ? `The ${word()} page did not show the ${word()}: ${sentence(12)}.` : null,
      failure_category: isFailed
        ? [{ category: "NAVIGATION_FAILURE", confidence_float: 0.82, reasoning: sentence(8) }]
        : null,
      proxy_location: "RESIDENTIAL",
      webhook_callback_url: "https://relay.example.com/webhook",
      webhook_failure_reason: null,
      totp_verification_url: null,
      totp_identifier: null,
      extra_http_headers: null,
      queued_at: "2026-08-21T06:00:00.602033",
      started_at: "2026-08-21T06:00:03.538866",
      finished_at: `2026-08-21T06:0${below(10)}:${10 + below(50)}.079032`,
      created_at: "2026-08-21T06:00:00.418822",
      modified_at: "2026-08-21T06:09:54.080236",
      parameters: {
        portal_url: `https://${word()}.example`,
        since: "2026-08-01",
        max_items: below(50),
        note: sentence(6),
      },
      screenshot_urls: [signed(artifact()), signed(artifact())],
      recording_url: signed(artifact()),
      downloaded_files: [
        {
          url: signed(file),
          checksum: Array.from({ length: 64 }, () => below(16).toString(16)).join(""),
          filename: `INV-2026-${digits(4)}.pdf`,
          file_size: 10_000 + below(90_000),
          modified_at: "2026-08-21T06:03:43.762032",
          artifact_id: file,
        },
      ],
      total_steps: 3 + below(20),
      credits_used: below(20),
      workflow_title: `${sentence(2)} ${below(40)}`,
      run_with: "agent",
      errors: isFailed
        ? [{ error_code: "REACH_MAX_STEPS", reasoning: sentence(6), error_type: "SYSTEM_DEFINED_ERROR" }]
        : [],
      run_type: "workflow_run",
      app_url: "https://app.skyvern.com/runs",
      output: { rows_output: rows, extracted_information: [{ count: rows.length, total: below(100_000) / 100 }] },
      organization_id: "o_500964987805577001",
      workflow_run_id: `wr_${SLOT}`,
      run_id: `wr_${SLOT}`,
    });
  const frame = whole().length;
  for (let size = frame; size < BYTES;) {
    const row = {
      id: `INV-2026-${digits(4)}`,
      amount: below(100_000) / 100,
      currency: "EUR",
      text: sentence(4 + below(5)),
    };
    rows.push(row);
    size += JSON.stringify(row).length + 1;
  }
  // The random parts of the frame were drawn once already: what counts is that each body is of its own.
  return whole();
}

/** The same text as an alert carries it. */
const alertBody = (seed: number): string =>
  JSON.stringify([
    {
      labels: { alertname: "run_finished", severity: "info", run: `wr_${SLOT}` },
      annotations: { payload: skyvernBody(seed).replaceAll(SLOT, "0").slice(0, 3_500) },
    },
  ]);
