/** P6: what is written and shown depends on the masked text alone. No hash, length or order says what was masked. */
import { join } from "node:path";
import BetterSqlite from "better-sqlite3";
import { expect, it } from "vitest";
import type { StandInRun } from "../../src/stand-ins/skyvern.ts";
import { aFolder, anApp } from "../support/app.ts";
import { atSkyvern } from "../support/at-skyvern.ts";
import { mutated } from "../support/fixtures.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

/** Everything that a relay wrote and showed after these webhooks, and after Skyvern's own words of these runs. */
async function everything(
  bodies: readonly (string | Uint8Array)[],
  listed: readonly StandInRun[],
): Promise<Record<string, unknown>> {
  const path = join(aFolder(), "relay.db");
  const relay = await anApp({ DATABASE_URL: `sqlite:${path}` }, { standIns: ["http"], runtime: aRuntime() });
  relay.standIns.http.answers.push({ status: 500, body: "no" });
  const answers = [];
  for (const body of bodies) answers.push(shown(await relay.webhook(body)));
  for (const run of listed) relay.standIns.skyvern.addRun(run);
  await relay.app.reconcile();
  await relay.deliver();
  const { data } = await relay.read<{ data: { run_id: string }[] }>("/v1/runs");
  const paths = ["/v1/runs", "/v1/runs.csv", "/v1/deliveries", "/v1/receipts/unrecognized", "/v1/sinks"];
  for (const { run_id: id } of data) {
    const run = await relay.read<{ receipts: { id: string }[] }>(`/v1/runs/${id}`);
    paths.push(`/v1/runs/${id}`, ...run.receipts.map((receipt) => `/v1/runs/${id}/receipts/${receipt.id}/raw`));
  }
  const unrecognized = await relay.read<{ data: { id: string }[] }>("/v1/receipts/unrecognized");
  paths.push(...unrecognized.data.map(({ id }) => `/v1/receipts/${id}/raw`));
  const api = await Promise.all(paths.map(async (path) => shown(await relay.get(path))));
  const metrics = (await relay.get("/metrics")).text
    .split("\n")
    // What the process took, and how long.
    .filter((line) => !/seconds|process_|nodejs_|skyvern_relay_database_bytes/.test(line));
  const sent = relay.standIns.http.requests.map(({ body, headers }) => [
    alike(String(body)),
    headers["content-length"],
  ]);
  const log = alike(relay.log());
  await relay.stop();
  return { answers, api, metrics, sent, log, rows: rowsIn(path) };
}

/**
 * Without ports, times of the log, durations and the signatures of the relay's own links, whose key is drawn at its
 * first start.
 */
const alike = (text: string): string =>
  text.replaceAll(
    /127\.0\.0\.1:\d+|"time":"[^"]*"|"[a-z_]*ms":[\d.]+|(?<=\?exp=\d+(?:&amp;|&|\\u0026)sig=)[\w-]+/g,
    "",
  );

const shown = ({ status, headers, text }: { status: number; headers: Headers; text: string }) => ({
  status,
  headers: [...headers].filter(([name]) => !["date", "set-cookie", "content-security-policy"].includes(name)),
  text: alike(text),
});

/** Every row in the order in which it stands, but for the relay's own keys. */
function rowsIn(path: string): Record<string, unknown> {
  const sqlite = new BetterSqlite(path, { readonly: true });
  const names = sqlite
    .prepare<[], { name: string }>(
      "select name from sqlite_schema where type = 'table' and sql not like '%virtual table%'",
    )
    .all();
  const rows = names
    .filter(({ name }) => !name.startsWith("sqlite_") && name !== "settings")
    .map(
      ({ name }) =>
        [
          name,
          sqlite
            .prepare(`select * from "${name}"`)
            .all()
            .map((row) => alike(JSON.stringify(row))),
        ] as const,
    );
  sqlite.close();
  return Object.fromEntries(rows);
}

/** The same run, with secrets in many places. */
const workflow = (secret: string): string =>
  mutated("workflow_run.completed", {
    extra_http_headers: { authorization: `Bearer ${secret}` },
    totp_identifier: secret,
    failure_reason: `see https://h.example/?token=${secret}`,
    output: { text: `password=${secret}&user=bob`, [`https://h.example/?sig=${secret}`]: 1 },
    parameters: { password: secret, pins: [{ pin: secret }] },
    screenshot_urls: null,
    recording_url: `https://api.skyvern.com/v1/artifacts/a_1/content?expiry=1&sig=${secret}`,
  });
const unrecognized = (secret: string): string =>
  JSON.stringify({ parameters: { api_key: secret }, note: "what is this" });
const cut = (secret: string): string => `{"run_id":"tsk_1","totp_code":"${secret}","parameters":{"pin":"${secret}`;
const listed = (secret: string): StandInRun =>
  atSkyvern({
    id: "tsk_listed",
    endedAt: NOW - 3_600_000,
    payload: { output: { text: `password=${secret}&user=bob` }, screenshot_urls: null, recording_url: null },
  });

const SECRETS = ["4711", "a1b2c3d4", "Zq7".repeat(300), "p%C3%A4ss=w0rd", "0"];
const everythingWith = (secret: string) =>
  everything([workflow(secret), unrecognized(secret), cut(secret), workflow(secret)], [listed(secret)]);

it.each(SECRETS.slice(1))(
  "a relay writes and shows the same whether secrets are 4711 or others (%#)",
  async (secret) => {
    const [one, other] = [await everythingWith("4711"), await everythingWith(secret)];
    for (const where of Object.keys(one)) expect({ where, is: other[where] }).toEqual({ where, is: one[where] });
  },
);

it("a webhook that differs from one before it in its secrets alone is a duplicate", async () => {
  const { answers, rows } = await everything(SECRETS.map(workflow), []);
  const results = (answers as { text: string }[]).map(({ text }) => (JSON.parse(text) as { result: string }).result);
  expect(results).toEqual(["accepted", ...SECRETS.slice(1).map(() => "duplicate")]);
  expect((rows as Record<string, unknown[]>)["receipts"]).toHaveLength(1);
});

it("another result under the same secrets makes another body", async () => {
  const { rows } = await everything([workflow("4711"), workflow("4711").replace("user=bob", "user=eve")], []);
  expect((rows as Record<string, unknown[]>)["receipts"]).toHaveLength(2);
});
