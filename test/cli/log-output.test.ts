/** A relay whose standard output takes nothing: a full disk, a reader that hangs, one that has gone. */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { aFolder } from "../support/app.ts";
import { aFreePort } from "../support/free-port.ts";
import { until } from "../support/until.ts";

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

async function aRelayWriting(stdout: number | "pipe") {
  const port = await aFreePort();
  const env = {
    SKYVERN_API_KEY: "k",
    SKYVERN_BASE_URL: "http://127.0.0.1:1",
    RELAY_CONFIG: "",
    HOST: "127.0.0.1",
    PORT: String(port),
  };
  const child = spawn(process.execPath, [MAIN, "serve"], { cwd: aFolder(), env, stdio: ["ignore", stdout, "ignore"] });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const answers = () =>
    fetch(`http://127.0.0.1:${port}/webhook`, { method: "POST", body: "x" }).then(
      ({ status }) => status,
      () => null,
    );
  return { child, ended, answers };
}

it.each(["full", "hanging", "gone"])(
  "a relay whose log output is %s goes on working, and stops when it is asked to",
  async (what) => {
    const full = what === "full" ? openSync("/dev/full", "w") : "pipe";
    const { child, ended, answers } = await aRelayWriting(full);
    if (full !== "pipe") closeSync(full);
    if (what === "gone") child.stdout?.destroy();
    await until("the relay answers", answers);
    for (let n = 0; n < 1_500; n += 1) expect(await answers()).toBeOneOf([401, 429]);
    child.kill("SIGTERM");
    child.stdout?.destroy();
    expect(await ended).toBe(0);
  },
);
