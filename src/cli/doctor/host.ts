/** Checks the machine: Node, time zone, free disk space, the volume of the database. */
import { accessSync, constants, existsSync } from "node:fs";
import { lookup } from "node:dns/promises";
import { stat, statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { errorText } from "../../platform/error-text.ts";
import type { ResolvedAddress } from "../../net/egress.ts";
import { diskState } from "../../app/disk-watch.ts";
import { formatBytes } from "../../platform/amounts.ts";
import { about, fault, ok, warning, type Finding } from "./finding.ts";

/** What doctor asks the machine. Tests pass a fake. */
export interface DoctorHost {
  /** `v24.1.0` */
  nodeVersion: string;
  timeZone(): string;
  /** Free and total bytes of the file system that holds a path. */
  space(path: string): Promise<{ free: number; total: number }>;
  /** The number of the device that holds a path. */
  device(path: string): Promise<number>;
  /** True in a container, whose own disk vanishes with it. */
  isContainer(): boolean;
  lookup(hostname: string): Promise<ResolvedAddress[]>;
  /** True when this process may write a file, or create files in a folder. */
  canWrite(path: string): boolean;
}

export const systemHost: DoctorHost = {
  nodeVersion: process.version,
  timeZone: () => Intl.DateTimeFormat().resolvedOptions().timeZone,
  space: async (path) => {
    const { bavail, blocks, bsize } = await statfs(path);
    return { free: bavail * bsize, total: blocks * bsize };
  },
  device: async (path) => (await stat(path)).dev,
  isContainer: () => existsSync("/.dockerenv") || existsSync("/run/.containerenv"),
  lookup: (hostname) => lookup(hostname, { all: true }),
  canWrite: (path) => {
    try {
      accessSync(path, constants.W_OK);
      return true;
    } catch {
      return false;
    }
  },
};

/** `engines` in package.json. */
const OLDEST_NODE = 24;

export function checkNode({ nodeVersion }: Pick<DoctorHost, "nodeVersion">): Finding[] {
  const major = Number(/^v?(\d+)/.exec(nodeVersion)?.[1]);
  if (major >= OLDEST_NODE) return about("node", ok(`Node ${nodeVersion}`));
  return about(
    "node",
    fault(`Node ${nodeVersion} is too old`, `install Node ${OLDEST_NODE} or newer, or use the image of the Dockerfile`),
  );
}

/** The relay always computes in UTC; the time zone matters to other programs on the machine. */
export function checkTimeZone({ timeZone }: Pick<DoctorHost, "timeZone">, tz: string | undefined): Finding[] {
  const zone = timeZone();
  const isUtc = /^(Etc\/)?(UTC|GMT|Zulu|Universal|UCT)$/.test(zone);
  if (tz !== undefined && tz !== "" && isUtc && !/^:?(Etc\/)?(UTC|GMT|Zulu|Universal|UCT)(0|\+0|-0)?$/i.test(tz)) {
    const fix = "set TZ to a name of the time zone database, such as Europe/Berlin, or unset it";
    return about("time zone", warning(`TZ is ${JSON.stringify(tz)}, which is no time zone`, fix));
  }
  return about("time zone", ok(isUtc ? zone : `${zone}; the relay writes UTC anyway`));
}

/** The folder of the database, or the nearest existing one above it. */
export async function checkDisk(path: string, { space }: Pick<DoctorHost, "space">): Promise<Finding[]> {
  const folder = nearest(dirname(resolve(path)));
  try {
    const { free, total } = await space(folder);
    const found = `${formatBytes(free)} of ${formatBytes(total)} free where the database is (${folder})`;
    const fix = "free space, or move the database to a larger volume; webhooks are answered 503 when it is full";
    const state = diskState({ free, total });
    return about("disk", state === "ok" ? ok(found) : (state === "full" ? fault : warning)(found, fix));
  } catch (error) {
    return about(
      "disk",
      warning(`the free space of ${folder} cannot be read: ${errorText(error)}`, "check it yourself: df -h"),
    );
  }
}

/** In a container or a Fly machine the root file system vanishes with the next deploy. */
export async function checkVolume(
  path: string,
  env: Readonly<Record<string, string | undefined>>,
  host: Pick<DoctorHost, "device" | "isContainer">,
): Promise<Finding[]> {
  const onFly = Boolean(env["FLY_MACHINE_ID"] ?? env["FLY_APP_NAME"]);
  if (!onFly && !host.isContainer()) return about("volume", ok("not needed: this is no container"));
  const folder = nearest(dirname(resolve(path)));
  try {
    const [own, root] = await Promise.all([host.device(folder), host.device("/")]);
    if (own !== root) return about("volume", ok(`the database is on a volume (${folder})`));
  } catch (error) {
    return about(
      "volume",
      warning(`the device of ${folder} cannot be read: ${errorText(error)}`, "check yourself whether it is a volume"),
    );
  }
  const found = `the database is in ${folder}, which no volume is mounted at: it is gone with the next deploy`;
  const fix = onFly
    ? 'add [mounts] source = "data", destination = "/data" to fly.toml and set DATABASE_URL=sqlite:/data/relay.db'
    : "run the container with -v relay-data:/data and DATABASE_URL=sqlite:/data/relay.db";
  return about("volume", onFly ? fault(found, fix) : warning(found, fix));
}

/** The folder itself, or the existing part of its path. */
export function nearest(folder: string): string {
  let path = folder;
  while (!existsSync(path) && dirname(path) !== path) path = dirname(path);
  return path;
}
