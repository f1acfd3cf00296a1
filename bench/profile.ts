/**
 * Where the relay's time and memory go under load: V8's CPU profile and sampled heap, summed up by function, by package
 * and by part of the relay. `accept` stores only; `deliver` relays too.
 */
import { copyFileSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { GONE } from "./accept.ts";
import type { Bench, Options } from "./bench.ts";
import { inRounds, type Figures } from "./bench.ts";
import { untilDelivered } from "./deliver.ts";
import { assertAllRight, load } from "./load.ts";
import type { Place, Subject } from "./subject.ts";
import { relay, ROOT } from "./subjects/relay.ts";

interface CallFrame {
  functionName: string;
  url: string;
  lineNumber: number;
}
interface CpuProfile {
  nodes: { id: number; callFrame: CallFrame; children?: number[] }[];
  samples: number[];
  timeDeltas: number[];
}
interface HeapNode {
  callFrame: CallFrame;
  selfSize: number;
  children: HeapNode[];
}

interface SqlEntry {
  sql: string;
  prepareMs: number;
  runs: number;
  runMs: number;
}

const SQL_TIME = join(import.meta.dirname, "servers", "sql-time.mjs");
const TOP = 25;

export const profile: Bench = {
  name: "profile",
  goals: [],
  what: "where the relay's time and memory go, storing only and with delivery",
  run: async (options) => {
    const kept = join(ROOT, "bench-output");
    mkdirSync(kept, { recursive: true });
    const notes: string[] = [];
    for (const kind of ["accept", "deliver"] as const) {
      for (const what of ["cpu", "heap", "sql"] as const) notes.push(...(await profiled(kind, what, kept, options)));
    }
    return { table: {}, verdicts: [], notes };
  },
};

async function profiled(kind: "accept" | "deliver", what: "cpu" | "heap" | "sql", kept: string, options: Options) {
  const into = join(options.folder, `${kind}-${what}`);
  mkdirSync(into);
  const root = options.other ?? ROOT;
  const watched = what === "sql" ? ["--import", SQL_TIME] : [`--${what}-prof`, `--${what}-prof-dir=${into}`];
  const argv: [string, ...string[]] = [process.execPath, ...watched, "src/main.ts", "serve"];
  const env = { BENCH_SQL_FILE: join(into, "sqlprofile") };
  const subject = relay({ name: `${kind}-${what}`, root, argv, env });
  let runs = 0;
  const once = async (subject: Subject, place: Place) => {
    const figures = await loadOnce(subject, place, kind, options.seconds);
    runs = figures.runs ?? 0;
    return figures;
  };
  await inRounds([subject], { ...options, rounds: 1 }, once, kind === "accept" ? GONE : undefined);
  return readdirSync(into).flatMap((name, at) => {
    const path = join(kept, `${kind}${at === 0 ? "" : `-${at}`}.${what}profile`);
    copyFileSync(join(into, name), path);
    return [
      `\n${kind}, ${runs} runs: ${what} (${path})`,
      ...summaryOf(what, JSON.parse(readFileSync(path, "utf8")), root, runs),
    ];
  });
}

function summaryOf(what: "cpu" | "heap" | "sql", profile: unknown, root: string, runs: number): string[] {
  if (what === "cpu") return cpuSummary(profile as CpuProfile, root);
  return what === "heap" ? heapSummary(profile as { head: HeapNode }, root) : sqlSummary(profile as SqlEntry[], runs);
}

function sqlSummary(entries: SqlEntry[], runs: number): string[] {
  const cost = ({ prepareMs, runMs }: SqlEntry) => prepareMs + runMs;
  const each = (ms: number) => ((1000 * ms) / runs).toFixed(0).padStart(6);
  return [
    "us a run to prepare, us a run to execute, times a run:",
    ...entries
      .toSorted((a, b) => cost(b) - cost(a))
      .slice(0, 40)
      .map(
        (one) => `  ${each(one.prepareMs)} ${each(one.runMs)}  ${(one.runs / runs).toFixed(2).padStart(6)}  ${one.sql}`,
      ),
  ];
}

async function loadOnce(subject: Subject, place: Place, kind: string, seconds: number): Promise<Figures> {
  const running = await subject.start(place);
  try {
    const result = await load(place.folder, running.target, { seconds, first: 0 });
    assertAllRight(subject.name, result);
    if (kind === "deliver") await untilDelivered(place.receiver, result.right);
    return { runs: result.right, cpuUs: (running.cpuMs() * 1000) / result.right, peakMb: running.memory().peak };
  } finally {
    await running.stop();
  }
}

function cpuSummary({ nodes, samples, timeDeltas }: CpuProfile, root: string): string[] {
  const self = new Map<number, number>();
  for (const [at, id] of samples.entries()) self.set(id, (self.get(id) ?? 0) + (timeDeltas[at] ?? 0) / 1000);
  const frames = new Map(nodes.map((node) => [node.id, node]));
  const byFunction = new Sum();
  const byPackage = new Sum();
  const byPart = new Sum();
  let busy = 0;
  const walk = (id: number, above: ReadonlySet<string>): void => {
    const node = frames.get(id);
    if (!node) return;
    const ms = self.get(id) ?? 0;
    const { callFrame } = node;
    const own = placeOf(callFrame, root);
    const within = own.file.startsWith("src/")
      ? new Set([...above, `${callFrame.functionName || "(anonymous)"} ${own.file}`])
      : above;
    if (callFrame.functionName !== "(idle)") {
      busy += ms;
      byFunction.add(`${callFrame.functionName || "(anonymous)"} ${own.file}:${callFrame.lineNumber + 1}`, ms);
      byPackage.add(own.group, ms);
      for (const part of within) byPart.add(part, ms);
    }
    for (const child of node.children ?? []) walk(child, within);
  };
  if (nodes[0]) walk(nodes[0].id, new Set());
  return [
    `busy ${busy.toFixed(0)} ms`,
    "self, by package:",
    ...byPackage.top(busy, "ms"),
    "self, by function:",
    ...byFunction.top(busy, "ms"),
    "with all it calls, functions of the relay:",
    ...byPart.top(busy, "ms", 40),
  ];
}

function heapSummary({ head }: { head: HeapNode }, root: string): string[] {
  const byFunction = new Sum();
  const byPackage = new Sum();
  let all = 0;
  const walk = (node: HeapNode): void => {
    const kb = node.selfSize / 1024;
    const own = placeOf(node.callFrame, root);
    all += kb;
    byFunction.add(`${node.callFrame.functionName || "(anonymous)"} ${own.file}:${node.callFrame.lineNumber + 1}`, kb);
    byPackage.add(own.group, kb);
    node.children.forEach(walk);
  };
  walk(head);
  return [`alive at the end ${all.toFixed(0)} kB (sampled)`, ...byPackage.top(all, "kB"), ...byFunction.top(all, "kB")];
}

/** Sums by name. */
class Sum {
  readonly #sums = new Map<string, number>();
  add(name: string, value: number): void {
    this.#sums.set(name, (this.#sums.get(name) ?? 0) + value);
  }
  top(whole: number, unit: string, count = TOP): string[] {
    return [...this.#sums]
      .toSorted(([, a], [, b]) => b - a)
      .slice(0, count)
      .map(
        ([name, value]) =>
          `  ${((100 * value) / whole).toFixed(1).padStart(5)} %  ${value.toFixed(0).padStart(7)} ${unit}  ${name}`,
      );
  }
}

/** Which package, or which folder of the relay, a frame belongs to. */
function placeOf({ url, functionName }: CallFrame, root: string): { file: string; group: string } {
  const path = url.replace("file://", "");
  const name = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1];
  if (name !== undefined) return { file: path.slice(path.lastIndexOf("node_modules/") + 13), group: name };
  if (path.startsWith(`${root}/`)) {
    const file = path.slice(root.length + 1);
    return { file, group: file.split("/").slice(0, 2).join("/") };
  }
  if (path.startsWith("node:")) return { file: path, group: path };
  return { file: path, group: functionName.startsWith("(") ? functionName : "native" };
}
