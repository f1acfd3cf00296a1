/**
 * Three relays on one PostgreSQL (P1, P3, P4): one of them killed at any moment, and the database away for a while.
 * `scripts/faults` runs the long form.
 */
import { setTimeout as pause } from "node:timers/promises";
import pg from "pg";
import { describe, expect, it, onTestFinished } from "vitest";
import { newDatabase, startPostgres } from "../support/postgres.ts";
import { amountOf, chanceOf, isLong, SEED } from "./support/chance.ts";
import { aLoad, calm, moody } from "./support/load.ts";
import {
  aWebhook,
  aWorld,
  ON_A_NEW_CONNECTION,
  sendWebhook,
  type DeliveryRow,
  type RelayProcess,
  type World,
} from "./support/world.ts";

const ROUNDS = amountOf("RELAY_FAULT_ROUNDS", 12);
const AWAY_MS = amountOf("RELAY_FAULT_AWAY_MS", 4_000);

describe("three relays", () => {
  it(
    `three relays, one of them killed ${ROUNDS} times under load, bring every run answered 200 to every sink; Slack and email show it once (seed ${SEED})`,
    { timeout: 240_000 + ROUNDS * 10_000 },
    async () => {
      const url = await newDatabase({ empty: true });
      const world = await aWorld(url);
      const chance = chanceOf(SEED);
      const load = aLoad(world);
      const relays = [world.spawn(), world.spawn(), world.spawn()];
      await Promise.all(relays.map(({ started }) => started));
      const over = new AbortController();
      /** As behind one address: any of them, and one that is gone gives no answer. */
      const sender = async (): Promise<void> => {
        while (!over.signal.aborted) {
          // One that was killed in its start never had an address.
          const at = await chance.oneOf(relays).started.catch(() => null);
          if (at !== null) await load.send(at.url, chance);
          await pause(chance.between(100, 700));
        }
      };
      const senders = [sender(), sender(), sender()];
      for (let round = 0; round < ROUNDS; round += 1) {
        moody(world, chance);
        await pause(chance.between(200, 1_200));
        const i = chance.between(0, relays.length);
        const gone = relays[i];
        // Now and then it is met in its start.
        if (!chance.happens(0.1)) await gone?.started;
        else await pause(chance.between(0, 900));
        await gone?.kill();
        relays[i] = world.spawn();
      }
      over.abort();
      await Promise.all(senders);
      calm(world);
      const { url: address } = await started(relays);
      await load.sendAgain(address);
      const deliveries = await drained(url);

      expect(deliveries.filter(({ state }) => state !== "delivered")).toEqual([]);
      expectOnce(world, load.answered);
      expect([...world.seenRuns()].filter((runId) => !load.answered.has(runId))).toEqual([]);
      expect(load.answered.size).toBeGreaterThan(ROUNDS);
      if (isLong) {
        const cut = deliveries.filter(({ attempts }) => attempts > 1).length;
        const figures = { rounds: ROUNDS, runs: load.answered.size, deliveries: deliveries.length, tried_again: cut };
        console.info("fleet", JSON.stringify({ ...figures, mails: world.smtp.messages.length }));
      }
    },
  );

  it.each(["fast", "kill"] as const)(
    `three relays whose database is stopped (%s) for ${AWAY_MS} ms under load answer 503 in that time, and lose nothing, without a restart`,
    async (how) => {
      const server = await startPostgres({ durable: true });
      onTestFinished(() => server.remove());
      const world = await aWorld(server.url);
      const chance = chanceOf(SEED);
      const load = aLoad(world);
      const relays = [world.spawn(), world.spawn(), world.spawn()];
      await Promise.all(relays.map(({ started }) => started));
      const times = { away: false };
      const meanwhile: (number | null)[] = [];
      let n = 0;
      const over = new AbortController();
      const sender = async (): Promise<void> => {
        while (!over.signal.aborted) {
          const { url } = await chance.oneOf(relays).started;
          if (!times.away) await load.send(url, chance);
          else {
            const runId = `tsk_away_${(n += 1)}`;
            const status = await sendWebhook(url, aWebhook(world, runId));
            // Only what was asked and answered while it was away.
            if (times.away) meanwhile.push(status);
            else if (status === 200) load.answered.add(runId);
          }
          await pause(chance.between(10, 60));
        }
      };
      const senders = [sender(), sender(), sender()];
      await pause(1_500);
      await server.stop(how);
      times.away = true;
      await pause(AWAY_MS);
      await expect.poll(() => ready(relays), { timeout: 10_000 }).toEqual([503, 503, 503]);
      times.away = false;
      await server.start();
      await pause(1_500);
      over.abort();
      await Promise.all(senders);
      await expect.poll(() => ready(relays), { timeout: 30_000 }).toEqual([200, 200, 200]);
      await load.sendAgain((await started(relays)).url);
      const deliveries = await drained(server.url);

      expect(new Set(meanwhile)).toEqual(new Set([503]));
      expect(deliveries.filter(({ state }) => state !== "delivered")).toEqual([]);
      expectOnce(world, load.answered);
      if (isLong)
        console.info("away", JSON.stringify({ how, ms: AWAY_MS, refused: meanwhile.length, runs: load.answered.size }));
    },
    180_000 + 3 * AWAY_MS,
  );
});

const started = (relays: readonly RelayProcess[]) => (relays[0] ?? expect.unreachable()).started;

/**
 * What each says of itself, or why it says nothing: on a busy machine a connection may fail, and is asked again; a
 * relay that is gone stays gone.
 */
const ready = (relays: readonly RelayProcess[]): Promise<(number | string)[]> =>
  Promise.all(
    relays.map(async ({ started: at }) => {
      try {
        const response = await fetch(`${(await at).url}/readyz`, { headers: ON_A_NEW_CONNECTION });
        await response.arrayBuffer();
        return response.status;
      } catch (error) {
        return String((error as Error).cause ?? error);
      }
    }),
  );

function expectOnce(world: World, answered: ReadonlySet<string>): void {
  const seen = [...answered].map((runId) => [runId, world.seen(runId)] as const);
  const wrong = seen.filter(
    ([, { slack, messageIds, webhookIds }]) => slack !== 1 || messageIds.length !== 1 || webhookIds.length !== 1,
  );
  expect(wrong).toEqual([]);
}

/** Longer than a lease: whoever has nothing to do with it for so long never will. */
const STILL_MS = 100_000;

/** Waits until no delivery is under way or waiting, as long as they become fewer; all of them. */
async function drained(url: string): Promise<DeliveryRow[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  try {
    let fewest = Infinity;
    let since = Date.now();
    for (;;) {
      const { rows } = await client.query<DeliveryRow & { attempts: string }>(
        "select *, subject_id as run_id from deliveries order by id",
      );
      const open = rows.filter(({ state }) => state === "pending" || state === "sending");
      if (open.length === 0) return rows.map((row) => ({ ...row, attempts: Number(row.attempts) }));
      if (open.length < fewest) [fewest, since] = [open.length, Date.now()];
      if (Date.now() - since > STILL_MS) throw new Error(`still open: ${JSON.stringify(open.slice(0, 5))}`);
      await pause(100);
    }
  } finally {
    await client.end();
  }
}
