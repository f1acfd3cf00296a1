/**
 * `npm run build`: the program as one bundle in dist/relay, so that a start reads a few files instead of two thousand. What serving does not
 * need (the demo, doctor's stand-ins, the driver of PostgreSQL) is in files of its own.
 *
 * Two levels down, as src/store is: `../../schema.sql` is right from both.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire, isBuiltin } from "node:module";
import { join } from "node:path";
import type { BuildOptions, Plugin } from "esbuild";
import { builtFrom } from "../bin/program.js";
import { mergeChunks } from "./merge-chunks.ts";

const root = join(import.meta.dirname, "..");
const target = join(root, "dist", "relay");
const making = join(root, "dist", `making-${process.pid}`);

/** `npm ci` builds too (`prepare`), and installs no esbuild when told to leave out what is for development: then the sources run. */
const esbuild = await import("esbuild").catch((error: NodeJS.ErrnoException) => {
  if (error.code === "ERR_MODULE_NOT_FOUND") return null;
  throw error;
});
if (esbuild === null) {
  process.stderr.write("No bundle was built, for want of esbuild; the sources are run as they are.\n");
  process.exit(0);
}

/**
 * Node's own modules by `require`. An `import` of one reads every value it has, for a namespace of all of them: of `node:http` also
 * WebSocket, which brings the whole of Node's fetch along, 16 ms and 10 MB.
 */
const nodeModules: Plugin = {
  name: "node-modules",
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /./ }, ({ path, kind }) =>
      kind !== "dynamic-import" && isBuiltin(path) ? { path, namespace: "node-module" } : undefined,
    );
    onLoad({ filter: /./, namespace: "node-module" }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)})`,
    }));
  },
};

/** Instead of whole packages the parts that are used. */
const PARTS: Record<string, string> = {
  // Without caches, mocks and proxies. `fetch` itself is needed by few requests.
  undici: `
    export { default as Agent } from "undici/lib/dispatcher/agent.js";
    export { default as buildConnector } from "undici/lib/core/connect.js";
    export const fetch = (...request) => require("undici/lib/web/fetch/index.js").fetch(...request);`,
  // It never speaks HTTP/2, and Node's takes 7 MB.
  "./client-h2.js": `module.exports = (...given) => require("undici/lib/dispatcher/client-h2.js")(...given);`,
  // Without its gateway, which brings Node's TLS along.
  "prom-client": `
    exports.Registry = require("prom-client/lib/registry.js");
    exports.Counter = require("prom-client/lib/counter.js");
    exports.Gauge = require("prom-client/lib/gauge.js");
    exports.Histogram = require("prom-client/lib/histogram.js");
    exports.collectDefaultMetrics = require("prom-client/lib/defaultMetrics.js");`,
  // Of prom-client, for exemplars, which the relay has none of.
  "@opentelemetry/api": "",
  // Of zod: its messages in fifty languages.
  "../locales/index.js": "export {}",
  // Where there is a relay.yaml.
  yaml: whenUsed("yaml"),
};
const parts: Plugin = {
  name: "parts",
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /./ }, ({ path, importer, namespace }) =>
      namespace === "file" && Object.hasOwn(PARTS, path) && /node_modules|\/src\//.test(importer)
        ? { path, namespace: "part" }
        : undefined,
    );
    onLoad({ filter: /./, namespace: "part" }, ({ path }) => ({ contents: PARTS[path] ?? "", resolveDir: root }));
  },
};

/** A package that is run when something of it is first used. */
function whenUsed(name: string): string {
  const values = Object.keys(createRequire(import.meta.url)(name) as object);
  return `module.exports = { ${values.map((value) => `get ${value}() { return require("${name}").${value}; }`).join(", ")} }`;
}

// Before the sources are read: what changes meanwhile makes the bundle an old one.
const from = builtFrom();
mkdirSync(making, { recursive: true });
const settings = {
  metafile: true,
  absWorkingDir: root,
  outdir: making,
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node24",
  // Names stay: a stack trace in somebody's log must be worth reading.
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  // SQLite is a binary; PostgreSQL's driver is an optional package; the last two are for development, and the demo alone uses them.
  external: ["better-sqlite3", "pg", "esbuild", "workerd"],
  plugins: [nodeModules, parts],
  logLevel: "warning",
} satisfies BuildOptions;
const { metafile } = await esbuild.build({ ...settings, splitting: true, entryPoints: { main: "src/main.ts" } });
// It has a heap of its own, and shares no code with the rest.
await esbuild.build({ ...settings, entryPoints: { "storage-thread": "src/storage-thread.ts" } });
const { outputs } = metafile;
const serving = {
  before: ["src/main.ts", "src/commands/serve.ts"],
  entry: "src/commands/serving.ts",
  into: "relay.js",
};
await mergeChunks(esbuild.build, { outputs, folder: making, ...serving });
writeFileSync(join(making, "built-from"), from);
writeFileSync(join(making, "LICENSES.txt"), licenses(Object.keys(metafile.inputs)));
rmSync(target, { recursive: true, force: true });
renameSync(making, target);

const sizes = readdirSync(target).map((file) => statSync(join(target, file)).size);
process.stdout.write(`dist/relay: ${sizes.length} files, ${Math.round(sizes.reduce((a, b) => a + b) / 1024)} kB\n`);

/** The notices of every package that went into the bundle, as their licences ask. */
function licenses(inputs: readonly string[]): string {
  const folders = inputs.flatMap((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0] ?? []);
  const notices = [...new Set(folders)].toSorted().map((folder) => {
    const manifest = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8")) as Record<string, string>;
    const file = readdirSync(join(root, folder)).find((name) => /^licen[cs]e/i.test(name));
    const text = file === undefined ? "" : readFileSync(join(root, folder, file), "utf8").trim();
    return `${manifest["name"]} ${manifest["version"]} (${manifest["license"]})\n\n${text}`;
  });
  const htmx = "src/web/assets/htmx.LICENSE";
  return [...notices, `htmx.org (0BSD)\n\n${readFileSync(join(root, htmx), "utf8").trim()}`].join(
    `\n\n${"-".repeat(80)}\n\n`,
  );
}
