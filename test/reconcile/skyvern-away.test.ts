/** A relay whose Skyvern does not answer: webhooks are taken all the same, and messages go out without names. */
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/platform/json.ts";
import type { StandInFault } from "../support/skyvern.ts";
import { DETAILS_DELAY_MS } from "../../src/domain/follow-up-plan.ts";
import { anApp, type TestApp } from "../support/app.ts";
import { atSkyvern, topLevel } from "../support/at-skyvern.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const NO_FILES = Object.fromEntries(
  ["recording_url", "screenshot_urls", "action_screenshot_urls", "screenshot_url", "downloaded_files"].map((key) => [
    key,
    null,
  ]),
);
const TASK = atSkyvern({ id: "tsk_1", endedAt: NOW - 1_000, payload: NO_FILES });

const AWAY: [string, StandInFault][] = [
  ["hangs", { instead: "hang" }],
  ["resets each connection", { instead: "reset" }],
  ["answers 503", { status: 503 }],
];

async function aRelay(fault: StandInFault) {
  const runtime = aRuntime();
  const file = `
delivery: { artifacts_wait: 300ms }
sinks:
  ops: { kind: slack, token: "\${SLACK_BOT_TOKEN}", channel: "\${SLACK_CHANNEL}" }
  crm: { kind: http, url: "\${SINK_URL}", secret: "\${SINK_SECRET}", updates: true }
`;
  const relay = await anApp({}, { runtime, standIns: ["slack", "http"], file });
  relay.standIns.skyvern.addRun(TASK);
  relay.standIns.skyvern.faults.push({ times: 1_000, ...fault });
  return { relay, runtime };
}

const told = ({ standIns }: TestApp): JsonObject[] =>
  standIns.http.requests.map(({ body }) => (JSON.parse(body) as { data: JsonObject }).data);

describe.each(AWAY)("a Skyvern that %s", (_what, fault) => {
  it("a Skyvern that is away is not asked before its webhook is answered", async () => {
    const { relay } = await aRelay(fault);

    const answer = await relay.webhook(JSON.stringify(TASK.payload));

    expect(answer.json()).toMatchObject({ result: "accepted" });
    expect(relay.standIns.skyvern.calls).toEqual([]);
    expect(told(relay)).toEqual([]);
  });

  it("a Skyvern that is away holds a message up for one wait; it goes out without a name, and is edited afterwards", async () => {
    const { relay, runtime } = await aRelay(fault);
    await relay.webhook(JSON.stringify(TASK.payload));

    await relay.deliver();

    const asked = relay.standIns.skyvern.calls.map(({ path }) => path);
    expect(new Set(asked)).toEqual(new Set(["/v1/runs/tsk_1/artifacts"]));
    expect(asked.length).toBeLessThanOrEqual(8);
    expect(told(relay)).toMatchObject([{ revision: 1, title: null, prompt: null, url: null, status: "completed" }]);
    const [message] = topLevel(relay.standIns.slack);
    expect(JSON.stringify(message?.blocks[0])).toContain("Completed: Task");
    expect(message?.edits).toHaveLength(0);

    relay.standIns.skyvern.faults.splice(0);
    runtime.advance(DETAILS_DELAY_MS);
    expect(await relay.app.followUp()).toBe(1);
    await relay.deliver();

    expect(told(relay)).toMatchObject([{ revision: 1 }, { revision: 2, prompt: "Do tsk_1", status: "completed" }]);
    const [edited, ...more] = topLevel(relay.standIns.slack);
    expect(more).toEqual([]);
    expect(edited?.edits).toHaveLength(1);
    expect(JSON.stringify(edited?.blocks[0]).replaceAll("\u2060", "")).toContain("portal.example.com: Do tsk_1");
  });
});
