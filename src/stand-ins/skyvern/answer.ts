/** Writes the API's answers: successes, refusals, and ordered faults. */
import type { StandInAnswer, StandInCall, StandInFault } from "./model.ts";
import type { SkyvernState } from "./state.ts";

export const json = (status: number, value: unknown): StandInAnswer => ({
  status,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
});

export const detail = (status: number, text: string): StandInAnswer => json(status, { detail: text });

export const EMPTY_404: StandInAnswer = { status: 404, body: "" };

export const invalid = (name: string, type: string, msg: string, input: unknown, index?: number): StandInAnswer =>
  json(422, { detail: [{ type, loc: ["query", name, ...(index === undefined ? [] : [index])], msg, input }] });

/** Accepts the exact key or answers 403, never 401; an undecodable token has its own message. */
export function authorize(state: SkyvernState, { headers }: StandInCall): string | StandInAnswer {
  const given = headers["x-api-key"];
  const known = state.keys.find(({ key }) => key === given);
  if (known) return known.organization;
  const isToken = given === undefined || /^eyJ[\w-]*\.[\w-]+\.[\w-]+$/.test(String(given));
  return detail(403, isToken ? "Invalid credentials" : "Could not validate credentials");
}

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
