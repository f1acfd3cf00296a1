import { expect, it, onTestFinished } from "vitest";
import { skyvernWorkflows } from "../support/skyvern-workflows.ts";
import { checkWorkflows } from "../../src/cli/doctor/workflows.ts";
import { createEgress } from "../../src/net/egress.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { systemRuntime } from "../../src/platform/runtime.ts";
import { startSkyvern } from "../support/skyvern.ts";
import { configOf } from "../config/source.ts";

const KEY = "the-key-of-the-tests";
const HERE = "https://relay.example.com/webhook/invoices";
const ELSEWHERE = "https://elsewhere.example.com/hook";

async function look(urls: (string | null)[], env: Record<string, string> = {}, keys: string[] = [KEY]) {
  const workflows = urls.map((url, i): JsonObject => ({
    workflow_permanent_id: `wpid_${i}`,
    title: `W ${i}`,
    webhook_callback_url: url,
  }));
  const skyvern = await startSkyvern({ keys, more: skyvernWorkflows(workflows).more });
  onTestFinished(() => skyvern.close());
  const config = configOf({
    SKYVERN_API_KEY: KEY,
    SKYVERN_BASE_URL: skyvern.url,
    PUBLIC_URL: "https://relay.example.com",
    ...env,
  });
  const egress = createEgress({ allow: ["127.0.0.0/8"] });
  onTestFinished(() => egress.close());
  const signal = AbortSignal.timeout(10_000);
  return checkWorkflows({ config, outbound: egress, runtime: systemRuntime(), signal });
}

it("doctor counts the workflows whose webhooks lead here, elsewhere and nowhere, on every page of Skyvern's list", async () => {
  const nowhere = Array.from({ length: 60 }, () => null);
  expect(await look([HERE, ELSEWHERE, ELSEWHERE, "", ...nowhere])).toEqual([
    {
      check: "workflows",
      state: "ok",
      found: "of 64 workflows, webhooks of 1 lead here, 2 elsewhere (“W 1”, “W 2”), 61 nowhere",
    },
  ]);
});

it("doctor says what to do where no workflow leads here and Skyvern is asked for no run", async () => {
  expect(await look([null, ELSEWHERE])).toMatchObject([
    {
      state: "warning",
      fix: expect.stringContaining("skyvern-relay register sets https://relay.example.com/webhook") as string,
    },
  ]);
  expect(await look([null], { PUBLIC_URL: "" })).toMatchObject([{ state: "ok" }]);
});

it("doctor says nothing of workflows where Skyvern cannot be asked or has none", async () => {
  expect(await look([HERE], {}, ["another"])).toEqual([]);
  expect(await look([])).toEqual([]);
});
