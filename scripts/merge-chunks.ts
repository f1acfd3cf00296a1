/**
 * esbuild puts what several entries share into one file for each set of them. Whoever starts at one entry reads fifty files, one after the
 * other, half a millisecond each. So all that an entry needs becomes one file, and the files that others know parts of it by refer to that.
 */
import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { BuildOptions, Metafile } from "esbuild";

type Outputs = Metafile["outputs"];

/** Merges the chunk of the source file `entry` and what it imports into the file `into`; but what those of `before` have loaded. */
export async function mergeChunks(
  build: (options: BuildOptions) => Promise<unknown>,
  {
    outputs,
    folder,
    before,
    entry,
    into,
  }: { outputs: Outputs; folder: string; before: readonly string[]; entry: string; into: string },
): Promise<void> {
  const loaded = new Set(before.flatMap((source) => [...closureOf(outputs, chunkOf(outputs, source))]));
  const chunks = [...closureOf(outputs, chunkOf(outputs, entry))].filter((chunk) => !loaded.has(chunk));
  /** Two chunks may export different things by one name. */
  const named = (chunk: string, write: (name: string, unique: string) => string): string =>
    outputs[chunk]?.exports.map((name) => write(name, `${name}_${chunks.indexOf(chunk)}`)).join() ?? "";
  const all = chunks.map((chunk) => {
    const list = named(chunk, (name, unique) => `${name} as ${unique}`);
    return `export {${list}} from "./${basename(chunk)}";`;
  });
  await build({
    stdin: { contents: all.join("\n"), resolveDir: folder },
    outfile: join(folder, into),
    bundle: true,
    format: "esm",
    platform: "node",
    minifySyntax: true,
    minifyWhitespace: true,
    packages: "external",
    external: [...loaded, ...dynamicOf(outputs, chunks)].map((chunk) => `./${basename(chunk)}`),
  });
  for (const chunk of chunks) {
    const list = named(chunk, (name, unique) => `${unique} as ${name}`);
    writeFileSync(join(folder, basename(chunk)), `export {${list}} from "./${into}";`);
  }
}

const chunkOf = (outputs: Outputs, source: string): string =>
  Object.keys(outputs).find((chunk) => outputs[chunk]?.entryPoint === source) ?? source;

/** A chunk and all that it imports. */
function closureOf(outputs: Outputs, chunk: string, seen = new Set<string>()): Set<string> {
  if (seen.has(chunk)) return seen;
  seen.add(chunk);
  for (const { path, kind } of outputs[chunk]?.imports ?? [])
    if (kind === "import-statement" && path in outputs) closureOf(outputs, path, seen);
  return seen;
}

/** What they load later. */
const dynamicOf = (outputs: Outputs, chunks: readonly string[]): string[] =>
  chunks.flatMap((chunk) =>
    (outputs[chunk]?.imports ?? []).flatMap(({ path, kind }) =>
      kind === "dynamic-import" && path in outputs ? [path] : [],
    ),
  );
