/** A relay that listens, with three sinks on loopback and something of everything in it. */
import { createHmac } from "node:crypto";
import { createNodeApp } from "../../src/node.ts";
import { formatFaults, loadConfig } from "../../src/config.ts";
import { sampleRuns, type Sample } from "../../src/demo/samples.ts";
import { startHttpSink } from "../../src/demo/stand-ins/http-sink.ts";
import { startSkyvern } from "../../src/demo/stand-ins/skyvern.ts";
import { startSlack } from "../../src/demo/stand-ins/slack.ts";
import { startSmtp } from "../../src/demo/stand-ins/smtp.ts";
import { silentLog } from "../../src/log.ts";
import { systemRuntime } from "../../src/runtime.ts";

export const TOKEN = "a-token-for-the-browser";
const KEY = "test-skyvern-key";

export interface SeededRelay {
  url: string;
  /** Run ids: a completed workflow run with everything, and one made of hostile text. */
  invoices: string;
  hostile: string;
  /** How many requests the HTTP sink got. */
  crmRequests(): number;
  close(): Promise<void>;
}

export async function seeded({ empty = false } = {}): Promise<SeededRelay> {
  const [skyvern, slack, smtp, crm] = await Promise.all([
    startSkyvern({ keys: [KEY] }),
    startSlack(),
    startSmtp(),
    startHttpSink(),
  ]);
  const standIns = [skyvern, slack, smtp, crm];
  const runtime = systemRuntime();
  const sinks = `
sinks:
  ops: { kind: slack, token: "${slack.token}", channel: C0123ABCD, api_url: "${slack.url}" }
  finance: { kind: email, smtp: "${smtp.url}", from: relay@example.com, to: [ap@example.com] }
  crm: { kind: http, url: "${crm.url}" }
routes:
  - { name: failures, when: { status: [failed, terminated, timed_out] }, to: [ops] }
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
  const app = await createNodeApp({ ...loaded.config, publicUrl: "http://relay.example.com" }, runtime, silentLog);
  const { port } = await app.start();
  const url = `http://127.0.0.1:${port}`;
  const send = (body: string, path: string) =>
    fetch(`${url}${path}`, {
      method: "POST",
      body,
      headers: { "x-skyvern-signature": createHmac("sha256", KEY).update(body).digest("hex") },
    });

  const samples = empty ? [] : sampleRuns(runtime);
  for (const { payloads } of samples) {
    for (const payload of payloads) {
      skyvern.addRun({ payload });
      await send(JSON.stringify(payload), "/webhook/portal");
    }
  }
  const hostile = hostileRun();
  if (!empty) {
    await settled(app);
    crm.answers.push({ status: 400, body: "no such customer" });
    await send(
      JSON.stringify({ ...samples[0]?.payloads[0], run_id: "tsk_refused", task_id: "tsk_refused" }),
      "/webhook",
    );
    await send(JSON.stringify(hostile), "/webhook");
    await send(JSON.stringify({ kind: "something new", data: { number: 1 } }), "/webhook/portal");
    await settled(app);
  }
  return {
    url,
    invoices: samples.find(isInvoices)?.runId ?? "",
    hostile: hostile.run_id,
    crmRequests: () => crm.requests.length,
    close: async () => {
      await app.stop();
      await Promise.all(standIns.map((standIn: { close(): Promise<void> }) => standIn.close()));
    },
  };
}

const isInvoices = ({ name }: Sample): boolean => name === "workflow, files and a table";

/** Everything queued has come to its end. */
async function settled(app: Awaited<ReturnType<typeof createNodeApp>>): Promise<void> {
  const until = Date.now() + 30_000;
  while ((await app.store.backlog()).length > 0) {
    if (Date.now() > until) throw new Error("some delivery did not come to its end");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function hostileRun() {
  const evil = `"'></title></script><script>alert(1)</script><img src=x onerror=alert(1)><svg onload=alert(1)> ${"x".repeat(300)}`;
  return {
    run_id: "tsk_<b>evil</b>",
    task_id: "tsk_<b>evil</b>",
    run_type: evil,
    status: "failed",
    prompt: evil,
    summary: evil,
    url: "javascript:alert(1)",
    app_url: "javascript:alert(1)",
    workflow_permanent_id: evil,
    failure_reason: `${evil} \u202Egnp.exe`,
    failure_category: [{ category: evil }],
    errors: [{ error_code: evil, reasoning: evil, [evil]: evil }],
    output: { [evil]: [{ [evil]: evil, link: "javascript:alert(1)" }], long: "w".repeat(100_000), deep: [[[[evil]]]] },
    parameters: { [evil]: evil },
    downloaded_files: [{ url: "javascript:alert(1)", filename: evil }],
    screenshot_urls: ["javascript:alert(1)"],
    recording_url: "javascript:alert(1)",
  };
}
