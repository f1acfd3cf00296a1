import { expect, it } from "vitest";
import { createLog } from "../../src/platform/log/stdout-log.ts";
import { formatLogLine } from "../../src/platform/log/text-log.ts";

/** One act as it is logged, without its time. */
function written(event: string, fields: Record<string, unknown>, colour = false): string {
  let json = "";
  createLog("info", { write: (line) => void (json += line) }).warn(event, fields);
  return formatLogLine(json, { colour }).replace(/\d\d:\d\d:\d\d/, "HH:MM:SS");
}

it("a log line has the time, the level, the event in words and its fields", () => {
  const fields = { run_id: "tsk_1", sink: "ops", reason: "HTTP 500", attempt: 2, sinks: ["a", "b"] };
  expect(written("delivery.attempted", fields)).toBe(
    'HH:MM:SS warn  delivery attempted  run_id=tsk_1 sink=ops reason="HTTP 500" attempt=2 sinks=a,b\n',
  );
});

it("a log line leaves out what is empty and the ids of tracing", () => {
  expect(
    written("run.ingested", { run_id: "tsk_1", note: null, faults: [], trace_id: "ab", receipt_id: "rcp_1" }),
  ).toBe("HH:MM:SS warn  run ingested  run_id=tsk_1\n");
});

it("a hostile value stays on its log line and controls no terminal", () => {
  const line = written("webhook.refused", { reason: "a\n\u001B[2Jb\u202Ec\u0007", list: ["\u001B]0;x"] });
  expect(line).toBe('HH:MM:SS warn  webhook refused  reason="a [2Jb c" list=]0;x\n');
});

it("a log line has colours only where they are wanted", () => {
  expect(written("x.y", { a: 1 }, true)).toContain("\u001B[33mwarn");
  expect(written("x.y", { a: 1 })).not.toContain("\u001B");
});
