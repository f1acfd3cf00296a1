/** What a person asks of the runs at a terminal: `runs`, `open` and `tail`. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { runCli } from "../../src/cli/cli.ts";
import { aFolder, aListeningApp, anApp, PUBLIC_URL, TOKEN } from "../support/app.ts";
import { runCommand } from "../support/command.ts";
import { FIXTURE_KEY, mutated } from "../support/fixtures.ts";
import { aFreePort } from "../support/free-port.ts";
import { until } from "../support/until.ts";

/** A relay on disk that has told an HTTP sink of a failed and a completed run, the failed one last. */
async function aHistory() {
  const DATABASE_URL = `sqlite:${aFolder()}/relay.db`;
  const relay = await anApp({ DATABASE_URL }, { standIns: ["http"] });
  await relay.webhook(mutated("task_v2.completed", { run_id: "tsk_v2_1", task_id: "tsk_v2_1", title: "Read" }));
  const title = "Pay \u001B[2J\u202Ethe bill";
  await relay.webhook(mutated("task_v2.failed", { run_id: "tsk_v2_2", task_id: "tsk_v2_2", title }));
  await relay.deliver();
  return { SKYVERN_API_KEY: FIXTURE_KEY, DATABASE_URL, PUBLIC_URL };
}

describe("runs", () => {
  it("skyvern-relay runs shows the newest runs as a table, and lets no text control the terminal", async () => {
    const { code, stdout, stderr } = await runCommand(["runs"], await aHistory());
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^WHEN +STATUS +TOOK +RUN +SINKS +WHAT$/);
    const all = lines.slice(1).join("\n");
    expect(all).toMatch(
      /^2026-08-23 10:00 {2}failed .* tsk_v2_2 {2}http:delivered +Pay \[U\+001B\]\[2J\[U\+202E\]the bill/m,
    );
    expect(all).toMatch(/ completed .* tsk_v2_1 {2}http:delivered +Read/);
    expect(stdout).not.toMatch(/\u001B|\u202E/);
  });

  it("skyvern-relay runs takes filters, and prints JSON for programs", async () => {
    const env = await aHistory();
    const { stdout } = await runCommand(["runs", "--status", "failed", "--json"], env);
    expect(JSON.parse(stdout)).toMatchObject([
      { run_id: "tsk_v2_2", status: "failed", deliveries: [{ sink: "http", state: "delivered" }] },
    ]);
    expect((await runCommand(["runs", "--status", "canceled"], env)).stdout).toMatch(/^No run fits/);
    expect((await runCommand(["runs", "--limit", "1"], env)).stdout.trimEnd().split("\n")).toHaveLength(2);
  });

  it.each([["0"], ["x"], ["1001"]])("skyvern-relay runs refuses --limit %s", async (limit) => {
    const { code, stderr } = await runCommand(["runs", "--limit", limit], await aHistory());
    expect(code).toBe(2);
    expect(stderr).toContain(`--limit must be a whole number from 1 to 1000, not "${limit}"`);
  });

  it("skyvern-relay runs fits its table into a terminal's lines", async () => {
    let stdout = "";
    await runCli(["runs"], {
      env: { RELAY_CONFIG: "", ...(await aHistory()) },
      stdout: (text) => void (stdout += text),
      stderr: () => {},
      stopped: new AbortController().signal,
      screen: { colour: false, columns: () => 90 },
    });
    expect(Math.max(...stdout.split("\n").map(({ length }) => length))).toBeLessThanOrEqual(90);
  });
});

describe("open", () => {
  it("skyvern-relay open prints the address of the run's page", async () => {
    const { code, stdout } = await runCommand(["open", "tsk_v2_2"], await aHistory());
    expect([code, stdout]).toEqual([0, `${PUBLIC_URL}/runs/tsk_v2_2\n`]);
  });

  it("skyvern-relay open says that the relay does not know a run", async () => {
    const { code, stdout, stderr } = await runCommand(["open", "tsk_3"], await aHistory());
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("does not know the run tsk_3");
  });
});

