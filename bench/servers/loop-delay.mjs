// Imported before a program (`--import`): how late its event loop is. On SIGUSR2 writes what it saw to BENCH_LOOP_FILE
// and begins anew.
import { renameSync, writeFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";

const file = process.env.BENCH_LOOP_FILE;
if (isMainThread && file) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  process.on("SIGUSR2", () => {
    const seen = {
      pid: process.pid,
      p50: delay.percentile(50) / 1e6,
      p99: delay.percentile(99) / 1e6,
      max: delay.max / 1e6,
    };
    delay.reset();
    const path = `${file}.${process.pid}`;
    writeFileSync(`${path}.new`, JSON.stringify(seen));
    renameSync(`${path}.new`, path);
  });
}
