import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, symlinkSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";

const root = join(import.meta.dirname, "..");
const checkout = mkdtempSync(join(tmpdir(), "relay-build-"));

const node = (...args: string[]): string => execFileSync(process.execPath, args, { cwd: checkout, encoding: "utf8" });
const program = (): string =>
  node("-p", 'import("./bin/program.js").then(({ program }) => console.log(program()))').split("\n")[0] ?? "";

beforeAll(() => {
  for (const part of ["bin", "src", "package.json", "package-lock.json", "schema.sql", "schema.sqlite.sql"]) {
    cpSync(join(root, part), join(checkout, part), { recursive: true });
  }
  for (const script of ["scripts/build.ts", "scripts/merge-chunks.ts"])
    cpSync(join(root, script), join(checkout, script));
  symlinkSync(join(root, "node_modules"), join(checkout, "node_modules"));
});
afterAll(() => rmSync(checkout, { recursive: true }));

it("runs the sources where nothing was built, the bundle after that, and the sources again once one of them is another", () => {
  const [sources, bundle] = [join(checkout, "src/main.ts"), join(checkout, "dist/relay/main.js")];
  const run = () => /"?(\/[^"]+)/.exec(program())?.[1];
  expect(run()).toBe(sources);
  node("scripts/build.ts");
  expect(run()).toBe(bundle);

  const edited = join(checkout, "src/sinks/sink.ts");
  // Older, not newer: what is put back from somewhere else counts as well.
  utimesSync(edited, 1, 1);
  expect(run()).toBe(sources);
  node("scripts/build.ts");
  expect(run()).toBe(bundle);
  renameSync(edited, `${edited}.away`);
  expect(run()).toBe(sources);
  renameSync(`${edited}.away`, edited);
  expect(run()).toBe(bundle);
}, 60_000);

it("runs every command from the bundle alone", () => {
  renameSync(join(checkout, "src"), join(checkout, "src.away"));
  try {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    expect(node("bin/skyvern-relay", "--version").trim()).toBe(version);
    expect(JSON.parse(node("bin/skyvern-relay", "openapi"))).toHaveProperty("openapi");
    // With a real store, its thread and every sink; nothing of the sources is there to fall back on.
    const said = node("bin/skyvern-relay", "demo", "--once", "--port", "0");
    expect(said).toMatch(/every/i);
  } finally {
    renameSync(join(checkout, "src.away"), join(checkout, "src"));
  }
}, 60_000);

it("loads no code of the demo to serve, and names whose code is inside", () => {
  const main = readFileSync(join(checkout, "dist/relay/main.js"), "utf8");
  const seen = new Set<string>();
  const load = (file: string): string => {
    if (seen.has(file)) return "";
    seen.add(file);
    const text = readFileSync(join(checkout, "dist/relay", file), "utf8");
    const statics = [...text.matchAll(/(?:import|from)\s*"\.\/([^"]+)"/g)].map(([, name = ""]) => load(name));
    return [text, ...statics].join("\n");
  };
  // The command, and the file that it loads.
  const served = `${load("main.js")}\n${load("relay.js")}`;
  expect(served.length).toBeGreaterThan(main.length);
  expect(served).toContain("webhook.received");
  // The mail stand-in's package, in whichever file it is.
  const bundled = readdirSync(join(checkout, "dist/relay")).filter((file) => file.endsWith(".js"));
  const all = bundled.map((file) => readFileSync(join(checkout, "dist/relay", file), "utf8")).join("\n");
  expect(all).toContain("SMTPServer");
  expect(served).not.toContain("SMTPServer");
  expect(readFileSync(join(checkout, "dist/relay/LICENSES.txt"), "utf8")).toMatch(/hono[\s\S]*Permission[\s\S]*htmx/);
});
