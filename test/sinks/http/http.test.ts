import { createSecretKey } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Webhook } from "standardwebhooks";
import { startHttpSink, type HttpSinkStandIn } from "../../support/http-sink.ts";
import { createEgress, type Egress } from "../../../src/net/egress.ts";
import { parseJson } from "../../../src/platform/json.ts";
import { ReportSchema } from "../../../src/domain/report.ts";
import http from "../../../src/sinks/http/index.ts";
import { renderBody, sign } from "../../../src/sinks/http/message.ts";
import { aJob, aReport, depsWith, noAbort, NOW } from "../a-report.ts";

const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const NEW_SECRET = `whsec_${Buffer.alloc(24, 9).toString("base64")}`;

let receiver: HttpSinkStandIn;
let egress: Egress;
beforeEach(async () => {
  receiver = await startHttpSink();
  egress = createEgress({ allow: ["127.0.0.1"] });
});
afterEach(async () => {
  await egress.close();
  await receiver.close();
});

const sinkWith = (config: Record<string, unknown> = {}, now = NOW) =>
  http.create("crm", http.config.parse({ url: receiver.url, secret: SECRET, ...config }), {
    ...depsWith(egress),
    now: () => now,
  });

const faultsOf = (config: unknown) => http.config.safeParse(config).error?.issues.map(({ path }) => path[0]) ?? [];
const bytes = (n: number) => Buffer.alloc(n, 1).toString("base64");

describe("what is sent", () => {
  test("an HTTP sink receives the run's status, its time and the report, as JSON", async () => {
    expect(await sinkWith().deliver(aJob(), noAbort())).toEqual({ kind: "delivered", receipt: { status: 200 } });
    const [request] = receiver.requests;
    expect(request).toMatchObject({ method: "POST", path: "/hooks/skyvern" });
    expect(request?.headers).toMatchObject({
      "content-type": "application/json",
      "user-agent": "skyvern-relay",
      accept: "*/*",
    });
    const body = JSON.parse(request?.body ?? "") as Record<string, unknown>;
    expect(Object.keys(body)).toEqual(["type", "timestamp", "data"]);
    expect(body).toMatchObject({ type: "run.completed", timestamp: "2026-01-20T12:00:31.000Z" });
    expect(ReportSchema.parse(body["data"])).toEqual(aReport());
  });

  test("an HTTP sink receives the time of receipt when the run has no end", () => {
    expect(renderBody({ report: aReport({ finished_at: null }) })).toContain('"timestamp":"2026-01-20T12:00:31.512Z"');
  });

  test("an HTTP sink receives every digit of a number", async () => {
    const output = parseJson('{"id":123456789012345678901,"rate":1e-07}');
    await sinkWith().deliver(aJob({ report: { output } }), noAbort());
    expect(receiver.requests[0]?.body).toContain('"output":{"id":123456789012345678901,"rate":1e-07}');
  });

  test("an HTTP sink receives an output whole, however long", async () => {
    await sinkWith().deliver(aJob({ report: { summary: "x".repeat(300_000) } }), noAbort());
    expect(receiver.requests[0]?.body).toContain("x".repeat(300_000));
  });
});

describe("the signature", () => {
  test("the signature of a request passes a Standard Webhooks library, over the bytes that were sent", async () => {
    await sinkWith({}, Date.now()).deliver(aJob(), noAbort());
    const [request] = receiver.requests;
    expect(new Webhook(SECRET).verify(request?.body ?? "", request?.headers ?? {})).toMatchObject({
      type: "run.completed",
    });
  });

  test("the signature of a request passes with the old secret and with the new one while both are configured", async () => {
    await sinkWith({ secret: [SECRET, NEW_SECRET] }, Date.now()).deliver(aJob(), noAbort());
    const [request] = receiver.requests;
    for (const secret of [SECRET, NEW_SECRET]) {
      expect(() => new Webhook(secret).verify(request?.body ?? "", request?.headers ?? {})).not.toThrow();
    }
    expect(request?.headers["webhook-signature"]).toMatch(/^v1,\S+ v1,\S+$/);
  });

  test("the signature of a request matches a known answer", () => {
    // Computed by: printf '%s' 'msg_1.1674087231.{"a":1}' | openssl dgst -sha256 -hmac 'abcdefghijklmnopqrstuvwx' -binary | base64
    const signed = { id: "msg_1", timestamp: 1_674_087_231, body: '{"a":1}' };
    expect(sign(signed, [createSecretKey("abcdefghijklmnopqrstuvwx", "utf8")])).toBe(
      "v1,g6ldUKQEdQyAkNhlUN0Yh7G4+mSZ/SSzY12iHV5g2UM=",
    );
  });

  test("the signature of a request carries the attempt's time and the delivery's id", async () => {
    await sinkWith().deliver(aJob({ deliveryId: "dlv_1" }), noAbort());
    expect(receiver.requests[0]?.headers).toMatchObject({
      "webhook-id": "dlv_1",
      "webhook-timestamp": String(Math.floor(NOW / 1000)),
    });
  });

  test("a request without a secret has no signature, and still id and timestamp", async () => {
    await sinkWith({ secret: undefined }).deliver(aJob(), noAbort());
    const headers = receiver.requests[0]?.headers ?? {};
    expect(headers).not.toHaveProperty("webhook-signature");
    expect(headers).toHaveProperty("webhook-id");
    expect(headers).toHaveProperty("webhook-timestamp");
  });
});

