/** What people see when more is known of a run, and when its outcome really changed. */
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/platform/json.ts";
import { toIncomingRun, type DecideDeps } from "../../src/receive/decide.ts";
import { readPayload } from "../../src/skyvern/payload.ts";
import type { Decision, Known } from "../../src/store/contract/receipts.ts";
import { anApp, type TestApp } from "../support/app.ts";
import { corrections, topLevel } from "../support/at-skyvern.ts";
import { at, toldOf, webhook } from "../support/orderings.ts";
import { aRuntime } from "../support/runtime.ts";
import { until } from "../support/until.ts";

const HOUR = 3_600_000;
const ID = "tsk_v2_1";
/** It ended twice: the later word counts. */
const COMPLETED = webhook("task_v2.completed", ID, at(0));
const CANCELED = webhook("task_v2.canceled", ID, at(5_000));
const FAILED = webhook("task_v2.failed", ID, at(9_000));
const AGAIN = webhook("task_v2.completed", ID, at(12_000));
const MORE = webhook("task_v2.completed", ID, { ...at(1_000), summary: "And another thing." });

const FILE = `sinks:
  crm: { kind: http, url: "\${SINK_URL}?sink=crm", secret: "\${SINK_SECRET}" }
  all: { kind: http, url: "\${SINK_URL}?sink=all", secret: "\${SINK_SECRET}", updates: true }
`;

async function aRelay(file = FILE) {
  const runtime = aRuntime();
  const relay = await anApp({}, { runtime, standIns: ["slack", "smtp", "http"], file });
  return {
    relay,
    ...relay.standIns,
    /** A webhook comes, and what is due is delivered. */
    arrive: async (body: string): Promise<unknown> => {
      const answer = await relay.webhook(body);
      await relay.deliver();
      return answer.json()["result"];
    },
    retry: async () => {
      runtime.advance(HOUR);
      await relay.deliver();
    },
  };
}

const deliveriesOf = async (relay: TestApp, sink: string) =>
  (
    await relay.read<{ deliveries: { sink: string; cause: string; state: string; revision: number }[] }>(
      `/v1/runs/${ID}`,
    )
  ).deliveries
    .filter((delivery) => delivery.sink === sink)
    .map(({ cause, state, revision }) => `${cause} ${state} ${revision}`);

describe("more data for the same outcome", () => {
  it("new data for the same outcome edit the Slack message in silence, and reach only HTTP sinks that want updates", async () => {
    const { relay, slack, smtp, arrive } = await aRelay();
    await arrive(COMPLETED);
    expect(await arrive(MORE)).toBe("updated");
    const [message, ...others] = topLevel(slack);
    expect(others).toEqual([]);
    expect(message?.edits).toHaveLength(1);
    expect(JSON.stringify(message?.blocks)).toContain("And another thing.");
    expect(corrections(slack)).toEqual([]);
    expect(smtp.messages).toHaveLength(1);
    const { crm, all } = toldOf(relay, ID);
    expect(crm.map(({ data }) => data.revision)).toEqual([1]);
    expect(all.map(({ type, data }) => `${type} ${data.revision}`)).toEqual(["run.completed 1", "run.completed 2"]);
    expect(new Set(all.map(({ id }) => id)).size).toBe(2);
  });

  it("new data for a run that come before the first delivery are part of that delivery", async () => {
    const { relay, slack, arrive } = await aRelay();
    await relay.webhook(COMPLETED);
    await arrive(MORE);
    expect(topLevel(slack)).toMatchObject([{ edits: [] }]);
    const { crm, all } = toldOf(relay, ID);
    expect([...crm, ...all].map(({ data }) => data.revision)).toEqual([2, 2]);
  });

  it("new data for a run are delivered once, however often they change while the sink is away", async () => {
    const { relay, http, arrive, retry } = await aRelay(FILE.replace(/\n {2}crm.*/, ""));
    await arrive(COMPLETED);
    http.answers.push({ status: 503 });
    await arrive(MORE);
    await arrive(webhook("task_v2.completed", ID, { ...at(2_000), summary: "Third." }));
    await arrive(webhook("task_v2.completed", ID, { ...at(3_000), summary: "Fourth." }));
    await retry();
    expect(await deliveriesOf(relay, "all")).toEqual(["result delivered 1", "update delivered 4", "update canceled 3"]);
    expect(toldOf(relay, ID).all.map(({ data }) => data.revision)).toEqual([1, 2, 4]);
  });
});

