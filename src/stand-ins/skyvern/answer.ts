/** Writes the API's answers: successes, refusals, and ordered faults. */
import type { StandInFault } from "./model.ts";

export interface StandInAnswer {
  status: number;
  headers?: Record<string, string>;
  body: string | Uint8Array;
}

export const json = (status: number, value: unknown): StandInAnswer => ({
  status,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
});

export const detail = (status: number, text: string): StandInAnswer => json(status, { detail: text });

export const EMPTY_404: StandInAnswer = { status: 404, body: "" };

export const invalid = (name: string, type: string, msg: string, input: unknown, index?: number): StandInAnswer =>
  json(422, { detail: [{ type, loc: ["query", name, ...(index === undefined ? [] : [index])], msg, input }] });

export function takeFault(faults: StandInFault[], path: string): StandInFault | undefined {
  const index = faults.findIndex(({ on }) => on === undefined || on.test(path));
  const fault = faults[index];
  if (!fault) return undefined;
  const left = (fault.times ?? 1) - 1;
  if (left > 0) faults[index] = { ...fault, times: left };
  else faults.splice(index, 1);
  return fault;
}

export function answerOfFault({ status = 500, headers, body }: StandInFault): StandInAnswer {
  const own: Record<number, StandInAnswer> = {
    403: detail(403, "Invalid credentials"),
    404: EMPTY_404,
    429: detail(429, "Rate limit exceeded: 100 per 1 minute"),
    500: json(500, { error: "Unexpected error: OperationalError" }),
    503: detail(503, "Service Unavailable"),
  };
  const answer = own[status] ?? detail(status, "A fault on order");
  return { status, headers: { ...answer.headers, ...headers }, body: body ?? answer.body };
}
