/**
 * Payloads as Skyvern sends them, made of the fixtures: about 4 KB each, no two alike, the same for the same number.
 */
import { readFileSync } from "node:fs";
import type { JsonObject } from "../../src/platform/json.ts";

const fixture = (name: string): JsonObject =>
  JSON.parse(readFileSync(new URL(`../../test/fixtures/webhook.${name}.json`, import.meta.url), "utf8")) as JsonObject;

/** How many in a thousand are made of which fixture. */
const MIX = [
  [510, "task_v2.completed"],
  [250, "task_v1.completed-with-downloads"],
  [120, "workflow_run.completed"],
  [40, "workflow_run.failed"],
  [30, "task_v2.failed"],
  [20, "task_v2.terminated"],
  [15, "task_v2.timed_out"],
  [15, "task_v2.canceled"],
] as const satisfies (readonly [number, string])[];

const templates = MIX.map(([share, name]) => ({ share, payload: fixture(name) }));

const SYLLABLES = "ba co du fe gi ha jo ka le mi no pu ra so ta ve wi xa yo ze".split(" ");
/** Eight thousand words that are no others. */
const word = (n: number): string =>
  [n % 20, Math.floor(n / 20) % 20, Math.floor(n / 400) % 20].map((i) => SYLLABLES[i]).join("");

/** In nearly every run. */
export const COMMON_WORD = "invoice";
/** In one run of two thousand. */
export const RARE_WORD = "quokka";
export const PHRASE = '"maintenance banner"';
export const CHANNELS = [null, null, null, "billing", "legal"] as const;
/** From the most to the least used. */
export const workflowOf = (n: number) => ({ id: `wpid_5241114255571${100000 + n}`, title: `Workflow ${word(n + 40)}` });

/** Chance that is the same for the same number (mulberry32). */
export function chanceOf(seed: number): () => number {
  let a = (seed * 0x9e3779b1) >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Run `n` is called FIRST_NUMBER + n * NUMBER_STEP, in eighteen digits. */
export const FIRST_NUMBER = "565000000000000000";
export const NUMBER_STEP = 4_295_000;

const stamp = (ms: number): string => new Date(ms).toISOString().replace("Z", "000");

/** Of run `n`, finished at `at`. */
export function payloadOf(n: number, at: number): { runId: string; channel: string | null; body: string } {
  const chance = chanceOf(n);
  let left = Math.floor(chance() * 1000);
  const { payload } = templates.find(({ share }) => (left -= share) < 0) ?? { payload: {} as JsonObject };
  const number = String(BigInt(FIRST_NUMBER) + BigInt(n) * BigInt(NUMBER_STEP));
  const isWorkflow = payload["run_type"] === "workflow_run";
  const runId = isWorkflow ? `wr_${number}` : payload["run_type"] === "task_v2" ? `tsk_v2_${number}` : `tsk_${number}`;
  // Few words are frequent and many are rare, as in any language.
  const words = Array.from({ length: 24 }, () => word(Math.floor(8_000 * chance() ** 3)));
  const text = `Fetch the ${COMMON_WORD} of ${words.join(" ")}${n % 2_000 === 7 ? ` ${RARE_WORD}` : ""}`;
  const workflow = workflowOf(Math.floor(60 * chance() ** 3));
  const times = {
    created_at: stamp(at - 90_000),
    queued_at: stamp(at - 89_900),
    started_at: stamp(at - 88_000),
    finished_at: stamp(at - 400),
    modified_at: stamp(at - 300),
  };
  const order = { order_no: `INV-2026-${String(n).padStart(7, "0")}`, total: Math.floor(chance() * 1e6) / 100 };
  const changes = isWorkflow
    ? {
        workflow_run_id: runId,
        agent_run_id: runId,
        workflow_id: workflow.id,
        agent_id: workflow.id,
        workflow_title: workflow.title,
        output: { ...(payload["output"] as JsonObject), order, note: text },
      }
    : {
        task_id: runId,
        prompt: text,
        url: `https://${word(n % 500)}.example/`,
        output: { order, found: words.slice(0, 8) },
      };
  return {
    runId,
    channel: CHANNELS[Math.floor(chance() * CHANNELS.length)] ?? null,
    body: JSON.stringify({ ...payload, run_id: runId, ...times, ...changes }),
  };
}
