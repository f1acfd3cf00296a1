/**
 * A storm into one Slack channel that limits, fails and loses answers (P4). `scripts/faults` runs the long form: 500
 * results within a minute at Slack's own pace of one message a second.
 */
import { setTimeout as pause } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { startSlack, type SlackFault } from "../support/slack.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { aListeningApp } from "../support/app.ts";
import { mutated } from "../support/fixtures.ts";
import { until } from "../support/until.ts";
import { amountOf, chanceOf, isLong, SEED } from "./support/chance.ts";

const RESULTS = amountOf("RELAY_FAULT_RESULTS", 60);
const LONG = RESULTS >= 500;
/** Messages a second: Slack's own limit in the long form. */
const PACE = LONG ? 1 : 50;
const ARRIVE_WITHIN_MS = LONG ? 60_000 : 1_000;
/** Messages are counted here, not the pictures that come with them. */
const NO_FILES = { screenshot_urls: null, recording_url: null, downloaded_files: null };

it(
  `Slack shows ${RESULTS} results each once, in order, through 10 % 429, 5 % 5xx and 5 % timeouts after success (seed ${SEED})`,
  { timeout: 60_000 + (RESULTS / PACE) * 4_000 },
  async () => {
    const chance = chanceOf(SEED);
    const met = { limited: 0, failed: 0, lost: 0 };
    const slack = await startSlack({
      messagesPerSecond: PACE,
      burst: LONG ? 2 : 10,
      faultOf: ({ method }): SlackFault | undefined => {
        const draw = chance.next();
        if (draw < 0.1) return count("limited", { status: 429, retryAfter: 1 });
        if (draw < 0.15) return count("failed", { status: chance.oneOf([500, 502, 503]) });
        if (draw < 0.2 && method === "chat.postMessage") return count("lost", { hangAfterSuccess: true });
        return undefined;
      },
    });
    const count = (kind: keyof typeof met, fault: SlackFault): SlackFault => {
      met[kind] += 1;
      return fault;
    };
    onTestFinished(() => slack.close());
    const relay = await aListeningApp(
      {},
      {
        file: JSON.stringify({
          sinks: {
            chat: {
              kind: "slack",
              token: slack.token,
              channel: "C0123ABCD",
              api_url: slack.url,
              messages_per_second: PACE,
            },
          },
          delivery: {
            schedule: ["50ms", "100ms", "200ms", ...Array<string>(20).fill("1s")],
            timeout: LONG ? "2s" : "300ms",
          },
        }),
      },
    );
    const runIds = Array.from({ length: RESULTS }, (_, i) => `tsk_${String(i + 1).padStart(4, "0")}`);
    for (const runId of runIds) {
      const body = mutated("task_v1.completed", { ...NO_FILES, run_id: runId, task_id: runId });
      relay.standIns.skyvern.addRun({ payload: JSON.parse(body) as JsonObject });
      expect((await relay.webhook(body)).status).toBe(200);
      await pause(ARRIVE_WITHIN_MS / RESULTS);
    }
    const sink = async () => {
      const { data } = await relay.read<{ data: { backlog: number; dead: number }[] }>("/v1/sinks");
      return data[0] ?? { backlog: -1, dead: -1 };
    };
    await until("the backlog to drain", async () => (await sink()).backlog === 0, 30_000 + (RESULTS / PACE) * 3_000);
    const parents = slack.messages().filter(({ thread_ts }) => thread_ts === null);
    const visible = parents.map(({ metadata }) => metadata?.event_payload["run_id"]);
    expect(visible).toEqual(runIds);
    expect(await sink()).toMatchObject({ dead: 0, state: "closed" });
    expect(Math.min(...Object.values(met))).toBeGreaterThan(0);
    if (isLong) {
      const looks = slack.calls.filter(({ method }) => method === "conversations.history").length;
      console.info("slack-storm", JSON.stringify({ results: RESULTS, ...met, history_looks: looks }));
    }
  },
);