describe("another outcome", () => {
  it("another outcome edits the message, adds one line to its thread, and sends one mail in the thread of the first", async () => {
    const { relay, slack, arrive } = await aRelay();
    await arrive(COMPLETED);
    expect(await arrive(CANCELED)).toBe("corrected");
    expect(await arrive(CANCELED)).toBe("duplicate");

    const { messages, replies, mails, crm, all } = toldOf(relay, ID);
    expect(messages).toHaveLength(1);
    expect(messages[0]?.edits).toHaveLength(1);
    expect(messages[0]?.text).toContain("Canceled");
    expect(replies).toMatchObject([
      { thread_ts: messages[0]?.ts, text: expect.stringContaining("now Canceled") as string },
    ]);
    expect(slack.calls.filter(({ method }) => method === "chat.update")).toHaveLength(1);
    expect(mails).toMatchObject([
      { subject: expect.stringContaining("Completed:") as string, inReplyTo: undefined },
      { subject: expect.stringMatching(/^Correction: .*Canceled:/) as string, inReplyTo: mails[0]?.id },
    ]);
    for (const requests of [crm, all]) {
      expect(requests.map(({ type, data }) => `${type} ${data.revision}`)).toEqual([
        "run.completed 1",
        "run.canceled 2",
      ]);
    }
  });

  it("a correction is sent once to every channel that has the result, and where the routes send it now", async () => {
    const { relay, slack, arrive } = await aRelay(`sinks:
  a: { kind: slack, token: "\${SLACK_BOT_TOKEN}", channel: C0123ABCD, api_url: "\${SLACK_API_URL}" }
  crm: { kind: http, url: "\${SINK_URL}?sink=crm", secret: "\${SINK_SECRET}" }
  late: { kind: http, url: "\${SINK_URL}?sink=all", secret: "\${SINK_SECRET}" }
routes:
  - { name: good, when: { status: completed }, to: [a] }
  - { name: bad, when: { status: canceled }, to: [late] }
`);
    await arrive(COMPLETED);
    await arrive(CANCELED);
    expect(topLevel(slack)).toHaveLength(1);
    expect(corrections(slack)).toHaveLength(1);
    expect(await deliveriesOf(relay, "late")).toEqual(["result delivered 2"]);
    expect(await deliveriesOf(relay, "crm")).toEqual([]);
  });

  it("another outcome that comes before the first delivery is the only message", async () => {
    const { relay, slack, smtp, arrive } = await aRelay();
    await relay.webhook(COMPLETED);
    await arrive(CANCELED);
    expect(topLevel(slack)).toMatchObject([{ edits: [], text: expect.stringContaining("Canceled") as string }]);
    expect(corrections(slack)).toEqual([]);
    expect(smtp.messages).toHaveLength(1);
    expect(await deliveriesOf(relay, "slack")).toEqual(["result canceled 1", "result delivered 2"]);
  });

  it("a correction takes the place of a pending update and of a pending correction", async () => {
    const { relay, http, arrive, retry } = await aRelay(FILE.replace(/\n {2}crm.*/, ""));
    await arrive(COMPLETED);
    // Nothing is delivered between these.
    await relay.webhook(MORE);
    await relay.webhook(CANCELED);
    await relay.webhook(FAILED);
    expect(http.requests).toHaveLength(1);
    await retry();
    expect(await deliveriesOf(relay, "all")).toEqual([
      "result delivered 1",
      "update canceled 2",
      "correction canceled 3",
      "correction delivered 4",
    ]);
    const { messages, replies, mails, all } = toldOf(relay, ID);
    expect([messages.length, replies.length, mails.length, all.length]).toEqual([1, 1, 2, 2]);
    expect(mails[1]?.subject).toMatch(/^Correction: .*Failed:/);
  });

  it("an outcome that a sink was told, and that was another only where it was not told, is no correction", async () => {
    const { relay, slack, smtp, arrive } = await aRelay();
    await arrive(COMPLETED);
    await relay.webhook(CANCELED);
    expect(await arrive(AGAIN)).toBe("corrected");
    expect(await deliveriesOf(relay, "crm")).toEqual(["result delivered 1", "correction canceled 2"]);
    expect(await deliveriesOf(relay, "all")).toEqual([
      "result delivered 1",
      "correction canceled 2",
      "update delivered 3",
    ]);
    expect([topLevel(slack).length, corrections(slack).length, smtp.messages.length]).toEqual([1, 0, 1]);
    expect(await arrive(webhook("task_v2.failed", ID, at(15_000)))).toBe("corrected");
    expect([corrections(slack).length, smtp.messages.length]).toEqual([1, 2]);
  });

  it("a sink corrects what it was told last, once it was told each outcome", async () => {
    const { slack, smtp, arrive } = await aRelay();
    for (const body of [COMPLETED, CANCELED, AGAIN]) await arrive(body);
    expect([topLevel(slack).length, corrections(slack).length, smtp.messages.length]).toEqual([1, 2, 3]);
  });

  it("a correction is canceled while the first message surely did not go out, and that message shows the new outcome", async () => {
    const { relay, slack, smtp, http, arrive, retry } = await aRelay();
    slack.faults.push({ method: "chat.postMessage", status: 429, retryAfter: 1 });
    smtp.faults.push({ at: "mail", code: 451 });
    http.answers.push({ status: 503 }, { status: 503 });
    await arrive(COMPLETED);
    await arrive(CANCELED);
    await retry();
    for (const sink of ["slack", "email", "crm", "all"])
      expect(await deliveriesOf(relay, sink)).toEqual(["result delivered 2", "correction canceled 2"]);
    const { messages, replies, mails } = toldOf(relay, ID);
    expect(messages).toMatchObject([{ edits: [], text: expect.stringContaining("Canceled") as string }]);
    expect([replies.length, mails.length]).toEqual([0, 1]);
  });

  it("a correction after a lost answer finds the message again, edits it, and answers once in its thread", async () => {
    const { relay, slack, arrive, retry } = await aRelay();
    slack.faults.push({ method: "chat.postMessage", resetAfterSuccess: true });
    await arrive(COMPLETED);
    expect(topLevel(slack)).toHaveLength(1);
    await arrive(CANCELED);
    await retry();
    const { messages, replies } = toldOf(relay, ID);
    expect(messages).toMatchObject([{ text: expect.stringContaining("Canceled") as string }]);
    expect(replies).toHaveLength(1);
    expect(await deliveriesOf(relay, "slack")).toEqual(["result delivered 1", "correction delivered 2"]);
  });

  it("no correction is sent where the message whose answer was lost never got there", async () => {
    const { relay, slack, arrive, retry } = await aRelay();
    slack.faults.push({ method: "chat.postMessage", drop: true });
    await arrive(COMPLETED);
    await arrive(CANCELED);
    await retry();
    const { messages, replies } = toldOf(relay, ID);
    expect(messages).toMatchObject([{ edits: [], text: expect.stringContaining("Canceled") as string }]);
    expect(replies).toEqual([]);
    expect(await deliveriesOf(relay, "slack")).toEqual(["result delivered 2", "correction canceled 2"]);
  });

  it("a correction follows a mail and a request whose answer was lost, as their receivers saw the old outcome only", async () => {
    const { relay, smtp, http, arrive, retry } = await aRelay();
    smtp.faults.push({ at: "reply", do: "drop" });
    http.answers.push({ reset: true }, { reset: true });
    await arrive(COMPLETED);
    await arrive(CANCELED);
    await retry();
    const { mails, crm } = toldOf(relay, ID);
    expect(mails.map(({ id }) => id)).toEqual([
      mails[0]?.id,
      mails[0]?.id,
      expect.not.stringMatching(mails[0]?.id ?? ""),
    ]);
    expect(mails[2]?.subject).toMatch(/^Correction: .*Canceled:/);
    expect(crm.map(({ id, type }) => [id === crm[0]?.id, type])).toEqual([
      [true, "run.completed"],
      [true, "run.canceled"],
      [false, "run.canceled"],
    ]);
  });

  it("a correction whose own answer was lost is posted once in the thread", async () => {
    const { relay, slack, arrive, retry } = await aRelay();
    await arrive(COMPLETED);
    slack.faults.push({ method: "chat.postMessage", resetAfterSuccess: true });
    await arrive(CANCELED);
    await retry();
    const { messages, replies } = toldOf(relay, ID);
    expect([messages.length, replies.length]).toEqual([1, 1]);
    expect(await deliveriesOf(relay, "slack")).toEqual(["result delivered 1", "correction delivered 2"]);
  });

  it("a correction is a message of its own where the first one died", async () => {
    const { relay, slack, arrive } = await aRelay();
    slack.faults.push({ method: "chat.postMessage", error: "is_archived" });
    await arrive(COMPLETED);
    await arrive(CANCELED);
    expect(await deliveriesOf(relay, "slack")).toEqual(["result canceled 1", "correction delivered 2"]);
    expect(toldOf(relay, ID).messages).toMatchObject([{ text: expect.stringContaining("Canceled") as string }]);
  });

  it("a correction that comes while the first message is on its way follows it", async () => {
    const { relay, http, retry } = await aRelay(`${FILE.replace(/\n {2}all.*/, "")}delivery: { timeout: 2s }\n`);
    http.answers.push({ hang: true });
    await relay.webhook(COMPLETED);
    const delivering = relay.deliver();
    await until("the request is on its way", () => http.requests.length === 1);
    expect((await relay.webhook(CANCELED)).json()).toMatchObject({ result: "corrected" });
    await delivering;
    await retry();
    const { crm, messages } = toldOf(relay, ID);
    expect(crm.map(({ id, type }) => [id === crm[0]?.id, type])).toEqual([
      [true, "run.completed"],
      [true, "run.canceled"],
      [false, "run.canceled"],
    ]);
    expect(messages).toHaveLength(1);
  });
});

