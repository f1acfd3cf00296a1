/** P6: a secret that came in a webhook is nowhere afterwards. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { aFolder, anApp, bytesIn, TOKEN, type AppOptions, type TestApp } from "../support/app.ts";
import { FIXTURE_KEY, fixtureBytes, mutated } from "../support/fixtures.ts";

/** Long and odd enough to be found in anything, and not to be there by chance. */
const MARK = "S3cr3tM4rk7Q";
/** It may be written differently, but not by any of these. */
const SPELLINGS = [
  MARK,
  MARK.toLowerCase(),
  Buffer.from(MARK).toString("base64").replace(/=+$/, ""),
  Buffer.from(MARK).toString("hex"),
  encodeURIComponent(MARK),
];

const ALL = { standIns: ["http", "slack", "smtp"] } as const;
/** An HTTP sink gets all there is; the others show parts of the same. */
const HTTP = { standIns: ["http"] } as const;

/** Sends it through the whole relay, and returns all that anyone could see afterwards. */
async function traces(
  body: string | Uint8Array,
  path = "/webhook",
  given: AppOptions = {},
): Promise<Record<string, string>> {
  const folder = aFolder();
  const options = { ...HTTP, ...given };
  const relay = await anApp({ DATABASE_URL: `sqlite:${join(folder, "relay.db")}` }, options);
  // The first attempts fail, so that reasons are written too.
  relay.standIns.http.answers.push({ status: 500, body: "no" });
  const answer = await relay.webhook(body, { path });
  await relay.deliver();
  const { data } = await relay.read<{ data: { run_id: string }[] }>("/v1/runs");
  for (const { run_id: id } of data) await relay.post(`/v1/runs/${id}/redeliver`);
  await relay.deliver();
  const again = await relay.webhook(body, { path });
  return {
    answers: answer.text + again.text,
    database: bytesIn(folder),
    api: await everyAnswer(
      relay,
      data.map(({ run_id: id }) => id),
    ),
    metrics: (await relay.get("/metrics")).text,
    log: relay.log(),
    http: JSON.stringify(relay.standIns.http.requests),
    ...(options.standIns.includes("slack") && { slack: JSON.stringify(relay.standIns.slack.calls) }),
    ...(options.standIns.includes("smtp") && {
      email: relay.standIns.smtp.messages.map(({ raw }) => unfolded(raw)).join("\n"),
    }),
  };
}

/** Quoted-printable and base64 parts as they read. */
const unfolded = (raw: string): string =>
  raw
    .replaceAll("=\r\n", "")
    .replace(/(?:^[A-Za-z0-9+/]{60,}={0,2}\r\n)+/gm, (part) => Buffer.from(part, "base64").toString("utf8"));

async function everyAnswer(relay: TestApp, runIds: string[]): Promise<string> {
  const unrecognized = await relay.read<{ data: { id: string }[] }>("/v1/receipts/unrecognized");
  const paths = ["/v1/runs", "/v1/deliveries", "/v1/receipts/unrecognized", "/v1/sinks"];
  paths.push(...unrecognized.data.map(({ id }) => `/v1/receipts/${id}/raw`));
  for (const id of runIds) {
    const run = await relay.read<{ receipts: { id: string }[] }>(`/v1/runs/${id}`);
    paths.push(`/v1/runs/${id}`, ...run.receipts.map((receipt) => `/v1/runs/${id}/receipts/${receipt.id}/raw`));
  }
  const answers = await Promise.all(paths.map((path) => relay.get(path)));
  return answers.map(({ text }) => text).join("\n");
}

function expectNowhere(found: Record<string, string>, secrets: readonly string[] = SPELLINGS) {
  for (const [where, text] of Object.entries(found)) {
    const leaked = secrets.filter((secret) => text.includes(secret));
    expect({ where, leaked }).toEqual({ where, leaked: [] });
  }
}

const v2 = (changes: Record<string, unknown>): string => mutated("task_v2.completed", changes);
const workflow = (changes: Record<string, unknown>): string => mutated("workflow_run.completed", changes);
const SIGNED = `https://api.skyvern.com/v1/artifacts/a_565346358594056580/content?expiry=1787316854&kid=k2026-06&sig=${MARK}`;

