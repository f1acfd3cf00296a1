/** Pages while rows arrive: of what was there at the first page nothing is missed, and nothing comes twice. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { anApp, type TestApp } from "../support/app.ts";
import { aRuntime, type TestRuntime } from "../support/runtime.ts";

const FILE = `
sinks:
  ops: { kind: http, url: https://ops.example.com/ }
  crm: { kind: http, url: https://crm.example.com/ }
`;
const aRun = (n: number, status: string): string =>
  JSON.stringify({ run_id: `tsk_${String(n).padStart(3, "0")}`, status, output: { order: n, note: "an invoice" } });

interface Page {
  data: { run_id: string; id: string }[];
  next_cursor: string | null;
}

/** Statuses of what is there, and of what comes between two pages; `at`: ms since the one before. */
const arrivals = (max: number) =>
  fc.array(fc.record({ status: fc.constantFrom("completed", "failed"), wait: fc.constantFrom(0, 0, 1, 3_600_000) }), {
    minLength: 1,
    maxLength: max,
  });

async function send(relay: TestApp, runtime: TestRuntime, runs: { status: string; wait: number }[], from: number) {
  for (const [i, { status, wait }] of runs.entries()) {
    runtime.advance(wait);
    await relay.webhook(aRun(from + i, status));
  }
}

it.each([
  ["/v1/runs?", "run_id"],
  ["/v1/runs?status=failed&", "run_id"],
  ["/v1/runs?status=failed&status=completed&", "run_id"],
  ["/v1/runs?q=invoice&", "run_id"],
  ["/v1/runs?q=invo*&status=failed&", "run_id"],
  ["/v1/runs?sink=crm&", "run_id"],
  ["/v1/deliveries?", "id"],
  ["/v1/deliveries?sink=crm&", "id"],
  ["/v1/deliveries?state=pending&sink=ops&sink=crm&", "id"],
] as const)("pages of GET %s hold every row once while others arrive", async (address, key) => {
  await fc.assert(
    fc.asyncProperty(arrivals(12), arrivals(3), fc.integer({ min: 1, max: 5 }), async (old, fresh, limit) => {
      const runtime = aRuntime();
      const relay = await anApp({}, { runtime, file: FILE });
      await send(relay, runtime, old, 0);
      const all = (await relay.read<Page>(`${address}limit=200`)).data.map((row) => row[key]);

      const seen: string[] = [];
      let count = old.length;
      for (let cursor: string | null = ""; cursor !== null;) {
        const page: Page = await relay.read<Page>(
          `${address}limit=${limit}${cursor === "" ? "" : `&cursor=${cursor}`}`,
        );
        seen.push(...page.data.map((row) => row[key]));
        cursor = page.next_cursor;
        await send(relay, runtime, fresh, count);
        count += fresh.length;
      }

      expect(seen).toEqual(all);
      await relay.stop();
    }),
    { numRuns: 6 },
  );
});