describe("what was told is not known for sure", () => {
  const crm: Known["deliveries"][number] = {
    id: "dlv_000000000000000000000001",
    subject: "run",
    revision: 1,
    sink: "crm",
    kind: "http",
    state: "delivered",
    attempts: 2,
  };

  /** Decides about one webhook after the other. A sink has the first outcome as the given delivery tells it. */
  function decideAll(bodies: readonly string[], told = crm): Decision {
    const runtime = aRuntime();
    const deps = {
      routes: [{ name: "all", when: {}, to: ["crm"] }],
      sinks: [{ name: "crm", kind: "http", updates: false }],
      organizations: [],
      archives: false,
      runtime,
    } as unknown as DecideDeps;
    let last: Decision | null = null;
    for (const body of bodies) {
      const parsed = readPayload(JSON.parse(body) as JsonObject);
      if (!("payload" in parsed)) throw new Error("not a run");
      const origin = {
        source: "webhook",
        organization: null,
        channel: null,
        query: null,
        receivedAt: runtime.now(),
      } as const;
      const { decide } = toIncomingRun(deps, parsed.payload, origin, runtime.now());
      last = decide(last && { state: last.state, deliveries: [told] });
    }
    return last!;
  }
  const causes = ({ deliveries }: Decision): string[] => deliveries.map(({ cause }) => cause);

  it("a message whose earlier attempt lost its answer may have told the outcome between: it is corrected", () => {
    const bodies = [COMPLETED, CANCELED, AGAIN];
    expect(causes(decideAll(bodies))).toEqual([]);
    expect(causes(decideAll(bodies, { ...crm, maybe_sent: 1 }))).toEqual(["correction"]);
  });

  it("a run whose outcome changes without end keeps few of the outcomes before, and corrects what was told long ago", () => {
    const flips = Array.from({ length: 101 }, (_none, i) =>
      webhook(i % 2 === 0 ? "task_v2.completed" : "task_v2.canceled", ID, at(i * 1_000)),
    );
    const last = decideAll(flips);
    expect(last.verdict).toBe("corrected");
    expect(last.state.replaced?.length).toBeLessThanOrEqual(20);
    expect(causes(last)).toEqual(["correction"]);
    const lately = { ...crm, revision: 99 };
    expect(causes(decideAll(flips, lately))).toEqual([]);
  });
});
