/** Plays the several webhooks of one run in every order, with deliveries in between, and says what must come of it. */
import { expect } from "vitest";
import type { JsonObject } from "../../src/platform/json.ts";
import { anApp, type TestApp } from "./app.ts";
import { corrections, naive, topLevel } from "./at-skyvern.ts";
import { fixtureJson, mutated } from "./fixtures.ts";
import { aRuntime, NOW } from "./runtime.ts";

const HOUR = 3_600_000;

/** A fixture as the webhook of another run. */
export const webhook = (fixture: string, id: string, changes: JsonObject = {}): string => {
  const base = fixtureJson(fixture);
  const own = base["workflow_run_id"] === base["run_id"] ? { workflow_run_id: id } : {};
  // Pictures have tests of their own, and take their time.
  const plain = { screenshot_urls: null, action_screenshot_urls: null, screenshot_url: null };
  return mutated(fixture, { run_id: id, ...("task_id" in base ? { task_id: id } : {}), ...own, ...plain, ...changes });
};

export interface Situation {
  name: string;
  /** In the order in which Skyvern sends them. */
  bodies: (id: string) => string[];
  outcome: string;
}

/** Ended so many ms after some hour. */
export const at = (ms: number) => ({ finished_at: naive(NOW - HOUR + ms), modified_at: naive(NOW - HOUR + ms) });

/** What may happen to the first attempt at a sink. */
export const TROUBLES = ["none", "refused", "answer lost"] as const;
export type Trouble = (typeof TROUBLES)[number];
/** What may happen between two webhooks: nothing, deliveries, or deliveries long enough for retries too. */
export type Gap = "nothing" | "deliver" | "deliver and retry";

const permutations = <T>(items: readonly T[]): T[][] =>
  items.length < 2
    ? [[...items]]
    : items.flatMap((item, i) => permutations(items.toSpliced(i, 1)).map((rest) => [item, ...rest]));
const LABELS: Record<string, string> = { completed: "Completed", failed: "Failed", canceled: "Canceled" };

/** Two HTTP sinks at one address: `crm` as it is, `all` with updates. */
const FILE = `sinks:
  crm: { kind: http, url: "\${SINK_URL}?sink=crm", secret: "\${SINK_SECRET}" }
  all: { kind: http, url: "\${SINK_URL}?sink=all", secret: "\${SINK_SECRET}", updates: true }
`;

export interface World {
  relay: TestApp;
  /** Delivers what is due. */
  deliver(): Promise<void>;
  /** Delivers until nothing waits, letting hours pass. */
  drain(): Promise<void>;
}

export async function aWorld(): Promise<World> {
  const runtime = aRuntime();
  const relay = await anApp({}, { runtime, standIns: ["slack", "smtp", "http"], file: FILE });
  const drain = async (): Promise<void> => {
    for (let hours = 0; hours < 30; hours += 1) {
      await relay.deliver();
      if ((await relay.app.store.backlog()).length === 0) return;
      runtime.advance(HOUR);
    }
  };
  return { relay, deliver: relay.deliver, drain };
}

/** The first attempts at every sink meet the trouble. */
function orderFaults({ standIns: { slack, smtp, http } }: TestApp, trouble: Trouble, runs: number): void {
  if (trouble === "none") return;
  const lost = trouble === "answer lost";
  for (let i = 0; i < runs; i += 1) {
    slack.faults.push({
      method: "chat.postMessage",
      ...(lost ? { resetAfterSuccess: true } : { status: 429, retryAfter: 1 }),
    });
    for (let sink = 0; sink < 2; sink += 1) http.answers.push(lost ? { reset: true } : { status: 429 });
    if (i < FAILING_AT_ONCE) smtp.faults.push(lost ? { at: "reply", do: "drop" } : { at: "data", code: 451 });
  }
}

const dataOf = (body: string) => JSON.parse(body) as { type: string; data: { run_id: string; revision: number } };

/** Everything that anybody was told about a run. */
export function toldOf({ standIns: { slack, smtp, http } }: TestApp, id: string) {
  const ofRun = ({ metadata }: { metadata: { event_payload: Record<string, unknown> } | null }) =>
    metadata?.event_payload["run_id"] === id;
  const mails = smtp.messages
    .map(({ raw }) => raw)
    .filter((raw) => new RegExp(`^X-Skyvern-Run-Id: ${id}\r$`, "im").test(raw));
  const requests = http.requests
    .filter(({ body }) => dataOf(body).data.run_id === id)
    .map(({ path, headers, body }) => ({ sink: path.split("sink=")[1], id: headers["webhook-id"], ...dataOf(body) }));
  return {
    messages: topLevel(slack).filter(ofRun),
    replies: corrections(slack).filter(ofRun),
    mails: mails.map((raw) => ({
      subject: decodeSubject(/^Subject: ((?:.*\r\n[ \t])*.*)\r$/m.exec(raw)?.[1] ?? ""),
      id: /^Message-ID: (\S+)\r$/im.exec(raw)?.[1],
      inReplyTo: /^In-Reply-To: (\S+)\r$/im.exec(raw)?.[1],
    })),
    crm: requests.filter(({ sink }) => sink === "crm"),
    all: requests.filter(({ sink }) => sink === "all"),
  };
}

