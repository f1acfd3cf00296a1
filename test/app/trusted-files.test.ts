/** What is executed or believed is never read from where other users of the machine can write. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { findOthersWritable, readTrustedFile } from "../../src/app/trusted-file.ts";
import { aFolder, anApp } from "../support/app.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** A file in a folder of its own, with these modes. */
function aFile(folderMode: number, fileMode = 0o644): { folder: string; path: string } {
  const folder = join(aFolder(), "etc");
  mkdirSync(folder);
  const path = join(folder, "relay.yaml");
  writeFileSync(path, "redact: { keys: [iban] }\n");
  chmodSync(path, fileMode);
  chmodSync(folder, folderMode);
  return { folder, path };
}

describe("a file", () => {
  it.each([
    ["of this user's alone", 0o755, 0o644],
    ["that its group may write", 0o775, 0o664],
    ["of this user's in a folder like /tmp", 0o1777, 0o600],
  ])("a file %s is trusted", (_what, folderMode, fileMode) => {
    expect(readTrustedFile(aFile(folderMode, fileMode).path)).toContain("iban");
  });

  it("a file that others can write is not trusted, nor is one in a folder that others can write", () => {
    const open = aFile(0o755, 0o666);
    expect(() => readTrustedFile(open.path)).toThrow(open.path);
    const { folder, path } = aFile(0o777);
    expect(findOthersWritable(path)).toBe(folder);
    expect(findOthersWritable(join(folder, "not", "there"))).toBe(folder);
  });

  it("a file behind a link is trusted only if both its own folder and the folder of the link are", () => {
    const { folder, path } = aFile(0o777);
    const link = join(aFolder(), "relay.yaml");
    symlinkSync(path, link);
    expect(findOthersWritable(link)).toBe(folder);
    const target = aFile(0o755).path;
    symlinkSync(target, join(folder, "link.yaml"));
    expect(findOthersWritable(join(folder, "link.yaml"))).toBe(folder);
  });
});

it("a database that others could replace is opened with a warning that names the folder", async () => {
  const { folder } = aFile(0o755);
  const env = { DATABASE_URL: `sqlite:${join(folder, "relay.db")}` };
  expect((await anApp(env)).log()).not.toContain("database.exposed");
  const open = aFile(0o777);
  const relay = await anApp({ DATABASE_URL: `sqlite:${join(open.folder, "relay.db")}` });
  expect(relay.log()).toContain("database.exposed");
  expect(relay.log()).toContain(JSON.stringify(open.folder));
});

it("the relay refuses relay.yaml, a secret's file and .env in a folder that others can write, and names each", () => {
  const { folder, path } = aFile(0o755);
  writeFileSync(join(folder, ".env"), "LOG_LEVEL=loud\n");
  writeFileSync(join(folder, "key"), "a-key\n");
  chmodSync(folder, 0o777);
  const env = { SKYVERN_API_KEY_FILE: join(folder, "key"), RELAY_CONFIG: path };
  const main = join(ROOT, "src/main.ts");
  const { status, stderr } = spawnSync(process.execPath, [main, "check"], { cwd: folder, env, encoding: "utf8" });
  expect(status).toBe(2);
  for (const name of [".env", "RELAY_CONFIG", "SKYVERN_API_KEY_FILE"])
    expect(stderr).toMatch(new RegExp(`${name.replace(".", "\\.")}.*other users can write to`));
  expect(stderr).not.toContain("loud");
});

describe("scripts/node-env.sh", () => {
  /** On a machine whose own Node is too old. `home`: where a newer one is looked for. */
  const source = (env: Record<string, string>) => {
    const tools = aFolder();
    writeFileSync(join(tools, "node"), "#!/bin/sh\necho 20\n", { mode: 0o755 });
    return spawnSync("sh", ["-c", ". scripts/node-env.sh && command -v node"], {
      cwd: ROOT,
      env: { PATH: `${tools}:/usr/bin:/bin`, ...env },
      encoding: "utf8",
    });
  };
  const aNode = (mode: number): string => {
    const home = join(aFolder(), "node");
    mkdirSync(join(home, "bin"), { recursive: true });
    writeFileSync(join(home, "bin", "node"), "#!/bin/sh\necho 24\n", { mode: 0o755 });
    chmodSync(home, mode);
    return home;
  };

  it("scripts/node-env.sh runs the Node of a folder that only this user can write", () => {
    const home = aNode(0o755);
    expect(source({ RELAY_NODE_HOME: home })).toMatchObject({ status: 0, stdout: `${home}/bin/node\n` });
  });

  it("scripts/node-env.sh runs no Node of a folder that others can write", () => {
    const home = aNode(0o777);
    const { status, stderr } = source({ RELAY_NODE_HOME: home });
    expect([status, stderr]).toEqual([1, expect.stringContaining(`other users can write to ${home}`)]);
  });

  it("scripts/node-env.sh looks for no Node in a folder that everybody can write, even where there is no HOME", () => {
    const { status, stderr } = source({});
    expect([status, stderr]).toEqual([1, expect.stringContaining("set RELAY_NODE_HOME")]);
  });
});

it("no script and no part of the program names a folder that everybody can write", () => {
  // That of an image being tried lies inside of a folder that only root reaches.
  const where = ["scripts", "bin", "src", "bench", "Dockerfile"];
  const found = spawnSync("grep", ["-rnE", "--exclude=try-image", "/(var/)?tmp\\b", ...where], {
    cwd: ROOT,
    encoding: "utf8",
  });
  expect({ found: found.stdout, status: found.status }).toEqual({ found: "", status: 1 });
});
