/**
 * Which of the two is the program: the bundle in dist/, or the sources it was made of.
 *
 * A package and an image have the bundle alone. A checkout has both, and there the bundle counts only while the sources are, file by file, those
 * it was built from: what was pulled or edited since is run as it is, a little slower to start, and never an old bundle in its place.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const BUNDLE = join(root, "dist", "relay");

/** Names, sizes and times of all that a bundle is made of. */
export function builtFrom() {
  return [...sourcesIn("src"), "package.json", "package-lock.json", "scripts/build.ts", "scripts/merge-chunks.ts"]
    .map((file) => {
      const { size, mtimeMs } = statSync(join(root, file));
      return `${file} ${size} ${mtimeMs}\n`;
    })
    .join("");
}

/** `recursive` of Node takes ten times as long. */
function sourcesIn(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return sourcesIn(path);
    return /\.(ts|json)$/.test(entry.name) ? [path] : [];
  });
}

/** What to import. */
export function program() {
  const bundle = join(BUNDLE, "main.js");
  if (!existsSync(join(root, "src"))) return bundle;
  return existsSync(bundle) && isCurrent() ? bundle : join(root, "src", "main.ts");
}

function isCurrent() {
  try {
    return readFileSync(join(BUNDLE, "built-from"), "utf8") === builtFrom();
  } catch {
    return false;
  }
}
