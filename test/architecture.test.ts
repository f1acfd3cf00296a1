import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { expect, it } from "vitest";
import { KINDS } from "../src/sinks/kinds.ts";

const src = join(import.meta.dirname, "../src");

/**
 * Rooms by level: imports point down only, types too. A room is a folder of `src/`; `main` is the one file beside them.
 * Rooms of one level do not import each other, but for those of the first and of the last two.
 */
const LEVELS: readonly (readonly string[])[] = [
  ["domain", "platform", "net", "telemetry"],
  ["skyvern", "store", "sinks", "stand-ins"],
  ["history"],
  ["receive"],
  ["http", "reconcile", "deliver", "alerts", "archive"],
  ["web"],
  ["app", "config"],
  ["main", "cli", "demo", "edge"],
];
const levelOf = (part: string): number => LEVELS.findIndex((parts) => parts.includes(part));

const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
const partOf = (file: string): string => (file.split("/")[0] ?? "").replace(/\.ts$/, "");

interface Import {
  file: string;
  from: string;
  to: string;
  target: string;
  typeOnly: boolean;
}

const imports: Import[] = files.flatMap((file) => {
  const text = readFileSync(join(src, file), "utf8");
  const found = text.matchAll(/^(?:import|export)( type)?\b[^;]*?\bfrom "(\.[^"]+)"|import\("(\.[^"]+)"\)/gm);
  return [...found].map((match) => {
    const target = relative(src, join(src, dirname(file), match[2] ?? match[3] ?? ""));
    return { file, from: partOf(file), to: partOf(target), target, typeOnly: match[1] !== undefined };
  });
});

it("this test finds the imports that it checks", () => {
  expect(imports.length).toBeGreaterThan(100);
});

it("no file lies loose in src but main.ts: put it into the room whose word it is", () => {
  expect(files.filter((file) => !file.includes("/"))).toEqual(["main.ts"]);
});

it("a file that a script or a document names is there: name the file's new place", () => {
  const root = join(src, "..");
  const names = /\b(?:src|test|bench|scripts)\/[\w./-]+\.(?:ts|css|js|sql)\b/g;
  const texts = [
    ...readdirSync(join(root, "scripts")).map((file) => join("scripts", file)),
    ...readdirSync(join(root, "docs")).map((file) => join("docs", file)),
    ...readdirSync(root).filter((file) => /\.(md|json|ts)$|^Dockerfile$/.test(file)),
  ].filter((file) => statSync(join(root, file)).isFile());
  const gone = texts.flatMap((file) =>
    [...readFileSync(join(root, file), "utf8").matchAll(names)]
      .filter(([path]) => !existsSync(join(root, path)))
      .map(([path]) => `${file} names ${path}`),
  );
  expect(gone).toEqual([]);
});

/** Files that lie beside each other in one folder; `cli` has a file a command. */
const MOST_FILES = 15;
it(`no room has more than ${MOST_FILES} files beside each other: give a part of it a folder with a name`, () => {
  const rooms = Map.groupBy(files, (file) => dirname(file));
  const full = [...rooms].filter(([room, { length }]) => room !== "cli" && length > MOST_FILES);
  expect(full.map(([room, { length }]) => `${room}: ${length}`)).toEqual([]);
});

it("no imports form a circle, not even of types: move what both need into a file of its own", () => {
  const next = Map.groupBy(imports, ({ file }) => file);
  const done = new Set<string>();
  const circles: string[] = [];
  const walk = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" → "));
    else if (!done.has(file)) for (const { target } of next.get(file) ?? []) walk(target, [...path, file]);
    done.add(file);
  };
  for (const file of files) walk(file, []);
  expect(circles).toEqual([]);
});

it("this test knows the level of every part: add a new one to LEVELS here, where its imports may point down only", () => {
  expect([...new Set(files.map(partOf))].filter((part) => levelOf(part) < 0)).toEqual([]);
});

