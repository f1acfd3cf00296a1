/** What a sink corrects when its kind was changed under its name, on a database that both relays open in turn. */
import { join } from "node:path";
import { expect, it } from "vitest";
import { aFolder, anApp } from "../support/app.ts";
import { at, webhook } from "../support/orderings.ts";
import { aRuntime } from "../support/runtime.ts";

const ID = "tsk_v2_1";
const COMPLETED = webhook("task_v2.completed", ID, at(0));
const CANCELED = webhook("task_v2.canceled", ID, at(5_000));

/** The relay whose sink `team` is Slack, and how to start the one where it is email, once the first has stopped. */
async function aChangedKind() {
  const env = { DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}` };
  const runtime = aRuntime();
  const before = await anApp(env, {
    runtime,
    standIns: ["slack"],
    file: `sinks: { team: { kind: slack, token: "\${SLACK_BOT_TOKEN}", channel: C0123ABCD, api_url: "\${SLACK_API_URL}" } }`,
  });
  const after = () =>
    anApp(env, {
      runtime,
      standIns: ["smtp"],
      file: `sinks: { team: { kind: email, smtp: "\${SMTP_URL}", from: relay@example.com, to: [ap@example.com] } }`,
    });
  return { runtime, before, after };
}

it("a sink that is of another kind by now corrects nothing that it told as the one before", async () => {
  const { before, after } = await aChangedKind();
  await before.webhook(COMPLETED);
  await before.deliver();
  await before.stop();
  const relay = await after();
  expect((await relay.webhook(CANCELED)).json()).toMatchObject({ result: "corrected" });
  await relay.deliver();
  const { deliveries } = await relay.read<{ deliveries: { sink: string }[] }>(`/v1/runs/${ID}`);
  expect(deliveries.filter(({ sink }) => sink === "team")).toMatchObject([
    { kind: "slack", cause: "result", state: "delivered", revision: 1 },
    { kind: "email", cause: "result", state: "delivered", revision: 2 },
  ]);
  expect(relay.standIns.smtp.messages.map(({ raw }) => raw.includes("Correction"))).toEqual([false, false]);
});

it("what a sink could not deliver before its kind was changed goes out once", async () => {
  const { runtime, before, after } = await aChangedKind();
  const limited = { method: "chat.postMessage", status: 429, retryAfter: 1 };
  before.standIns.slack.faults.push(limited, { ...limited });
  await before.webhook(COMPLETED);
  await before.deliver();
  await before.stop();
  const relay = await after();
  await relay.webhook(CANCELED);
  runtime.advance(3_600_000);
  await relay.deliver();
  const team = relay.standIns.smtp.messages.filter(({ raw }) => raw.includes("To: ap@example.com"));
  expect(team.map(({ raw }) => /^Subject: .*/m.exec(raw)?.[0])).toEqual([expect.stringContaining("Canceled")]);
});
