/**
 * kill -9 (P1, P4): at each step of the way by order, and at any moment by chance. `scripts/faults` runs the long form.
 */
import { setTimeout as pause } from "node:timers/promises";
import Sqlite from "better-sqlite3";
import { describe, expect, it } from "vitest";
import { until } from "../support/until.ts";
import { amountOf, chanceOf, isLong, SEED, type Chance } from "./support/chance.ts";
import { aLoad, calm, moody, type Load } from "./support/load.ts";
import { aHold, type Gate, type Hold, type Proxy } from "./support/proxy.ts";
import {
  aWebhook,
  aWorld,
  drained,
  outbox,
  sendWebhook,
  SINKS,
  type RelayProcess,
  type World,
} from "./support/world.ts";

const ROUNDS = amountOf("RELAY_FAULT_ROUNDS", 12);
const ONCE = { slack: 1, mails: 1, messageIds: [expect.any(String)], requests: 1, webhookIds: [expect.any(String)] };

// Three starts of a relay take a second, and on a busy machine many.
describe("kill -9 at a step", () => {
  it("kill -9 before the commit leaves nothing half-done, and the same webhook is taken as new", async () => {
    const world = await aWorld();
    const first = world.spawn();
    const { url } = await first.started;
    const body = aWebhook(world, "tsk_1");
    const writer = new Sqlite(world.database);
    writer.exec("BEGIN IMMEDIATE");
    const answer = sendWebhook(url, body);
    await until("the relay to wait for the disk", () => isStuck(url));
    await first.kill();
    expect(await answer).toBeNull();
    writer.exec("ROLLBACK");
    writer.close();
    expect(outbox(world)).toEqual([]);

    const second = world.spawn();
    expect(await sendWebhook((await second.started).url, body)).toBe(200);
    await drained(world);
    expect(world.seen("tsk_1")).toEqual(ONCE);
  });

  it("kill -9 right after the commit loses no delivery: every sink gets it", async () => {
    const world = await aWorld();
    const first = world.spawn();
    const { url } = await first.started;
    expect(await sendWebhook(url, aWebhook(world, "tsk_1"))).toBe(200);
    await first.kill();
    await world.spawn().started;
    await drained(world);
    expect(world.seen("tsk_1")).toMatchObject({
      slack: 1,
      messageIds: [expect.any(String)],
      webhookIds: [expect.any(String)],
    });
    expect(outbox(world).map(({ state }) => state)).toEqual(SINKS.map(() => "delivered"));
  });

  it("kill -9 between commit and claim loses no delivery that was held back behind another one", async () => {
    const world = await aWorld();
    const hold = aHold();
    world.proxies.slack.toServer = hold.gate;
    const first = world.spawn();
    const { url } = await first.started;
    expect(await sendWebhook(url, aWebhook(world, "tsk_1"))).toBe(200);
    expect(await sendWebhook(url, aWebhook(world, "tsk_2"))).toBe(200);
    await hold.reached;
    await until("the second to wait for the first", () =>
      outbox(world).some(({ run_id, sink, attempts }) => run_id === "tsk_2" && sink === "chat" && attempts === 0),
    );
    await first.kill();
    world.proxies.slack.toServer = () => Promise.resolve();

    await world.spawn().started;
    await drained(world);
    expect(world.posts()).toEqual(["tsk_1", "tsk_2"]);
    hold.release();
  });

  it("kill -9 after the claim and before the message went out lets it go out once", async () => {
    const world = await aWorld();
    world.skyvern.faults.push({ instead: "hang", times: 10 });
    const first = world.spawn();
    const { url } = await first.started;
    expect(await sendWebhook(url, aWebhook(world, "tsk_1"))).toBe(200);
    await until("all to be claimed", () =>
      outbox(world).every(({ state, attempts }) => state === "sending" && attempts === 1),
    );
    await first.kill();
    expect(world.seenRuns()).toEqual(new Set());
    world.skyvern.faults.length = 0;

    await world.spawn().started;
    await drained(world);
    expect(world.seen("tsk_1")).toEqual(ONCE);
    expect(outbox(world)).toMatchObject(SINKS.map(() => ({ state: "delivered", attempts: 2 })));
  });

  it("kill -9 while the message is on its way lets Slack show it once although it arrives after the restart", async () => {
    const world = await aWorld();
    const hold = aHold();
    world.proxies.slack.toServer = (piece) =>
      piece.includes("/chat.postMessage ") ? hold.gate(piece) : Promise.resolve();
    const first = world.spawn();
    const { url } = await first.started;
    expect(await sendWebhook(url, aWebhook(world, "tsk_1"))).toBe(200);
    await hold.reached;
    await first.kill();
    // The second one looks for it when it has arrived, however busy the machine is.
    const arrived = Promise.withResolvers<void>();
    world.proxies.slack.toServer = (piece) =>
      piece.includes("/conversations.history") ? arrived.promise : Promise.resolve();
    await world.spawn().started;
    expect(world.seen("tsk_1").slack).toBe(0);
    hold.release();
    await until("the message to arrive", () => world.seen("tsk_1").slack === 1);
    arrived.resolve();
    await drained(world);
    expect(world.seen("tsk_1").slack).toBe(1);
    expect(world.slack.calls.filter(({ method }) => method === "conversations.history")).toHaveLength(1);
  });

  it("kill -9 after an unrecorded message lets Slack show it once, and mail and HTTP repeat it with the same id", async () => {
    const world = await aWorld();
    const holds = { slack: aHold(), smtp: aHold(), http: aHold() };
    /** Answers pass until the message has been taken. */
    const holdAfter = (taken: () => number, hold: Hold): Gate => {
      return (piece) => (taken() > 0 ? hold.gate(piece) : Promise.resolve());
    };
    world.proxies.slack.toClient = holdAfter(() => world.slack.messages().length, holds.slack);
    world.proxies.smtp.toClient = holdAfter(() => world.smtp.messages.length, holds.smtp);
    world.proxies.http.toClient = holdAfter(() => world.http.requests.length, holds.http);
    const first = world.spawn();
    const { url } = await first.started;
    expect(await sendWebhook(url, aWebhook(world, "tsk_1"))).toBe(200);
    await Promise.all(Object.values(holds).map(({ reached }) => reached));
    await first.kill();
    expect(world.seen("tsk_1")).toEqual(ONCE);
    for (const proxy of Object.values(world.proxies)) proxy.toClient = () => Promise.resolve();

    await world.spawn().started;
    await drained(world);
    expect(world.seen("tsk_1")).toEqual({ ...ONCE, mails: 2, requests: 2 });
    expect(outbox(world)).toMatchObject(SINKS.map(() => ({ state: "delivered", attempts: 2 })));
    for (const { release } of Object.values(holds)) release();
  });
});

