/** One mail to several people, some of whom the server refuses: by the whole relay and a real SMTP server. */
import { expect, it } from "vitest";
import { anApp } from "../support/app.ts";
import { runCommand } from "../support/command.ts";
import { FIXTURE_KEY, fixtureBytes } from "../support/fixtures.ts";
import { aFolder } from "../support/app.ts";
import { aRuntime } from "../support/runtime.ts";

const EMAIL_TO = "ap@example.com, slow@example.com, gone@example.com";

interface Shown {
  deliveries: { state: string; last_error: string | null; receipt: Record<string, unknown> | null; attempts: number }[];
}

it("a mail is tried again only for recipients refused for now; why, log and page name those refused for good", async () => {
  const runtime = aRuntime();
  const DATABASE_URL = `sqlite:${aFolder()}/relay.db`;
  const relay = await anApp({ EMAIL_TO, DATABASE_URL }, { standIns: ["smtp"], runtime });
  const { smtp } = relay.standIns;
  smtp.faults.push(
    { at: "rcpt", code: 450, address: "slow@example.com", text: "4.2.0 Greylisted" },
    { at: "rcpt", code: 550, address: "gone@example.com", text: "5.1.1 No such user" },
  );
  const { run_id: runId } = (await relay.webhook(fixtureBytes("task_v2.completed"))).json<{ run_id: string }>();
  const delivery = async () => (await relay.read<Shown>(`/v1/runs/${runId}`)).deliveries[0];

  await relay.deliver();
  expect(smtp.messages.map(({ envelope }) => envelope.to)).toEqual([["ap@example.com"]]);
  expect(await delivery()).toMatchObject({
    state: "pending",
    last_error: expect.stringContaining("slow@example.com (450"),
  });

  runtime.advance(10_000);
  await relay.deliver();
  expect(smtp.messages.map(({ envelope }) => envelope.to)).toEqual([["ap@example.com"], ["slow@example.com"]]);
  expect(await delivery()).toMatchObject({
    state: "delivered",
    attempts: 2,
    last_error: expect.stringContaining("gone@example.com (550 5.1.1 No such user"),
    receipt: { accepted: ["ap@example.com", "slow@example.com"], rejected: [{ address: "gone@example.com" }] },
  });

  const named = /for good for gone@example\.com \(550 5\.1\.1 No such user/;
  const { stdout } = await runCommand(["why", runId], { SKYVERN_API_KEY: FIXTURE_KEY, DATABASE_URL });
  expect(stdout).toMatch(/Delivered to email at .*gone@example\.com/);
  expect(stdout).toMatch(named);
  const lines = relay.log().split("\n");
  // The attempt at which it was refused, and the last one.
  expect(lines.filter((line) => line.includes('"delivery.attempted"') && named.test(line))).toHaveLength(2);
  expect((await relay.read<{ data: { failures: number }[] }>("/v1/sinks")).data).toHaveLength(1);
});
