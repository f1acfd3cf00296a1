/**
 * `npm run build`: the program as one bundle in dist/relay, so that a start reads a few files instead of two thousand. What serving does not
 * need (the demo, doctor's stand-ins, the driver of PostgreSQL) is in files of its own.
 *
 * Two levels down, as src/store is: `../../schema.sql` is right from both.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { builtFrom } from "../bin/program.js";

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

// Before the sources are read: what changes meanwhile makes the bundle an old one.
const from = builtFrom();
mkdirSync(making, { recursive: true });
const { metafile } = await esbuild.build({
  metafile: true,
  absWorkingDir: root,
  entryPoints: { main: "src/main.ts", "storage-thread": "src/storage-thread.ts" },
  outdir: making,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node24",
  // Names stay: a stack trace in somebody's log must be worth reading.
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  // SQLite is a binary; PostgreSQL's driver is an optional package; the last two are for development, and the demo alone uses them.
  external: ["better-sqlite3", "pg", "esbuild", "workerd"],
  // Packages in CommonJS ask for Node's own modules by `require`.
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  logLevel: "warning",
});
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
