/** Writes the API's answers: successes and refusals. */
import type { StandInAnswer, StandInCall } from "./model.ts";
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
