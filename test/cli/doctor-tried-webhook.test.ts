/** Doctor goes by Skyvern's own word on the webhook address, and by the rules where Skyvern gives none. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { askSkyvern, checkTargets } from "../../src/cli/doctor/tried-webhook.ts";
import { createEgress } from "../../src/net/egress.ts";
import { Secret } from "../../src/platform/secret.ts";
import { createAddresses } from "../../src/receive/own-addresses.ts";
import { createSkyvernClient } from "../../src/skyvern/client.ts";
import { startSkyvern, type StandInSkyvern } from "../support/skyvern.ts";
import { atSkyvern } from "../support/at-skyvern.ts";

const PUBLIC_URL = "http://relay.internal:8080";
const signal = new AbortController().signal;

function aClient(baseUrl: string) {
  const { request, fetch, close } = createEgress({ allow: ["127.0.0.0/8"] });
  onTestFinished(close);
  return createSkyvernClient({
    baseUrl,
    keys: [{ name: "key", key: new Secret("key"), organization: null }],
    request,
    fetch,
  });
}

/** A Skyvern that says this of the address; null: it has no such call. */
async function aSkyvern(said: object | null) {
  const asked: { path: string | undefined; body: string }[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      asked.push({ path: request.url, body: Buffer.concat(chunks).toString() });
      const isTry = request.method === "POST" && request.url === "/v1/internal/test-webhook";
      const answer = isTry ? said : request.url === "/v1/version" ? { version: "1.0.56" } : null;
      response.writeHead(answer === null ? 404 : 200).end(answer === null ? "{}" : JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return { asked, client: aClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`) };
}

const ask = async (said: object | null, given: { isHosted?: boolean; isAnswered?: boolean } = {}) => {
  const { client } = await aSkyvern(said);
  const settings = { config: { publicUrl: PUBLIC_URL }, isHosted: false, isAnswered: false, ...given };
  return askSkyvern(client, settings, signal);
};

const answered = (status_code: number, response_body = "") => ({
  status_code,
  latency_ms: 3,
  response_body,
  error: null,
});
const unreached = (error: string) => ({ status_code: null, latency_ms: 0, response_body: "", error });

describe("Skyvern's word on the address", () => {
  it("doctor has Skyvern try the webhook at an address of doctor's own, where samples reach no sink", async () => {
    const { asked, client } = await aSkyvern(answered(200));
    await askSkyvern(client, { config: { publicUrl: PUBLIC_URL }, isHosted: false, isAnswered: false }, signal);
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual({
      webhook_url: `${PUBLIC_URL}/webhook/skyvern-relay-doctor`,
      run_type: "workflow_run",
    });
  });

  it.each([
    [
      "reached, signature right",
      answered(200, '{"run_id":"wr_sample_123456789","result":"test","sinks":[]}'),
      "ok",
      /^Skyvern 1\.0\.56 reaches/,
      null,
    ],
    [
      "reached, another key",
      answered(401, '{"error":"x-skyvern-signature fits none of the configured keys"}'),
      "fault",
      /refuses its signature/,
      /SKYVERN_API_KEY/,
    ],
    ["redirected", answered(308), "fault", /follows no redirect/, /final address/],
    [
      "somebody else",
      answered(200, "<h1>It works!</h1>"),
      "fault",
      /which is no answer of a relay: .*It works/,
      /proxy/,
    ],
    [
      "no route",
      unreached("Could not reach URL: All connection attempts failed"),
      "fault",
      /does not reach.*attempts failed/,
      /firewall/,
    ],
    [
      "blocked",
      unreached("Invalid url: blocked host. Add the host to ALLOWED_HOSTS."),
      "fault",
      /blocked host/,
      /set ALLOWED_HOSTS=\["relay\.internal"\]/,
    ],
  ])("doctor says what Skyvern's trial of the webhook address came to: %s", async (_name, said, state, found, fix) => {
    const diagnosis = await ask(said);
    expect(diagnosis).toMatchObject({ state, found: expect.stringMatching(found) as string });
    if (fix !== null) expect(diagnosis).toMatchObject({ fix: expect.stringMatching(fix) as string });
  });

  it("doctor finds the address good when it answered Skyvern itself, in place of a relay that does not run", async () => {
    expect(await ask(answered(503), { isAnswered: true })).toMatchObject({ state: "ok" });
    expect(await ask(answered(503))).toMatchObject({ state: "fault" });
  });

  it("doctor asks for a public address where Skyvern is the hosted one", async () => {
    const diagnosis = await ask(unreached("Invalid url: blocked host."), { isHosted: true });
    expect(diagnosis).toMatchObject({ state: "fault", fix: expect.stringContaining("set PUBLIC_URL") as string });
  });

  it("doctor says nothing of the address where Skyvern has no call to try it", async () => {
    expect(await ask(null)).toBeNull();
  });

  it("doctor shows Skyvern's words on one line, without characters that could deceive", async () => {
    const diagnosis = await ask(unreached(`Could not reach URL: a\n\u001b[31mb${"x".repeat(5_000)}`));
    expect(diagnosis?.found).not.toMatch(/[\n\u001b]/);
    expect(diagnosis?.found.length).toBeLessThan(500);
  });
});

describe("the last runs", () => {
  const look = (skyvern: StandInSkyvern) => {
    const { pointsHere } = createAddresses(() => PUBLIC_URL);
    return checkTargets(aClient(skyvern.url), { publicUrl: PUBLIC_URL, pointsHere }, signal);
  };
  const withRuns = async (urls: (string | null)[]) => {
    const skyvern = await startSkyvern({ keys: ["key"] });
    onTestFinished(() => skyvern.close());
    for (const [i, webhookUrl] of urls.entries())
      skyvern.addRun(atSkyvern({ id: `tsk_${i}`, endedAt: 1e12, webhookUrl }));
    return skyvern;
  };

  it("doctor counts which of the last runs have this relay's webhook address", async () => {
    const here = `${PUBLIC_URL}/webhook`;
    expect(await look(await withRuns([here, here]))).toMatchObject({ state: "ok", found: "the last 2 runs lead here" });
    expect(await look(await withRuns([here, null, "https://elsewhere.example/hook"]))).toMatchObject({
      state: "warning",
      found: "2 of the last 3 runs do not lead here: they have another webhook address, or none",
    });
    expect(await look(await withRuns([]))).toBeNull();
  });

  it("doctor says which runs Skyvern does not show because it blocks their host", async () => {
    const skyvern = await withRuns([null, null]);
    const body = '{"detail":"Invalid webhook_url: blocked host."}';
    skyvern.faults.push({ on: /\/v1\/runs\/tsk_1$/, status: 400, body });
    expect(await look(skyvern)).toMatchObject({
      state: "warning",
      found: "1 of the last 2 runs cannot be read: Skyvern blocks the host of their webhook address",
    });
  });
});
