/**
 * The steps of {@link pure}, in a process of their own: `pure-steps.ts <checkout> <bodies> <seconds>`. Prints
 * microseconds a webhook as JSON. All webhooks of a slice take one step, then the next, as if they had come together:
 * the median of the slices counts, so that neither a collection of garbage nor another process does. Both are in `cpu`:
 * all threads of the process, the preparing of each webhook included.
 */
import { createHmac } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type * as Settle from "../../src/receive/settle.ts";
import type * as Verify from "../../src/receive/verify.ts";
import type * as Secrets from "../../src/platform/secret.ts";
import type * as Normalize from "../../src/skyvern/normalize.ts";
import type * as PayloadReader from "../../src/skyvern/payload.ts";
import type * as Redact from "../../src/skyvern/redact.ts";
import type * as ListItems from "../../src/store/history/list-items.ts";
import type * as Blocks from "../../src/store/receipts/blocks.ts";
import type * as Words from "../../src/store/search/search.ts";
import { median, type Figures } from "../bench.ts";
import { readBodies, runId } from "../bodies.ts";

const [root = "", path = "", seconds = "4"] = process.argv.slice(2);
const of = async <Module>(file: string) => (await import(join(root, "src", file))) as Module;
const { verify } = await of<typeof Verify>("receive/verify.ts");
const { createRedact } = await of<typeof Redact>("skyvern/redact.ts");
const { maskBody, parsePayload } = await of<typeof PayloadReader>("skyvern/payload.ts");
const { normalize } = await of<typeof Normalize>("skyvern/normalize.ts");
const { settle, toState } = await of<typeof Settle>("receive/settle.ts");
const { indexedText } = await of<typeof Words>("store/search/search.ts");
const { toListItem } = await of<typeof ListItems>("store/history/list-items.ts");
const { packBlock, stateIn } = await of<typeof Blocks>("store/receipts/blocks.ts");
const { Secret } = await of<typeof Secrets>("platform/secret.ts");

const SLICE = 16;
const WARM_UP = 150;
const KEY = "key of the benches";
const keys = [{ name: "bench", key: new Secret(KEY), organization: "o_1" }];
const redact = createRedact();
const ARRIVAL = { receivedAt: 1_787_295_854_000, source: "webhook", channel: null, organization: "o_1" } as const;

const texts = statSync(path).isDirectory() ? fixtures(path) : readBodies(path);
const times = new Map<string, number[]>();
let slices = 0;
const until = performance.now() + Number(seconds) * 1000;
let cpu = process.cpuUsage();
for (; slices < WARM_UP + 10 || performance.now() < until; slices++) {
  if (slices === WARM_UP) {
    times.clear();
    cpu = process.cpuUsage();
  }
  slice(slices * SLICE);
}
const { user, system } = process.cpuUsage(cpu);
const figures: Figures = { cpu: (user + system) / ((slices - WARM_UP) * SLICE) };
for (const [step, each] of times) figures[step] = median(each);
figures["sum"] = Object.entries(figures).reduce((sum, [step, us]) => sum + (step === "cpu" ? 0 : us), 0);
process.stdout.write(JSON.stringify(figures));

function slice(first: number): void {
  const webhooks = Array.from({ length: SLICE }, (_none, i) => webhook(first + i));
  step("verify", webhooks, (one) => verify(one, keys));
  const read = step("mask", webhooks, ({ bytes }) => maskBody(bytes, redact));
  const parsed = step("parse", read, parsePayload);
  const runs = step("normalize", parsed, (one) => (one.kind === "run" ? normalize(one.payload, ARRIVAL) : null)).filter(
    (run) => run !== null,
  );
  const states = step("settle", runs, (run) => settle(null, toState(run, null, false)).state);
  step("words", runs, indexedText);
  step("list item", runs, toListItem);
  const written = step("write state", states, (state) => JSON.stringify(state));
  const bodies = read.map(({ stored }) => stored);
  const blocks = step("pack block", written, (state) => packBlock(state, bodies.shift() ?? null));
  step("read state", blocks, stateIn);
}

function step<From, To>(name: string, items: readonly From[], take: (item: From) => To): To[] {
  const from = performance.now();
  const came = items.map((item) => take(item));
  const each = times.get(name) ?? [];
  each.push(((performance.now() - from) * 1000) / Math.max(1, items.length));
  times.set(name, each);
  return came;
}

/** As it comes from a socket: memory of its own. */
function webhook(seq: number): Verify.Incoming {
  const text = (texts[seq % texts.length] ?? "").replaceAll(/@{18}/g, runId(seq).slice(3));
  const bytes = Buffer.from(text);
  const signature = createHmac("sha256", KEY).update(bytes).digest("hex");
  return { bytes, signature, sentAt: null, channel: null, query: null, from: "127.0.0.1" };
}

function fixtures(folder: string): string[] {
  const names = readdirSync(folder).filter((name) => name.startsWith("webhook.") && !name.includes("not-a-run"));
  return names.map((name) => readFileSync(join(folder, name), "utf8"));
}
