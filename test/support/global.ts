/** Before and after a whole test run. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pidOf } from "./postgres.ts";

export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "relay-postgres-"));
  process.env.RELAY_TEST_POSTGRES_FOLDER = folder;
  return () => {
    const pid = pidOf(join(folder, "data"));
    if (pid !== null) process.kill(pid, "SIGQUIT");
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  };
}
