/** `skyvern-relay backup`: a copy beside the running relay, in a folder or in S3. */
import { randomBytes } from "node:crypto";
import { copyFileSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { expect, it } from "vitest";
import { copyDatabase, findCopyFault } from "../../src/store/sqlite/backup.ts";
import { ACCESS_KEY_ID, SECRET_ACCESS_KEY, startS3 } from "../archive/s3-stand-in.ts";
import { aFolder, anApp } from "../support/app.ts";
import { runCommand } from "../support/command.ts";
import { FIXTURE_KEY, fixtureBytes, mutated } from "../support/fixtures.ts";
import { runProgram } from "../support/process.ts";

const V2 = "tsk_v2_565346328529285494";

/** A relay that runs, with one delivery that waits and one that arrived. */
async function aRelay() {
  const folder = aFolder();
  const path = join(folder, "relay.db");
  const relay = await anApp({ DATABASE_URL: `sqlite:${path}` }, { standIns: ["http"] });
  await relay.webhook(fixtureBytes("task_v1.completed"));
  await relay.deliver();
  await relay.webhook(fixtureBytes("task_v2.completed"));
  const env = { SKYVERN_API_KEY: FIXTURE_KEY, DATABASE_URL: `sqlite:${path}` };
  const to = join(folder, "backups");
  const backup = (...args: string[]) => runCommand(["backup", ...args], env);
  return { relay, folder, path, env, to, backup };
}

it("backup makes one file that a relay can be started on, and leaves the running relay as it was", async () => {
  const { relay, folder, to, backup } = await aRelay();
  const { code, stdout, stderr } = await backup("--to", to);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/relay-\d{8}T\d{6}Z-[0-9a-f]{4}\.db: \d+\.\d MB after \d+\.\d s\.\n1 delivery was pending/);
  const [name = "", ...more] = readdirSync(to);
  expect(more, "nothing beside it").toEqual([]);
  expect(statSync(join(to, name)).mode & 0o077).toBe(0);

  const restored = join(folder, "restored.db");
  copyFileSync(join(to, name), restored);
  const second = await anApp({ DATABASE_URL: `sqlite:${restored}` }, { standIns: ["http"] });
  expect(await second.read(`/v1/runs/${V2}`)).toMatchObject({
    status: "completed",
    receipts: [{ verdict: "accepted" }],
  });
  await second.deliver();
  expect(second.standIns.http.requests).toHaveLength(1);
  // The one that was copied goes on where it was, and says its own again under the same id.
  await relay.deliver();
  const ids = [relay, second].map(({ standIns }) => standIns.http.requests.at(-1)?.headers["webhook-id"]);
  expect(ids[0]).toBe(ids[1]);
});

it("backup --verify reads all of the copy, and --json says what it is", async () => {
  const { to, backup } = await aRelay();
  const { code, stdout } = await backup("--to", to, "--verify", "--json");
  expect(code).toBe(0);
  const [name = ""] = readdirSync(to);
  expect(JSON.parse(stdout)).toEqual({
    backup: join(to, name),
    taken_at: expect.stringMatching(/Z$/) as string,
    bytes: statSync(join(to, name)).size,
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    pending: 1,
    verified: true,
    rows: expect.objectContaining({ runs: 2, receipts: 2, deliveries: 2 }) as object,
    ms: expect.any(Number) as number,
  });
});

it("a backup is the database of one moment, even while another process writes at every step", async () => {
  const { path, folder } = await aRelay();
  const filler = new Sqlite(path);
  filler.exec("create table filler (body blob)");
  const write = filler.prepare("insert into filler values (randomblob(100000))");
  for (let i = 0; i < 200; i += 1) write.run();
  const to = join(folder, "copy.db");
  let steps = 0;
  await copyDatabase(path, to, {
    counting: false,
    signal: new AbortController().signal,
    progress: () => {
      steps += 1;
      write.run();
    },
  });
  filler.close();
  // Begun anew at each write, it would take a step for every one before it.
  expect(steps).toBeGreaterThan(3);
  expect(steps).toBeLessThan(12);
  const copy = new Sqlite(to, { readonly: true });
  expect(copy.prepare("select count(*) as n from filler").get()).toEqual({ n: 200 });
  copy.close();
});

