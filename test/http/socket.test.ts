import { describe, expect, it } from "vitest";
import { aListeningApp } from "../support/app.ts";
import { FIXTURE_KEY, signatureOf } from "../support/fixtures.ts";

const BODY = '{"run_id":"tsk_1","status":"completed"}';
const signed = (body: string, key = FIXTURE_KEY) => ({ "x-skyvern-signature": signatureOf(Buffer.from(body), key) });

describe("the webhook on a socket", () => {
  it.each<[string, string, RequestInit & { body: string }]>([
    ["a run", "/webhook/billing", { body: BODY, headers: signed(BODY) }],
    ["the root", "/?x=1", { body: BODY, headers: signed(BODY) }],
    ["a trailing slash", "/webhook/billing/", { body: BODY, headers: signed(BODY) }],
    ["what is not understood", "/webhook", { body: "[]", headers: signed("[]") }],
    ["an empty body", "/webhook", { body: "", headers: signed("") }],
    ["a one-time-code request", "/webhook", { body: '{"task_id":"t"}', headers: signed('{"task_id":"t"}') }],
    ["no signature", "/webhook", { body: BODY }],
    ["another key", "/webhook", { body: BODY, headers: signed(BODY, "another key") }],
    ["a label that is none", "/webhook/a.b", { body: BODY, headers: signed(BODY) }],
    ["a spelled-out label", "/webhook/bill%69ng", { body: BODY, headers: signed(BODY) }],
    ["too large", "/webhook", { body: "x".repeat(11 << 20), headers: signed("") }],
    ["another address", "/webhook/a/b", { body: BODY, headers: signed(BODY) }],
  ])("the webhook answers on a socket as when it is called as a function: %s", async (_what, path, init) => {
    const listening = await aListeningApp();
    const called = await aListeningApp();
    const bySocket = await fetch(`${listening.url}${path}`, { ...init, method: "POST" });
    const byCall = await called.app.fetch(new Request(`http://relay.test${path}`, { ...init, method: "POST" }));
    expect([bySocket.status, bySocket.headers.get("content-type"), await bySocket.text()]).toEqual([
      byCall.status,
      byCall.headers.get("content-type"),
      await byCall.text(),
    ]);
  });
});
