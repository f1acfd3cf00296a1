/** `skyvern-relay send-test`: a signed sample to a relay, and what its answer means. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { SAMPLE_STATUSES, SAMPLE_TYPES } from "../../src/demo/samples.ts";
import { isTerminal } from "../../src/domain/run.ts";
import { aListeningApp } from "../support/app.ts";
import { runCommand } from "../support/command.ts";
import { FIXTURE_KEY } from "../support/fixtures.ts";

const OTHER_KEY = "another-key-of-the-tests";
const env = { SKYVERN_API_KEY: `${FIXTURE_KEY},${OTHER_KEY}` };

it("send-test sends a sample of every type and status, which settles to that status and says that it is a sample", async () => {
  const relay = await aListeningApp();
  const url = `${relay.url}/webhook/samples`;
  for (const type of SAMPLE_TYPES) {
    for (const status of SAMPLE_STATUSES) {
      const given = ["send-test", "--url", url, "--type", type, "--status", status, "--json"];
      const { code, stdout, stderr } = await runCommand(given, env);
      expect({ code, stderr }, `${type} ${status}`).toEqual({ code: 0, stderr: "" });
      const sent = JSON.parse(stdout) as { run_id: string };
      expect(sent).toEqual({
        ok: true,
        http_status: 200,
        answer: JSON.stringify({ run_id: sent.run_id, result: isTerminal(status) ? "accepted" : "stored" }),
        ms: expect.any(Number) as number,
        hint: null,
        url,
        run_id: expect.stringMatching(/_sample_\d+$/) as string,
        run_type: type,
        status,
        key: "SKYVERN_API_KEY[1]",
      });
      const run = await relay.read(`/v1/runs/${sent.run_id}`);
      expect(run).toMatchObject({ run_id: sent.run_id, run_type: type, status, channel: "samples", app_url: null });
      expect(run).toMatchObject({ recording_url: null, screenshot_urls: [], files: [] });
      const words = JSON.stringify([run["output"], run["failure"], run["summary"]]);
      if (isTerminal(status)) expect(words, `${type} ${status}`).toContain("A sample sent by skyvern-relay");
    }
  }
});

it("send-test goes to the relay on this machine by default, where `why` finds the sample", async () => {
  const relay = await aListeningApp();
  const local = { ...env, PORT: String(relay.port) };
  const { code, stdout } = await runCommand(["send-test", "--type", "workflow_run"], local);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^200 \{"run_id":"wr_sample_\d+","result":"accepted"\} after \d+ ms\n/);
  const [, runId] = /skyvern-relay why (\S+)/.exec(stdout) ?? [];
  expect(await relay.read(`/v1/runs/${runId}`)).toMatchObject({ workflow: { title: "Sample of skyvern-relay" } });
});

it("send-test tries a route by workflow with --workflow and --title", async () => {
  const file = [
    "routes:",
    "  - { name: invoices, when: { workflow: wpid_123, status: failed }, to: [http] }",
    '  - { name: bills, when: { workflow: "Pay *" }, to: [http] }',
  ].join("\n");
  const relay = await aListeningApp({}, { standIns: ["http"], file });
  const given = [
    "send-test",
    "--url",
    `${relay.url}/webhook`,
    "--workflow",
    "wpid_123",
    "--status",
    "failed",
    "--json",
  ];
  const tried = async (args: string[]) => {
    const { stdout } = await runCommand(args, env);
    const { run_id: id } = JSON.parse(stdout) as { run_id: string };
    const { routes } = await relay.read<{ routes: { matched: boolean; because: string }[] }>(`/v1/runs/${id}/why`);
    return routes.map(({ matched, because }) => `${matched}: ${because}`);
  };
  expect(await tried(given)).toEqual([
    'true: status is failed; workflow is wpid_123 ("Sample of skyvern-relay")',
    'false: workflow is wpid_123 ("Sample of skyvern-relay"), not "Pay *"',
  ]);
  expect((await tried([...given, "--title", "Pay invoices"]))[1]).toBe('true: workflow is wpid_123 ("Pay invoices")');
  const { code, stderr } = await runCommand([...given, "--type", "task_v2"], env);
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: "skyvern-relay send-test: --workflow and --title go with --type workflow_run\n",
  });
});

it("send-test ends with exit code 1 for a key that the relay does not have, and says what to do", async () => {
  const relay = await aListeningApp();
  const { code, stdout, stderr } = await runCommand(
    ["send-test", "--url", `${relay.url}/webhook`, "--key", "SKYVERN_API_KEY[2]"],
    env,
  );
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toContain("401");
  expect(stderr).toContain("add the key SKYVERN_API_KEY[2]");
  expect(stderr).not.toContain(OTHER_KEY);
});

const answers: [string, (response: ServerResponse) => unknown, string][] = [
  [
    "a redirect",
    (r) => r.writeHead(308, { location: "https://relay.example.com/webhook" }).end(),
    "follows no redirect",
  ],
  ["a login page", (r) => r.writeHead(403).end("<html>"), "a firewall, a login page, a bot check"],
  ["another site", (r) => r.writeHead(404).end("no"), "the path is /webhook"],
  ["a host that is down", (r) => r.writeHead(502).end("bad gateway"), "cannot accept webhooks right now"],
  ["an echo of the signature's key", (r) => r.writeHead(500).end(FIXTURE_KEY), "[secret]"],
  ["a reset", (r) => r.socket?.resetAndDestroy(), "gave no answer"],
];
it.each(answers)(
  "send-test ends with exit code 1 where %s answers instead of a relay, and says what it means",
  async (_what, answer, hint) => {
    const url = await listening((response) => void answer(response));
    const { code, stdout, stderr } = await runCommand(["send-test", "--url", url], env);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(hint);
    expect(stderr).not.toContain(FIXTURE_KEY);
    const json = await runCommand(["send-test", "--url", url, "--json"], env);
    expect(json).toMatchObject({ code: 1, stderr: "" });
    expect(JSON.parse(json.stdout)).toMatchObject({ ok: false, hint: expect.any(String) as string });
  },
);

it("send-test ends with exit code 1 at an address without a listener", async () => {
  const relay = await aListeningApp();
  await relay.stop();
  const closed = `${relay.url}/webhook`;
  const { code, stderr } = await runCommand(["send-test", "--url", closed], env);
  expect(code).toBe(1);
  expect(stderr).toContain("the connection was refused");
});

it.each([
  [["--type", "task_v9"], "--type must be one of task_v1, task_v2"],
  [["--status", "done"], "--status must be one of completed"],
  [["--key", FIXTURE_KEY], "--key must be the name of a configured key (SKYVERN_API_KEY[1], SKYVERN_API_KEY[2])"],
  [["--url", "relay.example.com"], "--url must be an http:// or https:// address"],
  [["--url", "ftp://relay.example.com"], "--url must be"],
])("send-test refuses %j as wrong usage", async (args, reason) => {
  const { code, stdout, stderr } = await runCommand(["send-test", ...args], env);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain(reason);
});

/** A server on loopback that answers everything so. Closed when the test ends. */
async function listening(answer: (response: ServerResponse) => void): Promise<string> {
  const server = createServer((_request, response) => answer(response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhook`;
}