it("backup finds out a copy that is damaged, cut off or short of rows", async () => {
  const { path, folder } = await aRelay();
  const make = async (name: string) => {
    const to = join(folder, name);
    const options = { counting: true, signal: new AbortController().signal, progress: () => {} };
    const { rows } = await copyDatabase(path, to, options);
    return { to, rows };
  };
  const whole = await make("whole.db");
  expect(await findCopyFault(whole.to, whole.rows)).toBeNull();

  const cut = await make("cut.db");
  writeFileSync(cut.to, readFileSync(cut.to).subarray(0, 40_000));
  expect(await findCopyFault(cut.to, cut.rows)).toMatch(/damaged|cannot be read/);

  const short = await make("short.db");
  const sqlite = new Sqlite(short.to);
  sqlite.exec("delete from receipts where run_id like 'tsk_v2%'");
  sqlite.close();
  expect(await findCopyFault(short.to, short.rows)).toBe("it has 1 receipts, the database had 2");
});

it("backup brings the copy to S3 and, with --verify, fetches it from there again", async () => {
  const { env } = await aRelay();
  const s3 = await startS3();
  const keys = {
    AWS_ENDPOINT_URL_S3: s3.url,
    AWS_REGION: "eu-central-1",
    AWS_ACCESS_KEY_ID: ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY: SECRET_ACCESS_KEY,
  };
  const { code, stdout, stderr } = await runCommand(["backup", "--to", "s3://backups/relay", "--verify", "--json"], {
    ...env,
    ...keys,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const { backup, bytes } = JSON.parse(stdout) as { backup: string; bytes: number };
  const name = backup.replace("s3://", "/");
  expect(name).toMatch(/^\/backups\/relay\/relay-.*\.db$/);
  expect(s3.objects.get(name)).toHaveLength(bytes);
  expect(s3.calls).toEqual([`PUT ${name}`, `GET ${name}`]);

  s3.faults.push(403);
  const refused = await runCommand(["backup", "--to", "s3://backups/relay"], { ...env, ...keys });
  expect(refused).toMatchObject({ code: 1, stdout: "" });
  expect(refused.stderr).toContain("answered 403");
  expect(refused.stderr).not.toContain(SECRET_ACCESS_KEY);
});

it("a backup that is stopped before its end leaves nothing, and neither does one that cannot be made", async () => {
  const { env, to, folder } = await aRelay();
  const stopped = await runCommand(["backup", "--to", to], env, { stopped: AbortSignal.abort() });
  expect(stopped).toMatchObject({ code: 1, stdout: "" });
  expect(stopped.stderr).toContain("it was stopped before the end; there is no new backup");
  expect(readdirSync(to)).toEqual([]);
  const file = join(folder, "a-file");
  writeFileSync(file, "");
  const nowhere = await runCommand(["backup", "--to", join(file, "x")], env);
  expect(nowhere).toMatchObject({ code: 1, stdout: "" });
  const none = await runCommand(["backup", "--to", to], { ...env, DATABASE_URL: `sqlite:${join(folder, "no.db")}` });
  expect(none.stderr).toContain("no relay has run on it yet");
  expect(existsSync(join(folder, "no.db"))).toBe(false);
});

it("backup shows how far it has come where there is a terminal", async () => {
  const { env, to, relay } = await aRelay();
  // What does not compress.
  const output = randomBytes(75_000).toString("base64");
  for (let i = 0; i < 60; i += 1) await relay.webhook(mutated("task_v1.completed", { run_id: `tsk_${i}`, output }));
  const { stderr } = await runCommand(["backup", "--to", to, "--verify"], env, { terminal: true });
  expect(stderr).toMatch(/\[#+-*\] \d+ % copied/);
  expect(stderr).toContain("Reading the copy");
  expect(stderr.endsWith("\r\u001B[K")).toBe(true);
});

it.each([
  [[], "--to <place>"],
  [["--to", "s3://"], "--to must be a folder or s3://bucket/prefix"],
  [["--to", "s3://UPPER/x"], "--to must be"],
  [["--to", "s3://bucket/x"], "s3:// needs AWS_ENDPOINT_URL_S3"],
  [["--to", "x", "--quick"], "unknown option"],
])("backup refuses %j as wrong usage", async (args, reason) => {
  const env = { SKYVERN_API_KEY: "k" };
  const { code, stdout, stderr } = await runCommand(["backup", ...args], env);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain(reason);
});

it("backup says at once that the system does not let it make the folder", async () => {
  const { env } = await aRelay();
  const { code, stdout, stderr } = await runProgram(["backup", "--to", "/proc/nowhere/backups"], env).ended;
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/^skyvern-relay backup: ENOENT.*mkdir '\/proc\/nowhere'\n$/);
});
