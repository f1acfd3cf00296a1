/**
 * Peers, installed on first use into the benches' cache: from Debian's archive or npm, never as dependencies of the
 * relay.
 */
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { delimiter, join } from "node:path";
import { CACHE } from "./tools.ts";

const LONGEST_INSTALL_MS = 900_000;

export type Argv = [string, ...string[]];

/**
 * How to start a Debian package's program: the system's own if it has it, else unpacked from the archive and run in a
 * mount namespace of its own, where it finds the files it looks for in `/usr/share`. Throws when it cannot be had.
 */
export function debianProgram(packageName: string, program: string): Argv {
  const found = findProgram(program);
  if (found !== undefined) return [found];
  const folder = kept(packageName, (into) => {
    run("apt-get", ["download", packageName], into);
    run("sh", ["-c", "dpkg -x *.deb ."], into);
  });
  const mount = `mount -t overlay overlay -o lowerdir=${join(folder, "usr/share")}:/usr/share /usr/share && exec "$@"`;
  return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh", join(folder, "usr", "bin", program)];
}

/** A folder with these npm packages, each as `name@version`. Throws when they cannot be had. */
export const npmFolder = (...packages: [string, ...string[]]): string =>
  kept(packages[0].replaceAll("@", "-"), (into) => {
    const flags = ["--prefix", into, "--no-audit", "--no-fund", "--loglevel=error"];
    run("npm", ["install", ...flags, ...packages], into);
  });

/** Path of an npm package's program. Throws when it cannot be had. */
export const npmProgram = (packageName: string, version: string, program: string): string =>
  join(npmFolder(`${packageName}@${version}`), "node_modules", ".bin", program);

/**
 * A program that only the system's package manager brings, in `PATH` or in one of these folders. Throws when it is
 * missing.
 */
export function systemProgram(packageName: string, program: string, ...folders: string[]): string {
  const found = findProgram(program, ...folders);
  if (found === undefined) throw new Error(`Debian's package ${packageName} is not installed`);
  return found;
}

const findProgram = (program: string, ...folders: string[]): string | undefined =>
  [...folders, ...(process.env.PATH ?? "").split(delimiter)].map((folder) => join(folder, program)).find(isProgram);

/** Why `find` throws, or null. For {@link Subject.unavailable}. */
export function reason(find: () => unknown): string | null {
  try {
    find();
    return null;
  } catch (error) {
    return `it cannot be had here (${error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error)})`;
  }
}

function kept(name: string, install: (folder: string) => void): string {
  const folder = join(CACHE, "peers", name);
  if (existsSync(folder)) return folder;
  const making = `${folder}.${process.pid}`;
  mkdirSync(making, { recursive: true });
  try {
    install(making);
    if (!existsSync(folder)) renameSync(making, folder);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return folder;
}

const run = (program: string, args: string[], cwd: string): void =>
  void execFileSync(program, args, { cwd, stdio: "ignore", timeout: LONGEST_INSTALL_MS });

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