describe("headers", () => {
  test("headers from the configuration are added to a request", async () => {
    await sinkWith({ headers: { Authorization: "Bearer t0ken", "X-Team": "ops" } }).deliver(aJob(), noAbort());
    expect(receiver.requests[0]?.headers).toMatchObject({ authorization: "Bearer t0ken", "x-team": "ops" });
  });

  test("a user and password in the URL become an Authorization header", async () => {
    await sinkWith({ url: receiver.url.replace("://", "://us%40er:p%3Aw@") }).deliver(aJob(), noAbort());
    expect(receiver.requests[0]?.headers["authorization"]).toBe(`Basic ${Buffer.from("us@er:p:w").toString("base64")}`);
  });
});

describe("an answer", () => {
  test("an answer that refuses is quoted in the reason, short and printable", async () => {
    receiver.answers.push({ status: 422, body: `{"error":"no such\r\n\u001b[2Jteam"}${"x".repeat(5000)}` });
    const outcome = await sinkWith().deliver(aJob(), noAbort());
    expect(outcome).toMatchObject({ kind: "dead", reason: expect.stringContaining("answered 422. It said: ") });
    expect(outcome).toHaveProperty("reason", expect.stringContaining('{"error":"no such [2Jteam"}xxx'));
    expect((outcome as { reason: string }).reason.length).toBeLessThan(300);
  });

  test("an answer that repeats the request shows none of its secrets", async () => {
    const secrets = ["p4ssw0rd", "t0p-s3cret", "hdr-s3cret-value", "/hooks/skyvern-path-token-1234"];
    const url = `${receiver.url.replace("://", "://user:p4ssw0rd@").replace("/hooks/skyvern", "/hooks/skyvern-path-token-1234")}?key=t0p-s3cret`;
    const basic = Buffer.from("user:p4ssw0rd").toString("base64");
    receiver.answers.push({ status: 400, body: [...secrets, basic, SECRET, SECRET.slice(6)].join(" ") });
    const outcome = await sinkWith({ url, headers: { "X-Key": "hdr-s3cret-value" } }).deliver(aJob(), noAbort());
    for (const secret of [...secrets.slice(0, 3), "path-token", basic, SECRET.slice(6, 30)]) {
      expect(JSON.stringify(outcome)).not.toContain(secret);
    }
  });

  test("an answer whose body never ends counts by its status", async () => {
    receiver.answers.push({ status: 200, body: "to be continued", unfinished: true });
    const outcome = await sinkWith().deliver(aJob(), AbortSignal.timeout(1_500));
    expect(outcome).toEqual({ kind: "delivered", receipt: { status: 200 } });
  });

  test("an answer of 410 means that the sink is gone", async () => {
    receiver.answers.push({ status: 410 });
    expect(await sinkWith().deliver(aJob(), noAbort())).toMatchObject({ kind: "dead", gone: true });
  });

  test("an answer that redirects is not followed", async () => {
    receiver.answers.push({ status: 307, headers: { location: receiver.url } });
    expect(await sinkWith().deliver(aJob(), noAbort())).toMatchObject({ kind: "dead" });
    expect(receiver.requests).toHaveLength(1);
  });
});

test("a sink at a private address is dead, and names the variable that allows it", async () => {
  const guarded = createEgress({ allow: [] });
  const sink = http.create("crm", http.config.parse({ url: receiver.url }), {
    ...depsWith(guarded),
  });
  const outcome = await sink.deliver(aJob(), noAbort());
  await guarded.close();
  expect(outcome).toMatchObject({ kind: "dead", reason: expect.stringContaining("ALLOW_PRIVATE_NETWORKS") });
  expect(receiver.requests).toHaveLength(0);
});

describe("the configuration", () => {
  const url = "https://crm.example.com/hooks";

  test("an HTTP sink takes one secret, several with commas, or a list", () => {
    for (const secret of [SECRET, `${SECRET}, ${NEW_SECRET}`, [SECRET, NEW_SECRET]]) {
      expect(http.config.parse({ url, secret }).secret.map((each) => each.reveal())[0]).toBe(SECRET);
    }
  });

  test.each([
    ["no prefix", bytes(32)],
    ["no base64", "whsec_not base64!"],
    ["23 bytes", `whsec_${bytes(23)}`],
    ["65 bytes", `whsec_${bytes(65)}`],
    ["a cut value", `whsec_${bytes(32).slice(0, 41)}`],
  ])("an HTTP sink refuses a secret of %s, without repeating it", (_name, secret) => {
    const { error } = http.config.safeParse({ url, secret });
    expect(error?.issues).toMatchObject([{ path: ["secret"], message: expect.stringContaining("24 to 64 bytes") }]);
    expect(JSON.stringify(error?.issues)).not.toContain(secret);
  });

  test.each([[""], [[]], [[SECRET, ""]]])("an HTTP sink refuses the secret %j", (secret) => {
    expect(faultsOf({ url, secret })).toEqual(["secret"]);
  });

  test.each(["", "crm.example.com", "ftp://crm.example.com", "javascript:alert(1)"])(
    "an HTTP sink refuses the URL %j",
    (url) => {
      expect(faultsOf({ url })).toEqual(["url"]);
    },
  );

  test.each([
    { "Content-Type": "x" },
    { "webhook-id": "x" },
    { Host: "x" },
    { "a b": "x" },
    { a: "x\r\nb: y" },
    { a: "é€" },
  ])("an HTTP sink refuses the headers %j", (headers) => {
    expect(faultsOf({ url, headers })).toEqual(["headers"]);
  });

  test("an HTTP sink refuses a key it does not know", () => {
    expect(http.config.safeParse({ url, secrets: SECRET }).success).toBe(false);
  });

  test("an HTTP sink prints none of its secrets", () => {
    const config = http.config.parse({
      url: "https://u:p4ss@crm.example.com/?k=t0p",
      secret: SECRET,
      headers: { a: "hdr-s3cret" },
    });
    expect(JSON.stringify(config)).not.toMatch(/p4ss|t0p|whsec|hdr-s3cret/);
  });
});