describe("tail", () => {
  /** `tail` beside a relay, until the test ends. */
  function tail(args: readonly string[], env: Record<string, string>) {
    const stopping = new AbortController();
    let stdout = "";
    let stderr = "";
    const ended = runCli(["tail", ...args], {
      env: { RELAY_CONFIG: "", SKYVERN_API_KEY: FIXTURE_KEY, RELAY_TOKEN: TOKEN, ...env },
      stdout: (text) => void (stdout += text),
      stderr: (text) => void (stderr += text),
      stopped: stopping.signal,
    });
    onTestFinished(async () => {
      stopping.abort();
      await ended;
    });
    return { stdout: () => stdout, stderr: () => stderr, ended, stop: () => stopping.abort() };
  }
  const aRun = (id: string, status = "completed") =>
    mutated(`task_v2.${status}`, { run_id: id, task_id: id, title: `Title of ${id}` });

  it("skyvern-relay tail shows runs and deliveries as they change, until it is asked to stop", async () => {
    const relay = await aListeningApp({}, { standIns: ["http"] });
    const { stdout, ended, stop } = tail(["--url", relay.url], {});
    let n = 0;
    await until("it follows", async () => {
      await relay.webhook(aRun(`tsk_v2_first${(n += 1)}`));
      return stdout().includes("tsk_v2_first");
    });
    await relay.webhook(aRun("tsk_v2_1", "failed"));
    await until("the delivery is shown", () => /^delivered +tsk_v2_1 {2}→ http$/m.test(stdout()));
    expect(stdout()).toMatch(/^failed +tsk_v2_1 {2}Title of tsk_v2_1: /m);
    stop();
    expect(await ended).toBe(0);
  });

  it("skyvern-relay tail takes filters, and prints JSON for programs", async () => {
    const relay = await aListeningApp({}, { standIns: ["http"] });
    const all = tail(["--url", relay.url], {});
    const failed = tail(["--url", relay.url, "--status", "failed", "--json"], {});
    let n = 0;
    await until("both follow", async () => {
      await relay.webhook(aRun(`tsk_v2_f${(n += 1)}`, "failed"));
      return all.stdout() !== "" && failed.stdout() !== "";
    });
    await relay.webhook(aRun("tsk_v2_good"));
    await relay.webhook(aRun("tsk_v2_bad", "failed"));
    // Two followers: each reads its own stream, and one may be behind the other.
    await until("both tell the failed one's delivery", () =>
      [all, failed].every(({ stdout }) => stdout().split("tsk_v2_bad").length > 3),
    );
    expect(all.stdout()).toContain("tsk_v2_good");
    expect(failed.stdout()).not.toContain("tsk_v2_good");
    for (const text of failed.stdout().trim().split("\n")) expect(JSON.parse(text)).toHaveProperty("run_id");
  });

  it("skyvern-relay tail waits for a relay that is not there, and goes on when it is", async () => {
    const address = { HOST: "127.0.0.1", PORT: String(await aFreePort()) };
    const { stdout, stderr } = tail([], address);
    await until("it says so", () => stderr().includes("does not answer (ECONNREFUSED); trying again"));
    const relay = await aListeningApp(address);
    let n = 0;
    await until("it follows", async () => {
      await relay.webhook(aRun(`tsk_v2_${(n += 1)}`));
      return stdout().includes("tsk_v2_");
    });
    expect(stderr().match(/does not answer/g)).toHaveLength(1);
  });

  it("skyvern-relay tail refuses a sink that the relay does not have, and a status that no run has", async () => {
    const relay = await aListeningApp({}, { standIns: ["http"] });
    const sink = tail(["--url", relay.url, "--sink", "http", "nope"], {});
    expect(await sink.ended).toBe(2);
    expect(sink.stderr()).toBe('skyvern-relay tail: the relay has no sink "nope"; there are http\n');
    const status = tail(["--url", relay.url, "--status", "fialed"], {});
    expect(await status.ended).toBe(2);
    expect(status.stderr()).toMatch(/--status must be one of completed, failed, .*, not "fialed"\n$/);
  });

  it.each(["localhost:8080", "nowhere"])("skyvern-relay tail refuses the address %s", async (url) => {
    const { stderr, ended } = tail(["--url", url], {});
    expect(await ended).toBe(2);
    expect(stderr()).toBe(`skyvern-relay tail: --url must be an http:// or https:// address, not "${url}"\n`);
  });

  it("skyvern-relay tail follows the deliveries of one sink", async () => {
    const relay = await aListeningApp({}, { standIns: ["http", "slack"] });
    const { stdout } = tail(["--url", relay.url, "--sink", "http"], {});
    let n = 0;
    await until("it follows", async () => {
      await relay.webhook(aRun(`tsk_v2_${(n += 1)}`));
      return /^delivered .*→ http$/m.test(stdout());
    });
    expect(stdout()).not.toMatch(/slack|Title/);
  });

  it("skyvern-relay tail reads events whose lines a proxy ended with CRLF, divided anywhere, in data of several lines", async () => {
    const server = createServer((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const run = '{"run_id":"tsk_v2_1","status":"failed",\ndata:"title":"Pay\u2028it","received_at":""}';
      const text = `: hello\nretry: 1\n\nid: r-1\nevent: run\ndata: ${run}\n\nevent:run\ndata:${run.replace("_1", "_2")}\n\n`;
      for (const byte of Buffer.from(text.replaceAll("\n", "\r\n"))) response.write(Buffer.of(byte));
    }).listen(0, "127.0.0.1");
    onTestFinished(() => server.close().closeAllConnections());
    await once(server, "listening");
    const { stdout } = tail(["--url", `http://127.0.0.1:${(server.address() as AddressInfo).port}`], {});
    await until("both are shown", () => stdout().includes("tsk_v2_2"));
    expect(stdout()).toBe("failed      tsk_v2_1  Pay it\nfailed      tsk_v2_2  Pay it\n");
  });

  it("skyvern-relay tail says that the token is refused", async () => {
    const relay = await aListeningApp();
    const { stderr, ended } = tail(["--url", relay.url], { RELAY_TOKEN: "another-token-0123" });
    expect(await ended).toBe(1);
    expect(stderr()).toContain("refuses the token");
  });
});
