/** `skyvern-relay tail`: runs and deliveries of a running relay as they change, a line each. */
import { z } from "zod";
import { createEgress } from "../net/egress.ts";
import { SAMPLE_STATUSES } from "../demo/samples.ts";
import { RETRYING } from "../domain/run.ts";
import type { Fetch } from "../platform/runtime.ts";
import { line } from "../web/text.ts";
import { complain, EXIT, type AddCommand, type CommandDeps } from "./command.ts";

interface TailOptions {
  status?: string[];
  workflow?: string[];
  sink?: string[];
  url?: string;
  json?: boolean;
}

export const addTail: AddCommand = ({ command, configured }) =>
  command("tail", "follow the runs and deliveries of the running relay until Ctrl-C")
    .option("--status <status...>", "runs with one of these outcomes, and their deliveries")
    .option("--workflow <id...>", "runs of these workflows (permanent id or title), and their deliveries")
    .option("--sink <name...>", "only deliveries to these sinks")
    .option("--url <url>", "the relay's address; default: this machine, PORT")
    .option("--json", "a JSON object a line, as GET /v1/events has them")
    .action(configured((deps, options: TailOptions) => tailCommand(options, deps)));

const AGAIN_MS = 1_000;
/** A misspelled one would be waited for in silence. */
const STATUSES: readonly string[] = [...SAMPLE_STATUSES, RETRYING];

/** Resolves with 0 when it is asked to stop, with 1 when the relay refuses this token, and with 2 for wrong options. */
async function tailCommand(options: TailOptions, { config, shell, runtime }: CommandDeps): Promise<number> {
  const failed = complain(shell, "tail");
  const [token] = config.tokens;
  if (!token)
    return failed(
      EXIT.usage,
      `there is no token: set RELAY_TOKEN${config.tokenFile === null ? "" : ", or start the relay once"}`,
    );
  const base = options.url ?? `http://${isAnyAddress(config.host) ? "127.0.0.1" : config.host}:${config.port}`;
  if (!/^https?:$/.test(URL.parse(base)?.protocol ?? ""))
    return failed(EXIT.usage, `--url must be an http:// or https:// address, not ${JSON.stringify(base)}`);
  const status = options.status?.find((name) => !STATUSES.includes(name));
  if (status !== undefined)
    return failed(EXIT.usage, `--status must be one of ${STATUSES.join(", ")}, not ${JSON.stringify(status)}`);
  const show = createTailView(options, shell);
  // The operator's own relay, wherever it is.
  const egress = createEgress({ allow: ["0.0.0.0/0", "::/0"] });
  const relay = { base, token: token.reveal() };
  let last: string | null = null;
  let isLost = false;
  let areSinksKnown = options.sink === undefined;
  try {
    while (!shell.stopped.aborted) {
      const path = areSinksKnown ? "/v1/events" : "/v1/sinks";
      const connected = await connect(egress.fetch, { ...relay, path, last }, shell.stopped);
      if (connected.kind === "refused") return failed(EXIT.failed, connected.reason);
      if (connected.kind === "lost") {
        if (!isLost && !shell.stopped.aborted)
          shell.stderr(`${base} does not answer (${connected.reason}); trying again\n`);
        isLost = true;
      } else if (!areSinksKnown) {
        const fault = await findSinkFault(connected.body, options.sink ?? []);
        if (fault !== null) return failed(EXIT.usage, fault);
        areSinksKnown = true;
        continue;
      } else {
        isLost = false;
        for await (const event of readEvents(connected.body, shell.stopped)) {
          if (event.id !== null) last = event.id;
          show(event);
        }
      }
      await runtime.sleep(AGAIN_MS, shell.stopped);
    }
    return EXIT.done;
  } finally {
    await egress.close();
  }
}

const isAnyAddress = (host: string): boolean => host === "0.0.0.0" || host === "::";

type Connected =
  | { kind: "open"; body: ReadableStream<Uint8Array> }
  | { kind: "refused"; reason: string }
  | { kind: "lost"; reason: string };

async function connect(
  fetch: Fetch,
  { base, token, path, last }: { base: string; token: string; path: string; last: string | null },
  signal: AbortSignal,
): Promise<Connected> {
  const headers = { authorization: `Bearer ${token}`, ...(last === null ? {} : { "last-event-id": last }) };
  try {
    const answer = await fetch(`${base.replace(/\/+$/, "")}${path}`, { headers, signal, redirect: "manual" });
    if (answer.status === 200 && answer.body) return { kind: "open", body: answer.body };
    await answer.body?.cancel();
    const isUnavailable = answer.status === 503 || answer.status === 502 || answer.status === 504;
    if (isUnavailable) return { kind: "lost", reason: `HTTP ${answer.status}` };
    const reason =
      answer.status === 401 || answer.status === 403
        ? `${base} refuses the token: use the RELAY_TOKEN that this relay was started with`
        : `${base} answers ${answer.status}: is it a relay?`;
    return { kind: "refused", reason };
  } catch (error) {
    return { kind: "lost", reason: innermost(error) };
  }
}

