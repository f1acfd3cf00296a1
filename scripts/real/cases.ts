/** Every kind of run, and what is done to it while it goes on. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Row, SkyvernApi } from "./skyvern-api.ts";

export interface World {
  skyvern: SkyvernApi;
  portalUrl: string;
  /** What the relay says of a run. */
  known(runId: string): Promise<KnownRun>;
  /** Resolves with the run's row as soon as it fits. */
  until(runId: string, fits: (row: Row) => boolean): Promise<Row>;
}

/** A run in the relay's API, as far as the cases look at it. */
export interface KnownRun {
  related: { parent: string | null; children: string[]; schedule: string | null };
  trigger: string | null;
  tags: string[];
  files: { name: string }[];
}

export interface Case {
  name: string;
  /** The outcome, and how often Skyvern tries the run. */
  expected: { status: string; attempts?: number };
  /** Needs a browser: one at a time. */
  browser?: true;
  /** Starts it and answers the ids of the runs that come of it. */
  start(world: World): Promise<string[]>;
  /** What happens to it meanwhile. */
  meanwhile?(world: World, runId: string): Promise<unknown>;
  /** What is wrong with what the relay says of it in the end, beside what is compared of every run. */
  faultsOf?(known: KnownRun, world: World, runId: string): Promise<string[]> | string[];
}

const request = (label: string, url: string) => ({ block_type: "http_request", label, method: "GET", url });
const wait = (label: string, seconds: number) => ({ block_type: "wait", label, wait_sec: seconds });
const ok = ({ portalUrl }: World, label = "rates") => request(label, `${portalUrl}/page`);

/** A case of one workflow run. */
const aWorkflow = (
  name: string,
  expected: Case["expected"],
  blocksOf: (world: World) => readonly object[],
  more: Partial<Case> & { policy?: object; run?: object } = {},
): Case => {
  const { policy, run, ...rest } = more;
  return {
    name,
    expected,
    start: async (world) => {
      const definition = policy === undefined ? {} : { retry_policy: policy };
      return [await world.skyvern.run(await world.skyvern.workflow(name, blocksOf(world), definition), run)];
    },
    ...rest,
  };
};

const aTask = (name: string, engine: string, say: string, status: string): Case => ({
  name,
  expected: { status },
  browser: true,
  start: async ({ skyvern, portalUrl }) => {
    const { run_id } = await skyvern.post<{ run_id: string }>("/v1/run/tasks", {
      prompt: `Look at the invoice. SAY=${say}`,
      url: `${portalUrl}/page`,
      engine,
      webhook_url: skyvern.webhookUrl,
      max_steps: 5,
      ...(say === "code" ? { totp_url: `${portalUrl}/code` } : {}),
    });
    return [run_id];
  },
});

const expectSame = (name: string, is: unknown, wanted: unknown): string[] =>
  JSON.stringify(is) === JSON.stringify(wanted)
    ? []
    : [`${name} is ${JSON.stringify(is)}, not ${JSON.stringify(wanted)}`];

/** A run that Skyvern starts by itself, found by the list of its workflow's runs. */
async function firstRun({ skyvern }: World, workflow: string): Promise<string> {
  for (let tried = 0; tried < 180; tried += 1) {
    const [row] = await skyvern.get<{ workflow_run_id: string }[]>(`/v1/workflows/${workflow}/runs`);
    if (row !== undefined) return row.workflow_run_id;
    await sleep(1_000);
  }
  throw new Error(`no run of ${workflow} began`);
}

let scheduleId = "";

const cancel = ({ skyvern }: World, runId: string) => skyvern.post(`/v1/runs/${runId}/cancel`);
const isPending = (row: Row): boolean => row.retry_pending === true;

/** Runs with a retry policy, in both modes of its webhooks. */
const retries = ["final_only", "every_attempt"].flatMap((mode): Case[] => {
  const policy = (seconds: number) => ({
    max_retries: 1,
    delay_seconds: seconds,
    webhook_on_retry: mode,
    retry_on: [{ status: "failed" }],
  });
  const flaky = (key: string) => (world: World) => [
    request("rates", `${world.portalUrl}/flaky/${mode}-${key}-${Date.now()}`),
  ];
  const broken = (world: World) => [request("rates", `${world.portalUrl}/none`)];
  return [
    aWorkflow(`${mode}: second attempt works`, { status: "completed", attempts: 2 }, flaky("works"), {
      policy: policy(8),
    }),
    aWorkflow(`${mode}: policy spent`, { status: "failed", attempts: 2 }, broken, { policy: policy(8) }),
    aWorkflow(`${mode}: delay 0`, { status: "completed", attempts: 2 }, flaky("at-once"), { policy: policy(0) }),
    aWorkflow(`${mode}: canceled between`, { status: "failed" }, broken, {
      policy: policy(120),
      meanwhile: async (world, runId) => {
        await world.until(runId, isPending);
        await sleep(2_000);
        await cancel(world, runId);
      },
    }),
    aWorkflow(
      `${mode}: canceled in the second`,
      { status: "canceled", attempts: 2 },
      (world) => [wait("pause", 8), ...broken(world)],
      {
        policy: policy(3),
        meanwhile: async (world, runId) => {
          await world.until(runId, (row) => row.attempt === 2);
          await cancel(world, runId).catch(() => null);
        },
      },
    ),
  ];
});