describe("a secret", () => {
  it.each([
    ["in a header Skyvern sent on", v2({ extra_http_headers: { authorization: `Bearer ${MARK}`, "x-tenant": MARK } })],
    ["in a header to a browser", v2({ cdp_connect_headers: { "x-api-key": MARK } })],
    [
      "as what asks for one-time codes",
      v2({
        totp_identifier: MARK,
        totp_verification_url: `https://codes.example/${MARK}`,
        totp_url: `https://codes.example/?k=${MARK}`,
      }),
    ],
    ["in a proxy", v2({ proxy_location: { url: `http://user:${MARK}@proxy.example:8080` } })],
    ["in a proxy without scheme", v2({ proxy_location: `user:${MARK}/x@proxy.example:8080` })],
    ["in the webhook's own address", v2({ webhook_callback_url: `https://relay.example.com/webhook?token=${MARK}` })],
    ["in the webhook's own address, bare", v2({ webhook_callback_url: `https://relay.example.com/webhook?${MARK}` })],
    ["in the URL of a recording", v2({ recording_url: SIGNED })],
    ["in the URL of a screenshot", v2({ screenshot_urls: [SIGNED] })],
    [
      "in the URL of a file",
      v2({ downloaded_files: [{ url: SIGNED, filename: "a.pdf" }], downloaded_file_urls: [SIGNED] }),
    ],
    ["in a signed URL inside an output", workflow({ output: { a: { task_screenshots: [SIGNED] } }, outputs: null })],
    [
      "in a URL in a text",
      v2({
        summary: `See ${SIGNED} and https://u:${MARK}@host.example/`,
        prompt: SIGNED,
        url: SIGNED,
        failure_reason: SIGNED,
      }),
    ],
    ["in a browser's address", v2({ browser_address: `wss://cdp.example?apiKey=${MARK}` })],
    [
      "in a parameter",
      workflow({ parameters: { portal_password: MARK, api_key: MARK, nested: [{ clientSecret: { any: [MARK] } }] } }),
    ],
    [
      "in a parameter of the request",
      workflow({
        parameters: null,
        run_request: {
          parameters: { login: { pwd: MARK } },
          extra_http_headers: { a: MARK },
          webhook_url: `https://x.example/?t=${MARK}`,
          totp_url: `https://x.example/${MARK}`,
          run_metadata: { token: MARK },
        },
      }),
    ],
    [
      "in a parameter that is JSON in a text",
      workflow({ parameters: { config: JSON.stringify({ password: MARK, inner: JSON.stringify({ token: MARK }) }) } }),
    ],
    [
      "in an embedded task",
      workflow({
        task_v2: {
          totp_identifier: MARK,
          extra_http_headers: { a: MARK },
          proxy_location: { url: `http://u:${MARK}@p.example` },
        },
      }),
    ],
  ])("a secret %s is not stored, logged, shown or sent", async (_what, body) => {
    expect(body).toContain(MARK);
    expectNowhere(await traces(body));
  });

  it.each([
    [
      "not understood",
      JSON.stringify({ parameters: { password: MARK }, extra_http_headers: { a: MARK }, recording_url: SIGNED }),
    ],
    ["no JSON", `{"extra_http_headers":{"a":"${MARK}"},`],
    ["cut off in the secret", `{"run_id":"tsk_1","status":"completed","totp_code":"${MARK}`],
    ["a list", JSON.stringify([{ totp_identifier: MARK }])],
    ["nested too deeply", `{"extra_http_headers":${'{"a":'.repeat(5_000)}"${MARK}"${"}".repeat(5_000)}}`],
  ])("a secret in a body that is %s is not stored, logged, shown or sent", async (_what, body) => {
    expectNowhere(await traces(body));
  });

  it("a secret in every place at once is not stored, logged, shown or sent to any sink", async () => {
    const headers = { authorization: `Bearer ${MARK}` };
    const body = workflow({
      extra_http_headers: headers,
      cdp_connect_headers: headers,
      totp_identifier: MARK,
      totp_verification_url: `https://codes.example/${MARK}`,
      proxy_location: { url: `http://user:${MARK}@proxy.example:8080` },
      webhook_callback_url: `https://relay.example.com/webhook?token=${MARK}`,
      recording_url: SIGNED,
      screenshot_urls: [SIGNED],
      downloaded_files: [{ url: SIGNED, filename: "a.pdf" }],
      output: { link: SIGNED },
      failure_reason: `Not found: ${SIGNED}`,
      parameters: { password: MARK },
      run_request: { parameters: { password: MARK }, url: SIGNED, prompt: `Open ${SIGNED}` },
    });
    expectNowhere(await traces(body, "/webhook", ALL));
  });

  it("a secret in a body that is no UTF-8 is not stored, logged, shown or sent", async () => {
    const body = Buffer.concat([
      Buffer.from(`{"extra_http_headers":{"a":"${MARK}`),
      Buffer.from([0xff, 0xfe]),
      Buffer.from('"}}'),
    ]);
    expectNowhere(await traces(body));
  });

  it("a secret behind a duplicate key is not stored, logged, shown or sent, whichever of the two counts", async () => {
    expectNowhere(
      await traces(
        `{"run_id":"tsk_1","status":"completed","totp_code":"${MARK}","totp_code":"x",` +
          `"parameters":{"password":"${MARK}","password":null},"extra_http_headers":{"a":"${MARK}"},"extra_http_headers":{}}`,
      ),
    );
  });

  it("a secret in a refused request for a one-time code is not stored, logged, shown or sent", async () => {
    expectNowhere(await traces(JSON.stringify({ task_id: "tsk_1", totp_identifier: MARK })));
  });

  it("a secret in the query of the webhook's address is not stored, logged, shown or sent", async () => {
    expectNowhere(await traces(fixtureBytes("task_v2.completed"), `/webhook/billing?token=${MARK}`));
  });

  it("a secret under a key of redact.keys is not stored, logged, shown or sent", async () => {
    const body = workflow({ parameters: { iban: MARK, customer: { IBAN: MARK, "tax id": MARK } }, run_request: null });
    expectNowhere(await traces(body, "/webhook", { file: "redact: { keys: [iban, tax_id] }" }));
    const without = await traces(body);
    expect(without["api"]).toContain(MARK);
  });
});

