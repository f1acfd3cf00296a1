/** `skyvern-relay backup`: copies the database beside the running relay into a folder or S3-compatible storage. */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, copyFileSync, existsSync, mkdtempSync, statSync, renameSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { errorText } from "../platform/error-text.ts";
import { s3Call, type S3Call, type S3Settings } from "../net/s3.ts";
import { makeFolder } from "../platform/disk/make-folder.ts";
import { openEgress } from "../app/outside.ts";
import { Secret } from "../platform/secret.ts";
import { copyDatabase, findCopyFault, removeDatabase, type Snapshot } from "../store/sqlite/backup.ts";
import { IN_MEMORY, isInMemory } from "../store/address.ts";
import { noDatabase } from "../store/open.ts";
import { complain, EXIT, type AddCommand, type CommandDeps } from "./command.ts";
import { bar, progressLine } from "./progress.ts";

/** The options as commander reads them. */
interface BackupOptions {
  to: string;
  verify?: boolean;
  json?: boolean;
}

export const addBackup: AddCommand = ({ command, configured }) =>
  command("backup", "copy the database while the relay runs; the copy is complete and can be restored")
    .requiredOption("--to <place>", "a folder, or s3://bucket/prefix with the keys of AWS_… or of artifacts.s3")
    .option(
      "--verify",
      "read every page of the copy, count its rows and open it as a relay would; of S3, fetch it again",
    )
    .option("--json", "machine-readable")
    .action(configured((deps, options: BackupOptions) => backupCommand(options, deps)));

const POSTGRES = "DATABASE_URL is a PostgreSQL: back it up with pg_dump, or as its host does";

/** The destination of the finished copy. */
interface BackupTarget {
  /** The folder in which the copy is made. */
  work: string;
  /** Stores the file `made` under a name and resolves with its full name there. */
  keep(made: string, name: string, sha256: string): Promise<string>;
  /** Fetches the stored copy again, as the file `to`. */
  fetch(name: string, to: string): Promise<void>;
  close(): Promise<void>;
}

/** Resolves with the exit code, which is 1 also when the copy does not pass `--verify`. */
async function backupCommand(options: BackupOptions, deps: CommandDeps): Promise<number> {
  const { config, runtime, shell } = deps;
  const wrong = complain(shell, "backup");
  if (config.database.kind !== "sqlite") return wrong(EXIT.usage, POSTGRES);
  const { path } = config.database;
  if (isInMemory(config.database)) return wrong(EXIT.usage, IN_MEMORY);
  const s3 = options.to.startsWith("s3://") ? s3SettingsOf(options.to, deps) : null;
  if (typeof s3 === "string") return wrong(EXIT.usage, s3);
  if (!existsSync(path)) return wrong(EXIT.failed, noDatabase(path));
  const line = progressLine(shell);
  const startedAt = performance.now();
  const takenAt = runtime.now();
  let target: BackupTarget | null = null;
  let made: string | null = null;
  try {
    target = s3 === null ? folder(options.to) : bucket(s3, deps);
    const name = `relay-${new Date(takenAt).toISOString().replace(/[-:]|\.\d+/g, "")}-${randomBytes(2).toString("hex")}.db`;
    made = join(target.work, `.${name}.part`);
    const snapshot = await copyDatabase(path, made, {
      counting: options.verify === true,
      signal: shell.stopped,
      progress: (done, of) => line.show(`${bar(done, of)} ${Math.round((100 * done) / Math.max(1, of))} % copied`),
    });
    line.show("Moving the copy to its place");
    const sha256 = await hashFile(made);
    const kept = await target.keep(made, name, sha256);
    const fault =
      options.verify === true
        ? await verified(target, name, { sha256, snapshot }, () => line.show("Reading the copy"))
        : null;
    line.clear();
    if (fault !== null) return wrong(EXIT.failed, `the copy ${kept} cannot be used: ${fault}`);
    const ms = Math.round(performance.now() - startedAt);
    const { bytes, rows, pending } = snapshot;
    const taken_at = new Date(takenAt).toISOString();
    if (options.json === true) {
      shell.stdout(
        `${JSON.stringify({ backup: kept, taken_at, bytes, sha256, pending, verified: options.verify === true, rows, ms })}\n`,
      );
    } else shell.stdout(renderSummary(kept, snapshot, ms, options.verify === true));
    return EXIT.done;
  } catch (error) {
    line.clear();
    if (shell.stopped.aborted) return wrong(EXIT.failed, "it was stopped before the end; there is no new backup");
    return wrong(EXIT.failed, errorText(error));
  } finally {
    if (made !== null) removeDatabase(made);
    await target?.close();
  }
}

