/**
 * The benches are believed, so they must be right themselves: what they count, what they refuse, and that they still
 * run.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import BetterSqlite from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { atLeast, atMost, median, ratio, verdict } from "../../bench/bench.ts";
import { runId, writeBodies } from "../../bench/bodies.ts";
import { deliveriesOf, untilDelivered } from "../../bench/deliver.ts";
import { assertAllRight, KEY, load } from "../../bench/load.ts";
import { startReceiver } from "../../bench/receiver.ts";
import { goalsTable } from "../../bench/report.ts";
import { keptIn, writesOf } from "../../bench/sqlite.ts";
import { verify } from "../../src/receive/verify.ts";
import { Secret } from "../../src/platform/secret.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bench-test-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("ratios", () => {
  it("a bench compares within each round, and the middle round counts", () => {
    const table = {
      base: [{ perSecond: 100 }, { perSecond: 10 }, { perSecond: 1 }],
      relay: [{ perSecond: 50 }, { perSecond: 4 }, { perSecond: 0.9 }],
    };
    expect(ratio(table, "perSecond", "relay", "base")).toBe(0.5);
    expect(ratio(table, "perSecond", "relay", "nobody")).toBeNull();
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });
});

describe("the table of goals", () => {
  it("the table of goals says by how much a figure differs from the run before, and marks what is more than noise", () => {
    const results = (figure: number) => ({
      one: {
        table: {},
        verdicts: [verdict("B1", "accept", figure, atLeast(0.5)), verdict("B2", "none", null, atMost(1))],
      },
    });
    const [, , first, second] = goalsTable(results(0.6), results(0.5)).split("\n");
    expect(first).toBe("| B1 | accept | >= 0.5x | 0.6x | 0.5x | 17 % (!) | met |");
    expect(second).toBe("| B2 | none | <= 1x | – | – | – | not measured |");
    expect(goalsTable(results(0.5), results(0.55))).toContain("| 0.5x | 0.55x | 9 % | met |");
    expect(goalsTable(results(0.5))).toContain("| goal | what | wanted | figure | verdict |");
  });
});

describe("what is written to a SQLite file", () => {
  it("a bench counts the commits of a SQLite file from outside, and its rows once it is closed", () => {
    const path = join(folder, "counted.db");
    const database = new BetterSqlite(path);
    database.pragma("journal_mode = WAL");
    database.exec("CREATE TABLE things (id INTEGER PRIMARY KEY)");
    const commits = () => writesOf(path, folder).commits ?? Number.NaN;
    const before = commits();
    const insert = database.prepare("INSERT INTO things DEFAULT VALUES");
    insert.run();
    database.transaction(() => [insert.run(), insert.run()])();
    database.prepare("SELECT count(*) FROM things").get();
    expect(commits() - before).toBe(2);
    database.close();
    const { rows, bytes } = keptIn(path);
    expect(rows).toEqual({ things: 3 });
    expect(bytes).toBeGreaterThan(0);
  });
});

// The load client and the receiver are Linux programs.
describe.runIf(process.platform === "linux")("the load client", () => {
  const aTarget = async (listener: RequestListener) => {
    const server = createServer(listener).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    return {
      port,
      path: "/webhook",
      bodies: writeBodies(folder, "skyvern", 20),
      signed: true,
      expect: "taken",
      echo: true,
    };
  };

  it("the load client sends JSON bodies that all differ and are rightly signed, and notes when each was sent and answered", async () => {
    const seen = new Set<string>();
    let forged = 0;
    const target = await aTarget((request, response) => {
      const pieces: Buffer[] = [];
      request.on("data", (piece: Buffer) => pieces.push(piece));
      request.on("end", () => {
        const bytes = Buffer.concat(pieces);
        const key = { name: "bench", key: new Secret(KEY), organization: null };
        const signature = request.headers["x-skyvern-signature"] as string;
        const about = { sentAt: null, channel: null, query: null, from: "127.0.0.1" };
        if (typeof verify({ bytes, signature, ...about }, [key]) === "string") forged++;
        const { run_id: id } = JSON.parse(bytes.toString()) as { run_id: string };
        seen.add(id);
        response.end(`taken ${id}`);
      });
    });
    const result = await load(folder, target, { seconds: 0.2, first: 1_000, connections: 8 });
    assertAllRight("the server", result);
    expect(forged).toBe(0);
    expect(seen.size).toBe(result.sent);
    expect(seen).toContain(runId(1_000));
    expect(result.sent).toBeGreaterThan(20);
    expect(result.times.length).toBe(2 * result.sent);
    expect(result.times.every((time) => time > 0n)).toBe(true);
  });

  it("the load client counts an answer as wrong that is not 200, names another run or breaks off", async () => {
    let count = 0;
    const target = await aTarget((request, response) => {
      request.resume();
      request.on("end", () => {
        count++;
        if (count % 3 === 0) response.writeHead(503).end("taken");
        else if (count % 3 === 1) response.end(`taken ${runId(999_999)}`);
        else request.socket.destroy();
      });
    });
    const result = await load(folder, target, { seconds: 0.2, first: 0, connections: 4 });
    const { right, sent, wrong, failed, unanswered } = result;
    expect(right).toBe(0);
    expect(wrong).toBeGreaterThan(0);
    expect(failed).toBeGreaterThan(0);
    expect(wrong + failed + unanswered).toBe(sent);
    expect(() => assertAllRight("the server", result)).toThrow(/answers were not right/);
  });

  it("the load client sends at the given rate, however many connections there are", async () => {
    const target = await aTarget((request, response) => {
      request.resume();
      request.on("end", () => response.end("taken"));
    });
    const result = await load(folder, { ...target, echo: false }, { seconds: 0.5, first: 0, rate: 100 });
    expect(result.sent).toBe(50);
  });
});

describe.runIf(process.platform === "linux")("the receiver", () => {
  it("the receiver knows which runs came, which came again and when, and which never did", async () => {
    const receiver = await startReceiver(folder);
    onTestFinished(() => void receiver.stop());
    for (const id of [runId(0), runId(2), runId(2)]) {
      await fetch(receiver.url, { method: "POST", body: JSON.stringify({ run_id: id }) });
    }
    expect(await receiver.count()).toMatchObject({ posts: 3, ids: 2, again: 1 });
    const times = await receiver.times();
    expect([...times].map((time) => time > 0n)).toEqual([true, false, true]);
    await untilDelivered(receiver, 2);

    const accepted = (...seqs: number[]) => {
      const times = new BigUint64Array(6);
      for (const seq of seqs) times.set([1n, 2n], 2 * seq);
      return { sent: 3, times } as Parameters<typeof deliveriesOf>[0];
    };
    expect(deliveriesOf(accepted(0, 2), 0, times).perSecond).toBeGreaterThan(0);
    expect(() => deliveriesOf(accepted(0, 1), 0, times)).toThrow("run number 1 was accepted and never delivered");
  });
});

describe.runIf(process.platform === "linux")("bench/run smoke", () => {
  it("`bench/run smoke` measures a moment of everything, and every answer is right", { timeout: 300_000 }, () => {
    const said = execFileSync("bench/run", ["smoke"], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    for (const subject of ["bare-node", "bare-hono", "stateless", "relay+1ms", "relay", "outbox"]) {
      expect(said).toContain(`| ${subject} |`);
    }
  });
});
