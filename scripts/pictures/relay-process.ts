/** A relay of any tree of this repository, as a process beside the stand-ins: what it asks, sends and shows. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startHttpSink } from "../../src/stand-ins/http-sink.ts";
import { startSkyvern, type StandInSkyvern } from "../../src/stand-ins/skyvern.ts";
import { startSlack } from "../../src/stand-ins/slack.ts";
import { startSmtp } from "../../src/stand-ins/smtp.ts";

export const KEY = "a-key-of-the-pictures";
export const TOKEN = "a-token-of-the-pictures";

export type RelayProcess = Awaited<ReturnType<typeof startRelayProcess>>;

/** `tree`: the folder of a repository. `at`: a Skyvern of one's own in place of the stand-in. */
export async function startRelayProcess(tree: string, at?: { url: string; key: string }) {
  const skyvern: StandInSkyvern = await startSkyvern({ keys: [KEY] });
  const [slack, smtp, http] = await Promise.all([startSlack(), startSmtp(), startHttpSink()]);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const folder = mkdtempSync(join(tmpdir(), "skyvern-relay-pictures-"));
  const env = {
    PATH: process.env["PATH"],
    SKYVERN_API_KEY: at?.key ?? KEY,
    SKYVERN_BASE_URL: at?.url ?? skyvern.url,
    DATABASE_URL: `sqlite:${join(folder, "relay.db")}`,
    HOST: "127.0.0.1",
    PORT: String(port),
    PUBLIC_URL: url,
    RELAY_TOKEN: TOKEN,
    SLACK_API_URL: slack.url,
    SLACK_BOT_TOKEN: slack.token,
    SLACK_CHANNEL: "C0123ABCD",
    SMTP_URL: smtp.url,
    EMAIL_FROM: "relay@example.com",
    EMAIL_TO: "ops@example.com",
    SINK_URL: http.url,
    ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
    LOG_LEVEL: "warn",
  };
  const child = spawn(process.execPath, [join(tree, "src/main.ts"), "serve"], {
    cwd: folder,
    env,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const close = async () => {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    if (child.exitCode === null) {
      child.kill("SIGTERM");
      await ended;
    }
    await Promise.all([skyvern.close(), slack.close(), smtp.close(), http.close()]);
    rmSync(folder, { recursive: true, force: true });
  };
  for (const end = Date.now() + 30_000; ;) {
    const answer = await fetch(`${url}/readyz`).catch(() => null);
    if (answer?.ok) return { url, skyvern, slack, smtp, http, close };
    if (child.exitCode !== null || Date.now() > end) {
      await close();
      throw new Error(`the relay of ${tree} did not start`);
    }
    await new Promise((later) => setTimeout(later, 100));
  }
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
    server.once("error", reject);
  });