it("docs/architecture.md shows every room: name a new one in its table and its picture", () => {
  const page = readFileSync(join(src, "../docs/architecture.md"), "utf8");
  const picture = page.match(/```mermaid[^]*?```/g)?.at(-1) ?? "";
  const isShown = (room: string): boolean => page.includes(`\`${room}\``) || room === "main";
  const isDrawn = (room: string): boolean => new RegExp(`^ .*\\b${room}\\b`, "m").test(picture);
  expect(LEVELS.flat().filter((room) => !isShown(room) || !isDrawn(room))).toEqual([]);
});

/** Files that a webhook passes from its socket to its 200. */
const MOST_ON_THE_WAY = 15;
it(`docs/architecture.md names the files that a webhook passes, at most ${MOST_ON_THE_WAY}, and the types that they hand on`, () => {
  const page = readFileSync(join(src, "../docs/architecture.md"), "utf8");
  const [picture = ""] = /subgraph accept [^]*?\n  end/.exec(page) ?? [];
  let room = "";
  // A name without its room lies in the room of the name before.
  const passed = [...picture.matchAll(/[\w/-]+\.ts/g)].map(([name]) => {
    const file = files.includes(name) ? name : `${room}/${name}`;
    room = partOf(file);
    return file;
  });
  expect(passed.filter((file) => !files.includes(file))).toEqual([]);
  expect(new Set(passed).size).toBeGreaterThan(10);
  expect(new Set(passed).size).toBeLessThanOrEqual(MOST_ON_THE_WAY);
  const [, handed = ""] = /hand on what came in as ([^.]*)\./.exec(page) ?? [];
  const types = [...handed.matchAll(/`(\w+)`/g)].map(([, name]) => name ?? "");
  const exported = files.map((file) => readFileSync(join(src, file), "utf8")).join("\n");
  expect(types.length).toBeGreaterThan(5);
  expect(types.filter((name) => !new RegExp(`^export (?:interface|type) ${name}\\b`, "m").test(exported))).toEqual([]);
});

