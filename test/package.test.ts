import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";

const root = join(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "relay-package-"));
afterAll(() => rmSync(folder, { recursive: true }));

const run = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });

it("is a package that, installed in an empty folder, tells its version and checks a configuration", () => {
  const laidOut = join(folder, "package");
  run("scripts/package", laidOut);
  const read = (file: string): unknown => JSON.parse(readFileSync(join(laidOut, file), "utf8"));
  const { version, private: unpublished } = read("package.json") as { version: string; private: boolean };
  // Nobody has decided yet to publish it under this name.
  expect(unpublished).toBe(true);
  const { packages } = read("npm-shrinkwrap.json") as { packages: Record<string, { version: string }> };
  const tested = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as { packages: typeof packages };
  const installed = Object.keys(packages).filter((path) => path !== "");
  expect(installed).toContain("node_modules/better-sqlite3");
  // Zod, say, is in the bundle.
  expect(installed).not.toContain("node_modules/zod");
  for (const path of installed) expect(packages[path]?.version).toBe(tested.packages[path]?.version);

  const tarball = run("npm", "pack", "--silent", "--pack-destination", folder, laidOut).trim();
  const parts = run("tar", "tf", join(folder, tarball)).split("\n");
  expect(parts).toContain("package/npm-shrinkwrap.json");
  expect(parts).toContain("package/dist/relay/LICENSES.txt");
  expect(parts.filter((part) => /^package\/(src|test|scripts)\//.test(part))).toEqual([]);
  expect(run("scripts/try-package", join(folder, tarball), "--quick")).toContain(`skyvern-relay ${version} on Node`);
}, 120_000);
