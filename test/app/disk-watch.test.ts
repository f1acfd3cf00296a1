import { expect, it } from "vitest";
import { createDiskWatch, diskState } from "../../src/app/disk-watch.ts";
import { createLog } from "../../src/platform/log/stdout-log.ts";
import { aFolder, anApp } from "../support/app.ts";

const GB = 1_000_000_000;
const MINUTE = 60_000;

it.each([
  [1 * GB, 0.05 * GB, "full"],
  [1 * GB, 0.099 * GB, "full"],
  [5 * GB, 0.4 * GB, "low"],
  [1 * GB, 0.11 * GB, "ok"],
  [500 * GB, 11 * GB, "ok"],
  [500 * GB, 9 * GB, "low"],
])("a disk of %d bytes with %d free is %s", (total, free, state) => {
  expect(diskState({ free, total })).toBe(state);
});

it("a disk that fills up is reported before it is full, once an hour while it lasts, and when it has space again", async () => {
  let said: string[] = [];
  let [free, now] = [5 * GB, 0];
  const seen: number[] = [];
  const watch = createDiskWatch({
    space: () => Promise.resolve({ free, total: 20 * GB }),
    seen: (bytes) => void seen.push(bytes),
    now: () => now,
    log: createLog("info", {
      write: (line) => void said.push((JSON.parse(line) as { level: string; event: string }).event),
    }),
  });
  const after = async (minutes: number, left: number) => {
    now += minutes * MINUTE;
    free = left;
    said = [];
    await watch.look();
    return [...said, watch.isLow()];
  };
  expect(await after(0, 5 * GB)).toEqual([false]);
  expect(await after(1, 1.5 * GB)).toEqual(["disk.low", true]);
  expect(await after(1, 1.4 * GB)).toEqual([true]);
  expect(await after(60, 1.4 * GB)).toEqual(["disk.low", true]);
  expect(await after(1, 0.05 * GB)).toEqual(["disk.nearly_full", true]);
  expect(await after(1, 8 * GB)).toEqual(["disk.has_room", false]);
  expect(seen).toHaveLength(6);
});

it("a relay whose database is on disk watches that disk by itself, and has its free bytes in the metrics", async () => {
  const relay = await anApp({ DATABASE_URL: `sqlite:${aFolder()}/relay.db` });
  await relay.app.runJob("disk");
  expect((await relay.get("/metrics")).text).toMatch(/^skyvern_relay_disk_free_bytes\{disk="database"\} \d{6,}/m);
  const inMemory = await anApp();
  expect(inMemory.app.jobs.map(({ name }) => name)).not.toContain("disk");
});
