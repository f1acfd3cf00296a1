/**
 * A backup taken while webhooks come in, restored elsewhere: nothing of before it is missing, and nothing is delivered
 * twice.
 */
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import Sqlite from "better-sqlite3";
import { expect, it } from "vitest";
import { aFolder } from "../support/app.ts";
import { FIXTURE_KEY } from "../support/fixtures.ts";
import { runProgram } from "../support/process.ts";
import { until } from "../support/until.ts";
import { aWebhook, aWorld, drained, outbox, sendWebhook } from "./support/world.ts";

const BEFORE = 40;
const AT_ONCE = 4;
/** At most 50 a second come during the backup, and fewer are told: some always wait. */
const [REST_MS, PACE] = [80, 30];

it("a backup made under load has every run settled before it, and a relay restored from it doubles no delivery", async () => {
  const world = await aWorld(undefined, { pace: PACE });
  const relay = world.spawn();
  const { url } = await relay.started;
  const sent: string[] = [];
  const sendWhile = async (isOn: () => boolean, restMs: number): Promise<void> => {
    const sender = async (): Promise<void> => {
      while (isOn()) {
        const id = `tsk_${String(sent.length).padStart(4, "0")}`;
        sent.push(id);
        expect(await sendWebhook(url, aWebhook(world, id)), "a backup holds up no webhook").toBe(200);
        await pause(restMs);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, sender));
  };
  await sendWhile(() => sent.length < BEFORE, 0);
  const before = [...sent];

  let isOver = false;
  const load = sendWhile(() => !isOver, REST_MS);
  const folder = aFolder();
  const backup = runProgram(["backup", "--to", join(folder, "backups"), "--verify", "--json"], {
    SKYVERN_API_KEY: FIXTURE_KEY,
    DATABASE_URL: `sqlite:${world.database}`,
  });
  const { code, stdout, stderr } = await backup.ended;
  isOver = true;
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const made = JSON.parse(stdout) as { backup: string; pending: number; rows: Record<string, number> };
  const restored = join(folder, "restored", "relay.db");
  mkdirSync(join(folder, "restored"));
  copyFileSync(made.backup, restored);
  const waiting = outbox({ database: restored }).filter(({ state }) => state === "pending" || state === "sending");
  expect(waiting.length, "some waited at the moment of the backup").toBe(made.pending);
  expect(made.pending).toBeGreaterThan(0);
  // The relay tells what waited in the backup, all but the newest, before its machine dies.
  await load;
  await until("some of what waits in the backup was told since", () => {
    const now = new Map(outbox(world).map(({ id, state }) => [id, state]));
    return waiting.some(({ id, sink }) => sink === "chat" && now.get(id) === "delivered");
  });
  await relay.kill();

  const copy = new Sqlite(restored, { readonly: true });
  const there = (copy.prepare("select run_id from runs").all() as { run_id: string }[]).map(({ run_id }) => run_id);
  copy.close();
  expect(there).toEqual(expect.arrayContaining(before));
  expect(there).toHaveLength(made.rows["runs"] ?? 0);

  await world.spawn(restored).started;
  await drained({ database: restored });

  expect(outbox({ database: restored }).filter(({ state }) => state === "dead")).toEqual([]);
  for (const id of there) {
    const { slack, webhookIds, messageIds } = world.seen(id);
    expect({ id, slack, ids: webhookIds.length, mails: messageIds.length }).toEqual({ id, slack: 1, ids: 1, mails: 1 });
  }
}, 300_000);
