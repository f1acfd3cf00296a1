/** The disk fails; the relay says so, loses nothing, and goes on when the disk does. */
import { randomBytes } from "node:crypto";
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { describe, expect, it, onTestFinished } from "vitest";
import { aFolder } from "../support/app.ts";
import { FIXTURE_KEY } from "../support/fixtures.ts";
import { runProgram, serve, type RelayProcess } from "../support/process.ts";
import { until } from "../support/until.ts";

/** Of bytes that cannot be compressed. */
const aRun = (n: number, bytes = 0): string =>
  JSON.stringify({
    run_id: `tsk_${n}`,
    status: "completed",
    output: randomBytes(bytes).toString("base64").slice(0, bytes),
  });

/** A file system of `size`, or null where the test may not mount one. */
function aSmallDisk(size: string): string | null {
  const folder = aFolder();
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder], { stdio: "ignore" });
  } catch {
    return null;
  }
  onTestFinished(() => void execFileSync("umount", ["-l", folder]));
  return folder;
}

function fill(folder: string): string {
  const path = join(folder, "filler");
  writeFileSync(path, "");
  for (const size of [65_536, 4_096]) {
    try {
      for (;;) appendFileSync(path, Buffer.alloc(size));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    }
  }
  return path;
}

function expectComeAgain({ status, headers }: { status: number; headers: Headers }) {
  expect(status).toBe(503);
  expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
  expect(Number(headers.get("retry-after"))).toBeLessThanOrEqual(30);
}

const ready = async ({ url }: RelayProcess): Promise<number> => (await fetch(`${url}/readyz`)).status;
const runs = async (relay: RelayProcess): Promise<string[]> =>
  (await relay.read<{ data: { run_id: string }[] }>("/v1/runs?limit=200")).data.map(({ run_id: id }) => id).toSorted();

describe("a full disk", () => {
  it("a webhook that finds the disk full gets 503 with Retry-After, and is accepted once there is space, without a restart", async (context) => {
    const disk = aSmallDisk("4m");
    if (disk === null) return context.skip("mounting a small file system is not permitted here");
    const relay = await serve({ DATABASE_URL: `sqlite:${join(disk, "relay.db")}` });
    expect((await relay.webhook(aRun(0))).status).toBe(200);
    expect(await ready(relay)).toBe(200);
    const filler = fill(disk);
    expect(statfsSync(disk).bavail).toBe(0);

    const body = aRun(1, 300_000);
    expectComeAgain(await relay.webhook(body));
    expectComeAgain(await relay.webhook(body));
    await until("small writes find no room either", async () => (await ready(relay)) === 503);
    expectComeAgain(await relay.webhook(aRun(2)));
    expect(await runs(relay)).toEqual(["tsk_0"]);

    rmSync(filler);
    const answer = await relay.webhook(body);

    expect([answer.status, answer.json["result"]]).toEqual([200, "accepted"]);
    expect((await relay.webhook(aRun(2))).json["result"]).toBe("accepted");
    expect(await ready(relay)).toBe(200);
    expect(await runs(relay)).toEqual(["tsk_0", "tsk_1", "tsk_2"]);
    expect(await relay.read("/v1/receipts/unrecognized")).toMatchObject({ data: [] });
  });

  it.for(["0k", "64k", "200k"])(
    "a disk with room for %s only ends the first start in one line that says so, and the next start works",
    async (room, context) => {
      const disk = aSmallDisk("4m");
      if (disk === null) return context.skip("mounting a small file system is not permitted here");
      const filler = fill(disk);
      truncateSync(filler, statSync(filler).size - 1024 * Number.parseInt(room, 10));
      const env = {
        SKYVERN_API_KEY: FIXTURE_KEY,
        DATABASE_URL: `sqlite:${join(disk, "relay.db")}`,
        PORT: "0",
        HOST: "127.0.0.1",
      };
      const { code, stderr } = await runProgram([], env).ended;
      expect([code, stderr.trim().split("\n").length]).toEqual([1, 1]);
      expect(stderr).toContain("the disk is full: make room on it");
      rmSync(filler);
      expect(await ready(await serve(env))).toBe(200);
    },
  );

  it("a disk that fills up among many webhooks leaves each either answered 200 and stored, or 503 and not", async (context) => {
    const disk = aSmallDisk("2m");
    if (disk === null) return context.skip("mounting a small file system is not permitted here");
    const relay = await serve({ DATABASE_URL: `sqlite:${join(disk, "relay.db")}` });

    const answers = await Promise.all(Array.from({ length: 60 }, (_, n) => relay.webhook(aRun(n, 40_000))));

    const taken = answers.flatMap(({ status }, n) => (status === 200 ? [`tsk_${n}`] : []));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 503]));
    expect(await runs(relay)).toEqual(taken.toSorted());
  });
});

describe("a database that another process has locked", () => {
  it("a webhook that finds the database locked gets 503, and is accepted when the lock is gone", async () => {
    const path = join(aFolder(), "relay.db");
    const relay = await serve({ DATABASE_URL: `sqlite:${path}` });
    const other = new Sqlite(path);
    onTestFinished(() => void other.close());
    other.exec("BEGIN IMMEDIATE");

    expectComeAgain(await relay.webhook(aRun(1)));
    expect(await ready(relay)).toBe(503);
    expect(await runs(relay)).toEqual([]);
    other.exec("COMMIT");

    expect((await relay.webhook(aRun(1))).json["result"]).toBe("accepted");
    expect(await ready(relay)).toBe(200);
  });
});

describe("a database that cannot be opened", () => {
  it.each([
    ["in a place that is no folder", (folder: string) => join(folder, "file", "relay.db")],
    ["that is a folder", (folder: string) => join(folder, "taken")],
    ["that is another file", (folder: string) => join(folder, "file")],
    ["where no folder can be made", () => "/proc/nowhere/relay.db"],
  ])("a database %s ends the program with 1 and one line that says why", async (_what, at) => {
    const folder = aFolder();
    writeFileSync(join(folder, "file"), "this is no database, and must not become one".repeat(100));
    mkdirSync(join(folder, "taken"));
    const path = at(folder);

    const { code, stderr } = await runProgram(["serve"], {
      SKYVERN_API_KEY: FIXTURE_KEY,
      DATABASE_URL: `sqlite:${path}`,
      HOST: "127.0.0.1",
      PORT: "0",
    }).ended;

    expect(code).toBe(1);
    expect(stderr).toContain("skyvern-relay: ");
    expect(stderr).toContain(`the database ${path} cannot be opened`);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(readFileSync(join(folder, "file"), "utf8")).toContain("must not become one");
  });
});
