import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseEnv } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import { parse } from "yaml";
import { runCli } from "../../src/cli/cli.ts";
import { loadConfig } from "../../src/config/config.ts";
import { MANIFEST, slackAppLink } from "../../src/sinks/slack/app-link.ts";
import { startHttpSink } from "../support/http-sink.ts";
import { startSkyvern, type StandInSkyvernOptions } from "../support/skyvern.ts";
import { startSlack } from "../support/slack.ts";
import { startSmtp } from "../support/smtp.ts";
import { aFolder } from "../support/app.ts";
import { skyvernWorkflows, type SkyvernWorkflowsOptions } from "../support/skyvern-workflows.ts";
import { atSkyvern } from "../support/at-skyvern.ts";
import { runCommand } from "../support/command.ts";
import { blocksOf } from "../docs/documents.ts";

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
const KEY = "the-key-of-the-tests";
const DAY = 86_400_000;

async function aSkyvern({ schedules = 4, ...options }: Partial<StandInSkyvernOptions> & SkyvernWorkflowsOptions = {}) {
  const { more } = skyvernWorkflows(137, { schedules });
  const skyvern = await startSkyvern({ keys: [KEY], more, ...options });
  onTestFinished(() => skyvern.close());
  for (let i = 0; i < 120; i += 1) {
    const status = i % 10 === 0 ? "failed" : "completed";
    skyvern.addRun(atSkyvern({ id: `tsk_${i}`, status, endedAt: Date.now() - (i / 20) * DAY }));
  }
  return skyvern;
}

async function aSlack() {
  const slack = await startSlack();
  onTestFinished(() => slack.close());
  return { slack, env: { SLACK_API_URL: slack.url, SLACK_BOT_TOKEN: slack.token, SLACK_CHANNEL: "C0123ABCD" } };
}

/** By flags and the environment, without a terminal. */
async function init(dir: string, flags: readonly string[], env: Record<string, string> = {}) {
  const all = { ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8", ...env };
  return runCommand(["init", "--dir", dir, ...flags], all);
}

/** At a terminal: each question is answered by the first fitting answer; null closes the terminal. */
async function initAtTerminal(dir: string, answers: [RegExp, string | null][], env: Record<string, string> = {}) {
  let [stdout, stderr] = ["", ""];
  const asked: { question: string; isSecret: boolean }[] = [];
  const code = await runCli(["init", "--dir", dir], {
    env: { ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8", ...env },
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    stopped: new AbortController().signal,
    ask: (question, { isSecret }) => {
      asked.push({ question, isSecret });
      const answer = answers.find(([pattern]) => pattern.test(question));
      return Promise.resolve(answer === undefined ? "" : answer[1]);
    },
  });
  return { code, stdout, stderr, asked };
}

const written = (dir: string) => parseEnv(readFileSync(join(dir, ".env"), "utf8"));

describe("by flags", () => {
  it("init shows what the key opens, sends a test to each sink, and writes .env and relay.yaml", async () => {
    const dir = aFolder();
    const skyvern = await aSkyvern();
    const { slack, env } = await aSlack();
    const [smtp, http] = [await startSmtp(), await startHttpSink()];
    onTestFinished(async () => void (await Promise.all([smtp.close(), http.close()])));
    const flags = [
      ["--key", KEY],
      ["--base-url", skyvern.url],
      ["--slack-bot-token", env.SLACK_BOT_TOKEN],
      ["--slack-channel", env.SLACK_CHANNEL],
      ["--smtp-url", smtp.url],
      ["--email-from", "Relay <relay@example.com>"],
      ["--email-to", "ops@example.com"],
      ["--sink-url", http.url],
    ].flat();
    const { code, stdout, stderr } = await init(dir, flags, { SLACK_API_URL: slack.url });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("137 workflows, 4 schedules, 120 runs in 7 days, 10 % failed");
    expect(slack.messages()).toHaveLength(1);
    expect(smtp.messages).toHaveLength(1);
    expect(http.requests).toHaveLength(1);

    expect(statSync(join(dir, ".env")).mode & 0o777).toBe(0o600);
    expect(written(dir)).toEqual({
      SKYVERN_API_KEY: KEY,
      SKYVERN_BASE_URL: skyvern.url,
      SLACK_BOT_TOKEN: env.SLACK_BOT_TOKEN,
      SLACK_CHANNEL: env.SLACK_CHANNEL,
      SMTP_URL: smtp.url,
      EMAIL_FROM: "Relay <relay@example.com>",
      EMAIL_TO: "ops@example.com",
      SINK_URL: http.url,
      SINK_SECRET: expect.stringMatching(/^whsec_[\w+/]{43}=$/) as string,
    });
    expect(stdout).not.toContain(KEY);
    const readFile = (path: string) => readFileSync(join(dir, path), "utf8");
    expect(loadConfig({ env: written(dir), readFile }).ok).toBe(true);
    expect(parse(readFile("relay.yaml"))).toEqual({ retention: { runs: "365d", raw: "90d" } });
    expect(readdirSync(dir).toSorted()).toEqual([".env", "relay.yaml"]);
  });

  it("init takes everything from the environment too, and needs no sink", async () => {
    const dir = aFolder();
    const skyvern = await aSkyvern({ schedules: "missing" });
    const { code, stdout } = await init(dir, [], { SKYVERN_API_KEY: KEY, SKYVERN_BASE_URL: skyvern.url });
    expect(code).toBe(0);
    expect(stdout).toContain("137 workflows, 120 runs in 7 days");
    expect(written(dir)).toEqual({ SKYVERN_API_KEY: KEY, SKYVERN_BASE_URL: skyvern.url });
  });

  it("init replaces no file that is there without --force", async () => {
    const dir = aFolder();
    const skyvern = await aSkyvern();
    writeFileSync(join(dir, "relay.yaml"), "# mine\n");
    const flags = ["--key", KEY, "--base-url", skyvern.url];
    const refused = await init(dir, flags);
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("relay.yaml is there already") as string,
    });
    expect(readFileSync(join(dir, "relay.yaml"), "utf8")).toBe("# mine\n");
    expect(existsSync(join(dir, ".env"))).toBe(false);
    expect(skyvern.calls).toEqual([]);
    expect((await init(dir, [...flags, "--force"])).code).toBe(0);
    expect(readFileSync(join(dir, "relay.yaml"), "utf8")).not.toContain("mine");
  });

  it("init --force keeps the variables of .env that it does not ask for", async () => {
    const dir = aFolder();
    const skyvern = await aSkyvern();
    const lines = [
      "DATABASE_URL=sqlite:/data/relay.db",
      "SKYVERN_API_KEY_FILE=/run/key",
      "SINK_URL=https://old.example/",
    ];
    writeFileSync(join(dir, ".env"), lines.join("\n"));
    expect((await init(dir, ["--key", KEY, "--base-url", skyvern.url, "--force"])).code).toBe(0);
    expect(written(dir)).toEqual({
      DATABASE_URL: "sqlite:/data/relay.db",
      SKYVERN_API_KEY: KEY,
      SKYVERN_BASE_URL: skyvern.url,
    });
  });
});