function innermost(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause instanceof Error) return innermost(error.cause);
  return "code" in error && typeof error.code === "string" ? error.code : error.message;
}

const Sinks = z.object({ data: z.array(z.object({ name: z.string() })) });

/** Which of the wanted sinks the relay does not have, as a message, or null. An answer that broke off says nothing. */
async function findSinkFault(body: ReadableStream<Uint8Array>, wanted: readonly string[]): Promise<string | null> {
  const answer = Sinks.safeParse(await new Response(body).json().catch(() => null));
  if (!answer.success) return null;
  const names = answer.data.data.map(({ name }) => name);
  const unknown = wanted.find((name) => !names.includes(name));
  if (unknown === undefined) return null;
  return `the relay has no sink ${JSON.stringify(unknown)}; there are ${names.join(", ") || "none"}`;
}

interface TailEvent {
  id: string | null;
  event: string;
  data: string;
}

/**
 * Yields the server-sent events of a stream until it ends, breaks or is asked to stop. A proxy may have changed the line
 * ends to CRLF and have divided the stream anywhere.
 */
async function* readEvents(body: ReadableStream<Uint8Array>, signal: AbortSignal): AsyncGenerator<TailEvent, void> {
  const decoder = new TextDecoder();
  let rest = "";
  let fields: [name: string, value: string][] = [];
  const read = (name: string): string[] => fields.filter((field) => field[0] === name).map(([, value]) => value);
  try {
    for await (const bytes of body) {
      const lines = decoder.decode(bytes, { stream: true }).split("\n");
      lines[0] = rest + lines[0];
      rest = lines.pop() ?? "";
      for (const text of lines.map((part) => part.replace(/\r$/, ""))) {
        const [, name = "", value = ""] = /^([^:]*):? ?(.*)$/s.exec(text) ?? [];
        if (text !== "") fields.push([name, value]);
        else {
          yield { id: read("id").at(-1) ?? null, event: read("event").at(-1) ?? "", data: read("data").join("\n") };
          fields = [];
        }
      }
    }
  } catch (error) {
    // The relay stopped in the middle, or this command was asked to stop.
    if (!signal.aborted && !(error instanceof TypeError)) throw error;
  }
}

const RunEvent = z.looseObject({
  run_id: z.string(),
  status: z.string(),
  title: z.string().nullish(),
  prompt: z.string().nullish(),
  received_at: z.string(),
  workflow: z.object({ permanent_id: z.string().nullish(), title: z.string().nullish() }).nullish(),
  failure: z.object({ reason: z.string().nullish() }).nullish(),
});
const DeliveryEvent = z.looseObject({
  run_id: z.string(),
  sink: z.string(),
  state: z.string(),
  attempts: z.number(),
  last_error: z.string().nullish(),
});

/** Runs whose deliveries are shown; beyond them the oldest is forgotten. */
const MAX_REMEMBERED = 1_000;
const COLOURS: Record<string, number> = {
  completed: 32,
  failed: 31,
  terminated: 31,
  timed_out: 31,
  dead: 31,
  delivered: 32,
};

/** Writes what fits the filters. Texts of payloads are shown without what would control a terminal. */
function createTailView({ status, workflow, sink, json }: TailOptions, { stdout, screen }: CommandDeps["shell"]) {
  const shown = new Set<string>();
  const isFiltered = status !== undefined || workflow !== undefined;
  const coloured = (word: string): string => {
    const colour = screen?.colour === true ? COLOURS[word] : undefined;
    const text = line(word, 12).padEnd(10);
    return colour === undefined ? text : `\u001B[${colour}m${text}\u001B[0m`;
  };
  const write = (data: string, text: string): void => stdout(json === true ? `${data}\n` : `${text}\n`);
  const showRun = (data: string): void => {
    const run = RunEvent.parse(JSON.parse(data));
    const names = new Set<unknown>([run.workflow?.permanent_id, run.workflow?.title, run.title]);
    const fits = (status?.includes(run.status) ?? true) && (workflow?.some((name) => names.has(name)) ?? true);
    if (!fits) return;
    shown.add(run.run_id);
    const [oldest] = shown;
    if (shown.size > MAX_REMEMBERED && oldest !== undefined) shown.delete(oldest);
    if (sink !== undefined) return;
    const what = [run.title ?? run.prompt, run.failure?.reason].filter((text) => text != null && text !== "");
    write(data, `${coloured(run.status)}  ${line(run.run_id, 60)}  ${line(what.join(": "), 160)}`.trimEnd());
  };
  const showDelivery = (data: string): void => {
    const delivery = DeliveryEvent.parse(JSON.parse(data));
    if ((isFiltered && !shown.has(delivery.run_id)) || !(sink?.includes(delivery.sink) ?? true)) return;
    const why =
      delivery.last_error == null || delivery.state === "delivered" ? "" : `: ${line(delivery.last_error, 160)}`;
    write(data, `${coloured(delivery.state)}  ${line(delivery.run_id, 60)}  → ${line(delivery.sink, 64)}${why}`);
  };
  return ({ event, data }: TailEvent): void => {
    if (event === "run") showRun(data);
    else if (event === "delivery") showDelivery(data);
  };
}
