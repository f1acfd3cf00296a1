/** `skyvern-relay send-test`: one signed sample to a relay, here or elsewhere, as Skyvern would send it. */
import { createHmac } from "node:crypto";
import type { Config } from "../config/config.ts";
import {
  SAMPLE_STATUSES,
  SAMPLE_TYPES,
  makeSample,
  type SampleStatus,
  type SampleType,
  type SampleWorkflow,
} from "../demo/samples.ts";
import { createEgress } from "../net/egress.ts";
import type { HttpClient, HttpResponse } from "../net/http-client.ts";
import { outcomeOfError, quote } from "../sinks/http-outcome.ts";
import { complain, EXIT, type AddCommand, type CommandDeps } from "./command.ts";

/** As commander reads them. */
interface SendTestOptions {
  url?: string;
  type?: string;
  status: string;
  workflow?: string;
  title?: string;
  key?: string;
  json?: boolean;
}

export const addSendTest: AddCommand = ({ command, configured }) =>
  command("send-test", "send a signed sample to a relay, here or elsewhere; it is handled like any webhook")
    .option("--url <address>", "the webhook address; default: /webhook of the relay on this machine")
    .option("--type <run_type>", `one of ${SAMPLE_TYPES.join(", ")}; default: task_v2`)
    .option("--status <status>", `one of ${SAMPLE_STATUSES.join(", ")}`, "completed")
    .option("--workflow <wpid>", "a run of this workflow, to try its route (a workflow_run)")
    .option("--title <text>", "the title of its workflow (a workflow_run)")
    .option("--key <name>", "sign with the configured key of this name, as `check` lists them; default: the first")
    .option("--json", "machine-readable")
    .action(configured((deps, options: SendTestOptions) => sendTestCommand(options, deps)));

interface SendTestPlan {
  url: string;
  type: SampleType;
  status: SampleStatus;
  workflow: SampleWorkflow;
  key: Config["keys"][number];
}

/** What came of it. `ok`: the relay has it, as far as Skyvern would know. */
interface Sent {
  ok: boolean;
  http_status: number | null;
  /** The answer's beginning. */
  answer: string | null;
  ms: number;
  /** What to do, when it is not ok. */
  hint: string | null;
}

/** Skyvern's own limit (contract §2). */
const TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 2_048;

/** Resolves with the exit code: 1 when the relay did not answer with 2xx. */
async function sendTestCommand(options: SendTestOptions, deps: CommandDeps): Promise<number> {
  const { shell, runtime } = deps;
  const plan = parsePlan(options, deps.config);
  if (typeof plan === "string") return complain(shell, "send-test")(EXIT.usage, plan);
  const payload = makeSample(runtime, plan.type, plan.status, plan.workflow);
  const runId = String(payload["run_id"]);
  // The address is the caller's own, wherever it leads; redirects are not followed, as Skyvern follows none.
  const egress = createEgress({ allow: ["0.0.0.0/0", "::/0"], timeoutMs: TIMEOUT_MS });
  const sent = await send(plan, JSON.stringify(payload), { ...deps, request: egress.request });
  await egress.close();
  if (options.json === true) {
    const { url, type, status, key } = plan;
    shell.stdout(
      `${JSON.stringify({ ...sent, url, run_id: runId, run_type: type, status, key: key.name }, null, 2)}\n`,
    );
  } else if (sent.ok) {
    shell.stdout(`${sent.http_status} ${sent.answer ?? ""} after ${sent.ms} ms\n`);
    shell.stdout(
      options.url === undefined ? `See what happened: skyvern-relay why ${runId}\n` : `The run is ${runId}\n`,
    );
  } else {
    const came = sent.http_status === null ? "no answer" : `${sent.http_status} ${sent.answer ?? ""}`.trimEnd();
    shell.stderr(`skyvern-relay send-test: ${came} from ${plan.url}\n${sent.hint ?? ""}\n`);
  }
  return sent.ok ? EXIT.done : EXIT.failed;
}