describe("refusals of init", () => {
  const refusing = async (flags: readonly string[], env: Record<string, string> = {}) => {
    const dir = aFolder();
    const result = await init(dir, flags, env);
    expect(readdirSync(dir)).toEqual([]);
    expect(result.stderr).toMatch(/nothing was written\n$/);
    return { ...result, stderr: result.stderr.trim() };
  };

  it("init says in one line that there is no key, and writes nothing", async () => {
    expect(await refusing([])).toMatchObject({ code: 2, stderr: expect.stringContaining("give --key") as string });
  });

  it("init says in one line that the key is wrong, and writes nothing", async () => {
    const { url } = await aSkyvern();
    const { code, stderr } = await refusing(["--key", "another", "--base-url", url]);
    expect([code, stderr.split("\n").length]).toEqual([1, 1]);
    expect(stderr).toMatch(/refuses the key: copy the whole key again from Skyvern's settings page/);
  });

  it("init says in one line that Skyvern does not answer, and writes nothing", async () => {
    const server = createServer();
    await new Promise<void>((go) => server.listen(0, "127.0.0.1", go));
    const { port } = server.address() as AddressInfo;
    await new Promise((go) => server.close(go));
    const { code, stderr } = await refusing(["--key", KEY, "--base-url", `http://127.0.0.1:${port}`]);
    expect([code, stderr.split("\n").length]).toEqual([1, 1]);
    expect(stderr).toMatch(/does not answer \(.*ECONNREFUSED.*\): correct the base URL/);
  });

  it("init says in one line that no Skyvern is at the address, and writes nothing", async () => {
    const skyvern = await aSkyvern();
    skyvern.faults.push({ status: 404, times: 9 });
    const { code, stderr } = await refusing(["--key", KEY, "--base-url", skyvern.url]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/is no Skyvern that this relay understands .*upgrade Skyvern/);
  });

  it("init says in one line that a sink accepts nothing, and writes nothing", async () => {
    const skyvern = await aSkyvern();
    const { slack, env } = await aSlack();
    const { code, stdout, stderr } = await refusing(
      [
        "--key",
        KEY,
        "--base-url",
        skyvern.url,
        "--slack-bot-token",
        "xoxb-wrong",
        "--slack-channel",
        env.SLACK_CHANNEL,
      ],
      { SLACK_API_URL: slack.url },
    );
    expect(code).toBe(1);
    expect(stdout).toMatch(/^slack +failed: .*invalid_auth/m);
    expect(stderr).toContain("slack did not accept the test message");
  });

  it("init says in one line that half of a sink's settings are missing, and writes nothing", async () => {
    const skyvern = await aSkyvern();
    const { code, stderr } = await refusing(["--key", KEY, "--base-url", skyvern.url, "--slack-channel", "C1"]);
    expect(code).toBe(2);
    expect(stderr).toContain("SLACK_BOT_TOKEN: is missing");
  });

  it("init says in one line that the disk is full, and writes nothing", async () => {
    const dir = aFolder();
    const skyvern = await aSkyvern();
    // No file may have a single byte.
    const line = `ulimit -f 0; exec ${process.execPath} ${MAIN} init --key ${KEY} --base-url ${skyvern.url}`;
    const ended = await new Promise<{ code: number | null; stderr: string }>((done) => {
      const env = { PATH: process.env["PATH"], ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8" };
      const child = spawn("bash", ["-c", line], { cwd: dir, env, stdio: ["ignore", "ignore", "pipe"] });
      let stderr = "";
      child.stderr.on("data", (chunk: Buffer) => void (stderr += chunk.toString()));
      child.on("close", (code) => done({ code, stderr }));
    });
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/EFBIG.*; nothing was written\n$/);
    expect(readdirSync(dir)).toEqual([]);
  });

  it("init says in one line that a folder cannot be written, and writes nothing", async () => {
    const skyvern = await aSkyvern();
    const { code, stderr } = await init("/nowhere", ["--key", KEY, "--base-url", skyvern.url]);
    expect(code).toBe(1);
    expect(stderr).toContain(
      "/nowhere cannot be written to: there is no such folder: make it first; nothing was written\n",
    );
  });
});

describe("at a terminal", () => {
  it("init asks at a terminal for what it does not know, hides secrets, and shows Slack's form filled in", async () => {
    const dir = aFolder();
    const skyvern = await aSkyvern();
    const { slack, env } = await aSlack();
    const { code, stdout, asked } = await initAtTerminal(
      dir,
      [
        [/^API key/, KEY],
        [/slack\?/, "y"],
        [/^SLACK_BOT_TOKEN/, env.SLACK_BOT_TOKEN],
        [/^SLACK_CHANNEL/, env.SLACK_CHANNEL],
      ],
      { SKYVERN_BASE_URL: skyvern.url, SLACK_API_URL: slack.url },
    );
    expect(code).toBe(0);
    expect(stdout).toContain(slackAppLink());
    expect(slack.messages()).toHaveLength(1);
    expect(written(dir)).toMatchObject({ SKYVERN_API_KEY: KEY, SLACK_CHANNEL: env.SLACK_CHANNEL });
    const secrets = asked.filter(({ isSecret }) => isSecret).map(({ question }) => question);
    expect(secrets).toEqual(["API key: ", "SLACK_BOT_TOKEN (empty: another way): "]);
  });

  it("init asks at a terminal before it replaces a file, and leaves the file where the answer is no", async () => {
    const dir = aFolder();
    writeFileSync(join(dir, ".env"), "A=1\n");
    const { code, asked } = await initAtTerminal(dir, [[/^Replace \.env\?/, "n"]]);
    expect([code, asked.length]).toEqual([2, 1]);
    expect(readFileSync(join(dir, ".env"), "utf8")).toBe("A=1\n");
  });

  it.each([/^API key/, /slack\?/, /^SLACK_CHANNEL/])(
    "init writes nothing when its terminal is closed at the question %s",
    async (at) => {
      const dir = aFolder();
      const skyvern = await aSkyvern();
      const { code, stderr } = await initAtTerminal(
        dir,
        [
          [at, null],
          [/^API key/, KEY],
          [/slack\?/, "y"],
          [/^SLACK_BOT_TOKEN/, "xoxb-1"],
        ],
        { SKYVERN_BASE_URL: skyvern.url },
      );
      expect(code).toBe(1);
      expect(stderr).toContain("it was closed in the middle; nothing was written");
      expect(readdirSync(dir)).toEqual([]);
    },
  );
});

it("the Slack form that init shows has the manifest of the documents", () => {
  const manifest = blocksOf("docs/sinks.md").find(({ text }) => text.includes("oauth_config"))?.text ?? "";
  expect(parse(manifest)).toEqual(MANIFEST);
});