it("imports point down only: move what both sides need to a lower level, or hand it in from app/app.ts", () => {
  const up = imports.filter(({ from, to }) => from !== to && levelOf(to) > levelOf(from));
  expect(up.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

it("rooms of one level do not import each other, not even types: move what both need down, or hand it in from app/app.ts", () => {
  const free = new Set(["domain", "app", "cli"].map(levelOf));
  const sideways = imports.filter(
    ({ from, to }) => from !== to && levelOf(from) === levelOf(to) && !free.has(levelOf(from)),
  );
  expect(sideways.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

it("no part below the composition root imports the configuration: each is given its slice", () => {
  const nosy = imports.filter(({ from, to }) => to === "config" && levelOf(from) < levelOf("app"));
  expect(nosy.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

it("nothing below the composition root reads the environment, the clock or chance by itself: take it from the runtime", () => {
  const OUTSIDE = /process\.env|\bDate\.now\(|Math\.random\(|new Date\(\)/;
  const allowed = new Set([
    "main",
    "cli",
    "demo",
    "stand-ins",
    "platform/runtime.ts",
    "platform/log/stdout-log.ts",
    "edge/log.ts",
  ]);
  const readers = files
    .filter((file) => !allowed.has(partOf(file)) && !allowed.has(file))
    .filter((file) => OUTSIDE.test(readFileSync(join(src, file), "utf8").replace(/^\s*(\*|\/\/|\/\*).*$/gm, "")));
  expect(readers).toEqual([]);
});

/** The words are others' there: an example is of some kind, and OpenAPI has a scheme of that name. */
const mayNameKinds = new Set(["http/api/examples.ts", "http/api/openapi.ts"]);
it("nothing outside src/sinks names a sink kind: move what is known of the kind into its folder, behind SinkKind of src/sinks/sink.ts", () => {
  const kinds = KINDS.map(({ kind }) => kind);
  const variables = KINDS.flatMap(({ shortcut, api }) => [
    ...Object.keys(shortcut?.variables ?? {}),
    ...(api ? [api.variable] : []),
  ]);
  const name = kinds.join("|");
  const NAMED = new RegExp(`["'\`](?:${name})["'\`]|\\b(?:${variables.join("|")})\\b`, "g");
  const IDENTIFIER = new RegExp(`(?<![\\w$./:|(-])(?:${name})(?![\\w$/:|-])|\\.(?:${name})\\b`, "g");
  const named = files
    .filter((file) => !["sinks", "stand-ins"].includes(partOf(file)) && !mayNameKinds.has(file))
    .flatMap((file) => {
      const code = readFileSync(join(src, file), "utf8").replace(/^\s*(\*|\/\/|\/\*).*$/gm, "");
      const bare = code.replace(/"(?:[^"\\\n]|\\.)*"|`[^`]*`/g, "");
      return [...(code.match(NAMED) ?? []), ...(bare.match(IDENTIFIER) ?? [])].map((what) => `${file} names ${what}`);
    });
  expect(named).toEqual([]);
  const folders = readdirSync(join(src, "sinks"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.map((folder) => folder.name).sort()).toEqual(kinds.sort());
});

it("a sink kind imports no other kind", () => {
  const kinds = imports.filter(({ file, target }) => {
    const [, from, inside] = file.split("/");
    const [part, to, more] = target.split("/");
    return file.startsWith("sinks/") && inside !== undefined && part === "sinks" && more !== undefined && from !== to;
  });
  expect(kinds.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

const slices = new Set(files.filter((file) => file.startsWith("store/contract/")));
/** Operations in one slice of the store's contract. */
const MOST_OPERATIONS = 15;
it(`no slice of the store has more than ${MOST_OPERATIONS} operations: give those that one consumer needs a slice of their own`, () => {
  const operations = [...slices].map((file) => {
    const [, body] = /^export interface \w+Store \{\n([^]*?)^\}/m.exec(readFileSync(join(src, file), "utf8")) ?? [];
    return { file, count: body?.match(/^  \w+\(/gm)?.length ?? 0 };
  });
  expect(operations.filter(({ count }) => count > 0).length).toBeGreaterThan(8);
  expect(operations.filter(({ count }) => count > MOST_OPERATIONS)).toEqual([]);
});

it("the store's contract names nothing of what fulfils it: move the type into src/store/contract", () => {
  const inside = imports.filter(
    ({ file, target }) => slices.has(file) && !/^(domain|platform|store\/contract)\//.test(target),
  );
  expect(inside.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

it("only those who open the store hold the whole of it: take the slice that is needed from src/store/contract", () => {
  const mayHoldAll = new Set(["app", "cli", "edge", "store"]);
  const holders = imports.filter(({ from, target }) => target === "store/store.ts" && !mayHoldAll.has(from));
  expect(holders.map(({ file }) => file)).toEqual([]);
});

/** What the relay may import where there is no Node but what Cloudflare Workers has of it (nodejs_compat). */
const NODE_ONLY = new Set(["pino", "undici", "better-sqlite3", "pg", "commander", "@hono/node-server", "smtp-server"]);
const EVERYWHERE = new Set(
  ["crypto", "net", "path", "stream", "timers/promises", "url", "util", "zlib"].map((name) => `node:${name}`),
);

it("what the edge entry reaches imports nothing that only Node has: hand it in through Host, from src/app/relay.ts", () => {
  const reached = new Set<string>();
  const reach = (file: string): void => {
    if (reached.has(file) || !file.endsWith(".ts")) return;
    reached.add(file);
    for (const { target, typeOnly } of imports.filter((one) => one.file === file)) if (!typeOnly) reach(target);
  };
  reach("edge/worker.ts");
  expect(reached.has("app/app.ts")).toBe(true);
  const foreign = [...reached].flatMap((file) => {
    const text = readFileSync(join(src, file), "utf8");
    const found = text.matchAll(/^(?:import|export)(?! type)\b[^;]*?\bfrom "([^."][^"]*)"|import\("([^."][^"]*)"\)/gm);
    return [...found].map((match) => ({ file, name: match[2] ?? match[3] ?? "" }));
  });
  const packageOf = (name: string): string => name.split("/", name.startsWith("@") ? 2 : 1).join("/");
  const forbidden = foreign.filter(({ name }) =>
    name.startsWith("node:") ? !EVERYWHERE.has(name) : NODE_ONLY.has(packageOf(name)),
  );
  expect(forbidden.map(({ file, name }) => `${file} imports ${name}`)).toEqual([]);
});
