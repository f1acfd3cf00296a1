/** A relay that listens, with four sinks on loopback and something of everything in it, spread over two days. */
import { createHmac } from "node:crypto";
import { createRelay } from "../../src/app/relay.ts";
import { formatFaults, loadConfig } from "../../src/config/config.ts";
import { sampleRuns, type Sample } from "../../src/demo/samples.ts";
import { startHttpSink } from "../support/http-sink.ts";
import { type StandInRun } from "../../src/stand-ins/skyvern.ts";
import { startSkyvern } from "../support/skyvern.ts";
import { startSlack } from "../support/slack.ts";
import { startSmtp } from "../support/smtp.ts";
import { silentLog } from "../../src/platform/log.ts";
import { systemRuntime } from "../../src/platform/runtime.ts";
import { hostileRun } from "./hostile-run.ts";

export const TOKEN = "a-token-for-the-browser";
const KEY = "test-skyvern-key";
const HOUR_MS = 3_600_000;

export interface SeededRelay {
  url: string;
  /** Run ids: a completed workflow run with everything, and one made of hostile text. */
  invoices: string;
  hostile: string;
  /** How many requests the HTTP sink got. */
  crmRequests(): number;
  /** What the HTTP sink answers with next. */
  crmAnswers(answer: { status: number; body?: string }): void;
  /** Gives Skyvern a run. */
  atSkyvern(run: StandInRun): void;
  /** Sends a webhook as Skyvern does. */
  send(payload: object, path?: string): Promise<void>;
  /** A run that a sink answers with 410, which stops it. */
  retire(runId: string): Promise<void>;
  /** Everything queued has come to its end. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

export async function seeded({ empty = false } = {}): Promise<SeededRelay> {
  const [skyvern, slack, smtp, crm, legacy] = await Promise.all([
    startSkyvern({ keys: [KEY] }),
    startSlack(),
    startSmtp(),
    startHttpSink(),
    startHttpSink(),
  ]);
  const standIns = [skyvern, slack, smtp, crm, legacy];
  let agoMs = 0;
  const runtime = { ...systemRuntime(), now: () => Date.now() - agoMs };
  const sinks = `
sinks:
  ops: { kind: slack, token: "${slack.token}", channel: C0123ABCD, api_url: "${slack.url}" }
  finance: { kind: email, smtp: "${smtp.url}", from: relay@example.com, to: [ap@example.com] }
  crm: { kind: http, url: "${crm.url}" }
  legacy: { kind: http, url: "${legacy.url}" }
routes:
  - { name: failures, when: { status: [failed, terminated, timed_out] }, to: [ops] }
  - { name: old ledger, when: { title: Old ledger }, to: [legacy] }
  - { name: everything, to: [finance, crm] }
`;
  const loaded = loadConfig({
    env: {
      SKYVERN_API_KEY: KEY,
      SKYVERN_BASE_URL: skyvern.url,
      DATABASE_URL: "sqlite::memory:",
      HOST: "127.0.0.1",
      PORT: "0",
      PUBLIC_URL: "https://relay.example.com",
      RELAY_TOKEN: TOKEN,
      ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
    },
    readFile: (path) => {
      if (path === "relay.yaml") return empty ? "" : sinks;
      throw Object.assign(new Error(`no such file: ${path}`), { code: "ENOENT" });
    },
  });
  if (!loaded.ok) throw new Error(formatFaults(loaded.faults));
  // Cookies for https only would never come back over the plain HTTP of this test.
  const relay = await createRelay({ ...loaded.config, publicUrl: "http://relay.example.com" }, runtime, silentLog);
  const { port } = await relay.start();
  const { app } = relay;
  const url = `http://127.0.0.1:${port}`;
  const send = async (payload: object, path = "/webhook") => {
    const body = JSON.stringify(payload);
    const signature = createHmac("sha256", KEY).update(body).digest("hex");
    const answer = await fetch(`${url}${path}`, {
      method: "POST",
      body,
      headers: { "x-skyvern-signature": signature },
    });
    if (!answer.ok) throw new Error(`the webhook was answered with ${answer.status}: ${await answer.text()}`);
  };
  const settled = async () => {
    const until = Date.now() + 30_000;
    while ((await app.store.backlog()).length > 0) {
      if (Date.now() > until) throw new Error("some delivery did not come to its end");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const retire = async (runId: string) => {
    legacy.answers.push({ status: 410, body: "this address was retired" });
    const workflow = { workflow_title: "Old ledger", workflow_run_id: runId, workflow_permanent_id: "wpid_ledger" };
    await send({ run_id: runId, run_type: "workflow_run", status: "completed", ...workflow });
    await settled();
  };
  const seed = async () => {
    const count = sampleRuns(runtime).length;
    for (let i = 0; i < count; i++) {
      agoMs = (count - i) * 2.7 * HOUR_MS;
      const { payloads } = sampleRuns(runtime)[i] as Sample;
      for (const payload of payloads) {
        skyvern.addRun({ payload });
        await send(payload, "/webhook/portal");
      }
      await settled();
    }
    agoMs = 0;
    const [first] = sampleRuns(runtime)[0]?.payloads ?? [];
    crm.answers.push({ status: 400, body: "no such customer" });
    await send({ ...first, run_id: "tsk_refused", task_id: "tsk_refused", prompt: "Look the customer up" });
    await settled();
    crm.answers.push({ status: 400, body: `<img src=x onerror=alert(1)> \u202Eevil ${"z".repeat(3_000)}` });
    await send(hostileRun);
    await settled();
    await retire("wr_ledger");
    await send({ kind: "something new", data: { number: 1 } }, "/webhook/portal");
  };
  if (!empty) await seed();
  const runs = await app.store.listItems({ workflow: ["Invoice Downloader"], status: ["completed"] }, { limit: 1 });
  return {
    url,
    invoices: runs[0]?.run_id ?? "",
    hostile: hostileRun.run_id,
    crmRequests: () => crm.requests.length,
    crmAnswers: (answer) => crm.answers.push(answer),
    atSkyvern: (run) => skyvern.addRun(run),
    send,
    retire,
    settled,
    close: async () => {
      await relay.stop();
      await Promise.all(standIns.map((standIn: { close(): Promise<void> }) => standIn.close()));
    },
  };
}