/** RFC 2047, as far as nodemailer writes it. */
const decodeSubject = (text: string): string =>
  text
    .replace(/\r\n[ \t]/g, "")
    .replace(/\?==\?UTF-8\?Q\?/gi, "")
    .replace(/=\?UTF-8\?Q\?(.*?)\?=/gi, (_all, q: string) =>
      Buffer.from(
        q
          .replaceAll("_", " ")
          .replace(/=([0-9A-F]{2})/g, (_hex, hex: string) => String.fromCharCode(parseInt(hex, 16))),
        "latin1",
      ).toString("utf8"),
    )
    .replace(/=\?UTF-8\?B\?(.*?)\?=/gi, (_all, b: string) => Buffer.from(b, "base64").toString("utf8"));

const distinct = <T>(items: readonly T[]): T[] => [...new Set(items)];
const isRising = (numbers: readonly number[]): boolean => numbers.every((n, i) => n >= (numbers[i - 1] ?? n));

interface ShownRun {
  status: string;
  revision: number;
  deliveries: { state: string }[];
}

async function expectOneOutcome(relay: TestApp, id: string, outcome: string, trouble: Trouble, story: string) {
  const run = await relay.read<ShownRun>(`/v1/runs/${id}`);
  const told = toldOf(relay, id);
  const label = LABELS[outcome] ?? "";
  // Receivers drop what comes under an id they took already: the first they took of each id must tell all there is.
  const taken = (requests: typeof told.all) => {
    const inTurn = trouble === "refused" ? requests : requests.toReversed();
    const first = new Map(inTurn.map((request) => [request.id, request]));
    return [...first.values()].toSorted((a, b) => b.data.revision - a.data.revision);
  };
  const corrected = distinct(told.mails.map((mail) => mail.id)).length - 1;
  const lastMail = told.mails.at(-1);
  expect({
    story,
    status: run.status,
    unsettled: run.deliveries.filter(({ state }) => state !== "delivered" && state !== "canceled"),
    messages: told.messages.length,
    messageShows: JSON.stringify(told.messages[0]?.blocks.slice(0, 2)).includes(label),
    replies: told.replies.length <= 1,
    repliesSay: told.replies.every(({ text }) => text.includes(`now ${label}`)),
    mails: corrected === 0 || corrected === 1,
    lastMailSays: lastMail?.subject.includes(`${label}:`),
    lastMailCorrects: lastMail?.subject.startsWith("Correction: "),
    inThread: corrected === 0 || lastMail?.inReplyTo === told.mails[0]?.id,
    httpInOrder: [told.crm, told.all].map((requests) => isRising(requests.map(({ data }) => data.revision))),
    httpIds: taken(told.crm).length <= 2,
    httpOutcomes: [taken(told.crm)[0]?.type, taken(told.all)[0]?.type],
    allUpdates: taken(told.all)[0]?.data.revision,
  }).toEqual({
    story,
    status: outcome,
    unsettled: [],
    messages: 1,
    messageShows: true,
    replies: true,
    repliesSay: true,
    mails: true,
    lastMailSays: true,
    lastMailCorrects: corrected === 1,
    inThread: true,
    httpInOrder: [true, true],
    httpIds: true,
    httpOutcomes: [`run.${outcome}`, `run.${outcome}`],
    allUpdates: run.revision,
  });
}

/** Every order of the bodies of each situation, each body sent twice, side by side, with the same gaps between them. */
export async function play(
  { relay, deliver, drain }: World,
  situations: readonly Situation[],
  gaps: readonly Gap[],
  trouble: Trouble,
): Promise<void> {
  const runs = situations.flatMap((situation, s) =>
    permutations(situation.bodies("?").map((_, i) => i)).map((order) => {
      const id = `run_${s}_${[...order, ...gaps, trouble].join("_").replaceAll(" ", "_")}`;
      const story = `${situation.name}; order ${order.join()}; between: ${gaps.join(", ")}; first attempt: ${trouble}`;
      return { id, order, situation, story };
    }),
  );
  orderFaults(relay, trouble, runs.length);
  for (const [step, gap] of [...gaps, "deliver and retry" as const].entries()) {
    for (const { id, order, situation } of runs) {
      const body = situation.bodies(id)[order[step] ?? 0] ?? "";
      expect((await relay.webhook(body)).status).toBe(200);
      expect((await relay.webhook(body)).json()).toMatchObject({ result: "duplicate" });
    }
    if (gap === "deliver") await deliver();
    if (gap === "deliver and retry") await drain();
  }
  for (const { id, situation, story } of runs) await expectOneOutcome(relay, id, situation.outcome, trouble, story);
}

/** Fewer failures in a row than open a circuit. */
export const FAILING_AT_ONCE = 4;