async function send(
  { url, key }: SendTestPlan,
  body: string,
  { request, runtime, shell }: CommandDeps & { request: HttpClient },
): Promise<Sent> {
  const startedAt = performance.now();
  const ms = () => Math.round(performance.now() - startedAt);
  try {
    const response = await request(url, {
      method: "POST",
      body,
      maxBytes: MAX_ANSWER_BYTES,
      signal: AbortSignal.any([AbortSignal.timeout(TIMEOUT_MS), shell.stopped]),
      headers: {
        "content-type": "application/json",
        "user-agent": "skyvern-relay send-test",
        "x-skyvern-timestamp": String(Math.floor(runtime.now() / 1000)),
        "x-skyvern-signature": createHmac("sha256", key.key.reveal()).update(body).digest("hex"),
      },
    });
    const answer = quote(response.body.toString("utf8"), [key.key.reveal()], 500);
    const ok = response.status >= 200 && response.status < 300;
    const hint = ok ? null : hintFor(response, key.name);
    return { ok, http_status: response.status, answer, ms: ms(), hint };
  } catch (error) {
    const outcome = outcomeOfError(error, "the relay");
    const hint = outcome.kind === "delivered" ? null : outcome.reason;
    return { ok: false, http_status: null, answer: null, ms: ms(), hint };
  }
}

/** What the person at the terminal can do about an answer that is not 2xx. */
function hintFor({ status, headers }: HttpResponse, key: string): string {
  if (status >= 300 && status < 400) {
    const to = headers.get("location");
    return (
      "Skyvern follows no redirect: give it the final " +
      `address${to === null ? "" : `, perhaps ${quote(to, [], 300)}`}.`
    );
  }
  if (status === 401)
    return `That relay has no key for this signature: add the key ${key} of this configuration to it.`;
  if (status === 403)
    return (
      "Skyvern retries a 403. Something in front of the relay refuses the request: a firewall, a login page, a " +
      "bot check."
    );
  if (status === 404 || status === 405)
    return "No relay accepts webhooks at this address: the path is /webhook or /webhook/<channel>.";
  if (status === 429 || status >= 500)
    return "It cannot accept webhooks right now; Skyvern would try twice more. The relay's log says why.";
  return "The relay's log says why.";
}

/** What to send where, or what is wrong with how it was called. */
function parsePlan(options: SendTestOptions, config: Config): SendTestPlan | string {
  const { url, status, key, workflow: id, title } = options;
  const isOfWorkflow = id !== undefined || title !== undefined;
  const { type = isOfWorkflow ? "workflow_run" : "task_v2" } = options;
  if (isOfWorkflow && type !== "workflow_run") return "--workflow and --title go with --type workflow_run";
  const known = SAMPLE_TYPES.find((one) => one === type);
  if (!known) return `--type must be one of ${SAMPLE_TYPES.join(", ")}, not ${JSON.stringify(type)}`;
  const state = SAMPLE_STATUSES.find((one) => one === status);
  if (!state) return `--status must be one of ${SAMPLE_STATUSES.join(", ")}, not ${JSON.stringify(status)}`;
  const named = key === undefined ? config.keys[0] : config.keys.find(({ name }) => name === key);
  const names = config.keys.map(({ name }) => name).join(", ");
  if (!named) return `--key must be the name of a configured key (${names}), not ${JSON.stringify(key ?? null)}`;
  const address = url ?? `http://${formatHost(config.host)}:${config.port}/webhook`;
  const parsed = URL.parse(address);
  if (!parsed || !/^https?:$/.test(parsed.protocol)) return "--url must be an http:// or https:// address";
  return { url: address, type: known, status: state, workflow: { id, title }, key: named };
}

/** Where a relay that listens on `host` is met from the same machine. */
function formatHost(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "127.0.0.1";
  return host.includes(":") ? `[${host}]` : host;
}
