/** What the relay writes is its user's alone: the database holds results and the key that signs links. */
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { aFolder } from "../support/app.ts";
import { serve } from "../support/process.ts";

it("no other user may read a file of the running program, whatever the umask it was started with", async () => {
  const folder = join(aFolder(), "data");
  const before = process.umask(0);
  try {
    mkdirSync(folder);
    await serve({ DATABASE_URL: `sqlite:${join(folder, "relay.db")}` });
  } finally {
    process.umask(before);
  }
  const files = readdirSync(folder);
  expect(files).toContain("relay.db");
  for (const file of files) expect(statSync(join(folder, file)).mode & 0o077, file).toBe(0);
});
