/** A log line as a person reads it: `21:58:03 warn  delivery attempted  run_id=tsk_1 sink=ops reason="HTTP 500"`. */
import { onOneLine } from "../hostile-text.ts";

/** Ids that only a search through many lines needs: JSON lines have them. */
const LEFT_OUT = new Set(["time", "level", "event", "trace_id", "receipt_id", "delivery_id"]);

const STYLES: Record<string, number> = { fatal: 31, error: 31, warn: 33, debug: 2, trace: 2 };
const DIM = 2;
const BOLD = 1;

/** Values come from payloads and peers too: each is on one line, without characters that control a terminal. */
export function formatLogLine(json: string, { colour }: { colour: boolean }): string {
  const fields = JSON.parse(json) as Record<string, unknown>;
  const styled = (code: number, text: string): string => (colour ? `\u001B[${code}m${text}\u001B[0m` : text);
  const { time, level, event } = fields;
  const name = String(level);
  const style = STYLES[name];
  const pairs = Object.entries(fields)
    .filter(([key, value]) => !LEFT_OUT.has(key) && !isEmpty(value))
    .map(([key, value]) => `${styled(DIM, `${key}=`)}${formatValue(value)}`);
  return [
    styled(DIM, formatClock(new Date(String(time)))),
    style === undefined ? name.padEnd(5) : styled(style, name.padEnd(5)),
    styled(BOLD, onOneLine(String(event).replaceAll(/[._]/g, " "))),
    pairs.length === 0 ? "" : ` ${pairs.join(" ")}`,
  ]
    .join(" ")
    .trimEnd()
    .concat("\n");
}

const isEmpty = (value: unknown): boolean =>
  value === null || value === "" || (Array.isArray(value) && value.length === 0);

/** In the machine's time zone. */
const formatClock = (time: Date): string =>
  [time.getHours(), time.getMinutes(), time.getSeconds()].map((n) => String(n).padStart(2, "0")).join(":");

const MAX_VALUE = 500;

function formatValue(value: unknown): string {
  const text = onOneLine(typeof value === "object" ? formatObject(value) : String(value));
  const short = text.length > MAX_VALUE ? `${text.slice(0, MAX_VALUE).toWellFormed()}…` : text;
  return typeof value === "string" && /[\s="]/.test(short) ? JSON.stringify(short) : short;
}

const formatObject = (value: unknown): string =>
  Array.isArray(value) && value.every((item) => typeof item === "string") ? value.join(",") : JSON.stringify(value);
