/**
 * `npm run build`, or `node scripts/build.ts FOLDER`: the program as a package has it, in `dist/`: every module of
 * `src/` as `tsc` emits it, and beside them what is no module. The edge host has a build of its own.
 */
import { execFileSync } from "node:child_process";
import { cpSync, rmSync } from "node:fs";
import { extname, join, resolve } from "node:path";

const root = join(import.meta.dirname, "..");
const [folder = join(root, "dist")] = process.argv.slice(2);
const target = resolve(folder);

rmSync(target, { recursive: true, force: true });
const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
execFileSync(process.execPath, [tsc, "-p", join(root, "tsconfig.build.json"), "--outDir", target], {
  stdio: "inherit",
});
const edge = join(root, "src", "edge");
cpSync(join(root, "src"), target, {
  recursive: true,
  filter: (path) => path !== edge && extname(path) !== ".ts",
});