describe("kill -9 at random", () => {
  it(
    `kill -9 ${ROUNDS} times under load loses no run answered 200; Slack and email show it once; HTTP repeats carry one id (seed ${SEED})`,
    { timeout: 120_000 + ROUNDS * 6_000 },
    async () => {
      const world = await aWorld();
      const chance = chanceOf(SEED);
      const load = aLoad(world);
      const kills = { in_start: 0, at_random: 0, before_the_answer: 0 };
      for (let round = 0; round < ROUNDS; round += 1) {
        moody(world, chance);
        const relay = world.spawn();
        const draw = chance.next();
        if (draw < 0.15) {
          kills.in_start += 1;
          await pause(chance.between(0, 900));
        } else if (draw < 0.6) {
          kills.at_random += 1;
          await underLoad(relay, load, chance, () => pause(chance.between(0, 400)));
        } else {
          await underLoad(relay, load, chance, async () => {
            if (await untilTaken(world, chance)) kills.before_the_answer += 1;
          });
        }
        await relay.kill();
      }
      calm(world);
      const { url } = await world.spawn().started;
      await load.sendAgain(url);
      await drained(world, 60_000 + ROUNDS * 1_000);
      const deliveries = outbox(world);
      expect(deliveries.filter(({ state }) => state !== "delivered")).toEqual([]);
      const answered = [...load.answered];
      const seen = answered.map((runId) => [runId, world.seen(runId)] as const);
      const wrong = seen.filter(
        ([, { slack, messageIds, webhookIds }]) => slack !== 1 || messageIds.length !== 1 || webhookIds.length !== 1,
      );
      expect(wrong).toEqual([]);
      expect([...world.seenRuns()].filter((runId) => !load.answered.has(runId))).toEqual([]);
      expect(answered.length).toBeGreaterThan(ROUNDS);
      expect(kills.before_the_answer).toBeGreaterThan(0);
      if (isLong) {
        const sum = (of: (each: (typeof seen)[number][1]) => number) =>
          seen.reduce((total, [, each]) => total + of(each), 0);
        const repeated = {
          rounds: ROUNDS,
          ...kills,
          runs: answered.length,
          deliveries: deliveries.length,
          deliveries_cut_short: deliveries.filter(({ attempts }) => attempts > 1).length,
          slack_messages: sum(({ slack }) => slack),
          slack_history_looks: looks(world),
          mails: sum(({ mails }) => mails),
          http_requests: sum(({ requests }) => requests),
        };
        console.info("chaos", JSON.stringify(repeated));
      }
    },
  );
});

/** How often the relay looked for what an earlier attempt may have left in the channel. */
const looks = (world: World): number =>
  world.slack.calls.filter(({ method }) => method === "conversations.history").length;

/** Its event loop stands still. */
async function isStuck(url: string): Promise<boolean> {
  try {
    await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(150) });
    return false;
  } catch {
    return true;
  }
}

/**
 * Waits, not long, until one of the sinks has taken a message whose answer it keeps for itself. False when none came.
 */
async function untilTaken({ proxies, slack, smtp, http }: World, chance: Chance): Promise<boolean> {
  const [proxy, taken] = chance.oneOf<[Proxy, () => number]>([
    [proxies.slack, () => slack.messages().length],
    [proxies.smtp, () => smtp.messages.length],
    [proxies.http, () => http.requests.length],
  ]);
  const before = taken();
  proxy.toClient = () => pause(taken() > before ? 1_000 : 0);
  const giveUpAt = Date.now() + 5_000;
  while (taken() === before && Date.now() < giveUpAt) await pause(2);
  return taken() > before;
}

/** Sends from several sides, then kills when it is time. */
async function underLoad(relay: RelayProcess, load: Load, chance: Chance, time: () => Promise<void>): Promise<void> {
  const { url } = await relay.started;
  const over = new AbortController();
  const sender = async () => {
    for (let i = 0; i < 3 && !over.signal.aborted; i += 1) {
      await load.send(url, chance);
      await pause(chance.between(0, 60));
    }
  };
  const senders = [sender(), sender(), sender()];
  await time();
  over.abort();
  await relay.kill();
  await Promise.all(senders);
}