export const CASES: readonly Case[] = [
  aWorkflow("http_request", { status: "completed" }, (world) => [ok(world)]),
  aWorkflow("for_loop", { status: "completed" }, (world) => [
    {
      block_type: "for_loop",
      label: "each",
      loop_blocks: [ok(world, "inner"), wait("pause", 1)],
      loop_variable_reference: "{{ [1, 2] }}",
    },
  ]),
  aWorkflow("request fails", { status: "failed" }, ({ portalUrl }) => [request("rates", `${portalUrl}/none`)]),
  aWorkflow("terminate block", { status: "terminated" }, () => [
    { block_type: "terminate", label: "stop", reason: "Nothing to pay.", error_code: "NOTHING_DUE" },
  ]),
  aWorkflow("timed out", { status: "timed_out" }, () => [wait("pause", 90)], { run: { max_elapsed_time_minutes: 1 } }),
  aWorkflow("canceled", { status: "canceled" }, () => [wait("pause", 15)], {
    meanwhile: async (world, runId) => {
      await world.until(runId, ({ status }) => status === "running");
      await cancel(world, runId);
    },
  }),
  aWorkflow(
    "paused, then continued",
    { status: "completed" },
    () => [
      {
        block_type: "human_interaction",
        label: "approve",
        recipients: ["ops@example.com"],
        subject: "Approve",
        body: "Please",
        instructions: "Approve it.",
        timeout_seconds: 120,
      },
    ],
    {
      meanwhile: async (world, runId) => {
        await world.until(runId, ({ status }) => status === "paused");
        await world.skyvern.post(`/v1/workflows/runs/${runId}/continue`);
      },
    },
  ),
  {
    name: "parent and child",
    expected: { status: "completed" },
    start: async (world) => {
      const child = await world.skyvern.workflow("Child", [ok(world)]);
      const block = {
        block_type: "workflow_trigger",
        label: "child",
        workflow_permanent_id: child,
        wait_for_completion: true,
        payload: {},
      };
      return [await world.skyvern.run(await world.skyvern.workflow("Parent", [block]))];
    },
    faultsOf: async ({ related }, world, runId) => {
      const [child = ""] = related.children;
      return child === ""
        ? ["no child"]
        : expectSame("parent of the child", (await world.known(child)).related.parent, runId);
    },
  },
  aWorkflow("tags", { status: "completed" }, (world) => [ok(world)], {
    run: { run_metadata: { customer: "42" } },
    faultsOf: ({ tags, trigger }) => [
      ...expectSame("tags", tags, ["customer:42"]),
      ...expectSame("trigger", trigger, "api"),
    ],
  }),
  {
    name: "schedule",
    expected: { status: "completed" },
    start: async (world) => {
      const workflow = await world.skyvern.workflow("Scheduled", [ok(world)]);
      const made = await world.skyvern.post<{ schedule?: { workflow_schedule_id?: string } }>(
        `/v1/agents/${workflow}/schedules`,
        { run_at: new Date(Date.now() + 75_000).toISOString(), timezone: "UTC", name: "Once", parameters: {} },
      );
      scheduleId = made.schedule?.workflow_schedule_id ?? "";
      return [await firstRun(world, workflow)];
    },
    faultsOf: ({ trigger, related: { schedule } }) => [
      ...expectSame("trigger", trigger, "scheduled"),
      ...expectSame("schedule", schedule, scheduleId),
    ],
  },
  {
    name: "run group",
    expected: { status: "completed" },
    start: async (world) => {
      const { items } = await world.skyvern.post<{ items: { workflow_run_id: string }[] }>("/v1/workflow_run_groups", {
        workflow_id: await world.skyvern.workflow("Grouped", [ok(world)]),
        submission_key: `batch-${Date.now()}`,
        items: [{ key: "a" }, { key: "b" }],
      });
      return items.map((item) => item.workflow_run_id);
    },
  },
  aWorkflow(
    "a file by request",
    { status: "completed" },
    ({ portalUrl }) => [{ ...request("invoice", `${portalUrl}/invoice.pdf`), save_response_as_file: true }],
    { faultsOf: ({ files }) => expectSame("files", files.length, 1) },
  ),
  ...retries,
  aWorkflow(
    "page in a browser",
    { status: "completed" },
    ({ portalUrl }) => [{ block_type: "goto_url", label: "open", url: `${portalUrl}/page` }],
    { browser: true },
  ),
  aWorkflow(
    "code that raises",
    { status: "failed" },
    () => [{ block_type: "code", label: "sum", code: 'raise Exception("Portal says: try later")' }],
    { browser: true },
  ),
  aWorkflow(
    "a download",
    { status: "completed" },
    ({ portalUrl }) => [
      {
        block_type: "file_download",
        label: "download",
        url: `${portalUrl}/page`,
        navigation_goal: "Download the invoice. SAY=download:Invoice",
        max_steps_per_run: 5,
      },
    ],
    { browser: true, faultsOf: ({ files }) => expectSame("files", files.length, 1) },
  ),
  aTask("task v1", "skyvern-1.0", "complete", "completed"),
  aTask("a one-time code", "skyvern-1.0", "code", "completed"),
  // No model of theirs is there.
  aTask("OpenAI's agent", "openai-cua", "complete", "failed"),
  aTask("Anthropic's agent", "anthropic-cua", "complete", "failed"),
  aTask("task v1 gives up", "skyvern-1.0", "terminate", "terminated"),
  aTask("task v2", "skyvern-2.0", "complete", "completed"),
  aTask("task v3", "skyvern-3.0", "complete", "completed"),
];