describe("the relay's own secrets", () => {
  const bodies = {
    genuine: fixtureBytes("workflow_run.completed"),
    "not understood": "{}",
  };
  it.each(Object.entries(bodies))(
    "the relay's own secrets are not stored, logged, shown or sent after a webhook that is %s",
    async (_what, body) => {
      expectNowhere(await own(body));
    },
  );

  /** Keys and tokens are sent to whom they are for, so calls to the stand-ins are left out. */
  async function own(body: string | Uint8Array): Promise<Record<string, string>> {
    const folder = aFolder();
    const relay = await anApp(
      { DATABASE_URL: `sqlite:${join(folder, "relay.db")}`, RELAY_TOKEN: `${TOKEN},${MARK}-long-enough` },
      ALL,
    );
    relay.standIns.http.answers.push({ status: 500 });
    relay.standIns.slack.faults.push({ status: 500, body: relay.standIns.slack.token });
    relay.standIns.skyvern.faults.push({ status: 403, body: JSON.stringify({ detail: `no such key ${FIXTURE_KEY}` }) });
    await relay.webhook(body);
    await relay.webhook(body, { key: "wrong" });
    await relay.deliver();
    const { data } = await relay.read<{ data: { run_id: string }[] }>("/v1/runs");
    const found = {
      database: bytesIn(folder),
      api: await everyAnswer(
        relay,
        data.map(({ run_id: id }) => id),
      ),
      metrics: (await relay.get("/metrics")).text,
      log: relay.log(),
      email: relay.standIns.smtp.messages.map(({ raw }) => unfolded(raw)).join("\n"),
    };
    const secrets = [FIXTURE_KEY, TOKEN, MARK, relay.standIns.slack.token, "whsec_"];
    expectNowhere(found, secrets);
    return found;
  }
});

it("a text that is no secret is stored, shown and sent, so that the search for secrets means something", async () => {
  const found = await traces(workflow({ workflow_title: MARK }), "/webhook", ALL);
  for (const where of ["database", "api", "http", "slack", "email"])
    expect({ where, there: found[where]?.includes(MARK) }).toEqual({ where, there: true });
});