const renderSummary = (kept: string, { bytes, rows, pending }: Snapshot, ms: number, isVerified: boolean): string =>
  [
    `${kept}: ${(bytes / 1e6).toFixed(1)} MB after ${(ms / 1000).toFixed(1)} s.`,
    ...(isVerified ? [`It is complete: it has all ${rows?.["runs"]} runs and opens as a relay's database.`] : []),
    `${pending} ${pending === 1 ? "delivery was" : "deliveries were"} pending; after a restore they continue, ` +
      "without duplicates where the sink can tell.",
    "",
  ].join("\n");

async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/** Fetches the copy as a restore would, and checks whether it could be restored. */
async function verified(
  target: BackupTarget,
  name: string,
  { sha256, snapshot }: { sha256: string; snapshot: Snapshot },
  begin: () => void,
): Promise<string | null> {
  begin();
  const path = join(target.work, `.${name}.verify`);
  try {
    await target.fetch(name, path);
    if ((await hashFile(path)) !== sha256) return "its bytes differ from those that were written";
    return await findCopyFault(path, snapshot.rows);
  } finally {
    removeDatabase(path);
  }
}

function folder(given: string): BackupTarget {
  const work = resolve(given);
  makeFolder(work, 0o700);
  return {
    work,
    keep: async (made, name) => {
      const kept = join(work, name);
      renameSync(made, kept);
      // A new name is durable once its folder is.
      const handle = await open(work, "r").catch(() => null);
      await handle?.sync().catch(() => {});
      await handle?.close();
      return kept;
    },
    fetch: async (name, to) => copyFileSync(join(work, name), to),
    close: async () => {},
  };
}

/** A single PUT takes at most this much: https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html */
const MAX_OBJECT = 5_000_000_000;

function bucket(settings: S3Settings, { config, runtime, shell }: CommandDeps): BackupTarget {
  const work = mkdtempSync(join(tmpdir(), "skyvern-relay-backup-"));
  const { fetch, close } = openEgress(config, { trusted: [settings.endpoint], timeoutMs: 600_000 });
  const call: S3Call = s3Call({ settings, fetch, now: runtime.now });
  const url = (name: string): string => `s3://${settings.bucket}/${settings.prefix}${name}`;
  return {
    work,
    keep: async (made, name, sha256) => {
      const { size } = statSync(made);
      if (size > MAX_OBJECT) throw new Error(`it is larger than the 5 GB that one upload takes: back up to a folder`);
      const answer = await call("PUT", name, { file: { path: made, bytes: size, sha256 }, signal: shell.stopped });
      const said = (await answer.text()).slice(0, 300);
      if (!answer.ok)
        throw new Error(`${settings.endpoint} answered ${answer.status} to ${url(name)}: ${codeIn(said)}`);
      return url(name);
    },
    fetch: async (name, to) => {
      const answer = await call("GET", name, { signal: shell.stopped });
      if (!answer.ok || answer.body === null) {
        await answer.body?.cancel();
        throw new Error(`${url(name)} cannot be fetched again: ${settings.endpoint} answered ${answer.status}`);
      }
      const file = await open(to, "wx", 0o600);
      try {
        for await (const chunk of answer.body) await file.write(chunk);
      } finally {
        await file.close();
      }
    },
    close: async () => {
      rmSync(work, { recursive: true, force: true });
      await close();
    },
  };
}

/** S3's own error code. Nothing else is shown of an answer that may quote the request. */
const codeIn = (said: string): string => /<Code>(\w{1,60})<\/Code>/.exec(said)?.[1] ?? "it gave no reason";

/**
 * Chosen by the address: endpoint and keys come from the environment under Fly's and Amazon's names, else from
 * artifacts.s3.
 */
function s3SettingsOf(to: string, { config, shell }: CommandDeps): S3Settings | string {
  const [, bucket = "", path = ""] =
    /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/([A-Za-z0-9._/-]{0,200}))?$/.exec(to) ?? [];
  if (bucket === "")
    return "--to must be a folder or s3://bucket/prefix, with a prefix of letters, digits, dots, _, - and /";
  const prefix = path === "" || path.endsWith("/") ? path : `${path}/`;
  const { AWS_ENDPOINT_URL_S3, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = shell.env;
  if (AWS_ACCESS_KEY_ID && AWS_SECRET_ACCESS_KEY) {
    const region = AWS_REGION ?? "auto";
    const endpoint = AWS_ENDPOINT_URL_S3 ?? (region === "auto" ? null : `https://s3.${region}.amazonaws.com`);
    if (endpoint === null || !URL.canParse(endpoint))
      return "AWS_ENDPOINT_URL_S3 must be the storage's https:// address, or AWS_REGION Amazon's region";
    const keys = { accessKeyId: new Secret(AWS_ACCESS_KEY_ID), secretAccessKey: new Secret(AWS_SECRET_ACCESS_KEY) };
    return { endpoint: endpoint.replace(/\/+$/, ""), bucket, region, prefix, ...keys };
  }
  const known = config.archive?.s3;
  if (known) return { ...known, bucket, prefix };
  return "s3:// needs AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or artifacts.s3 in relay.yaml";
}
