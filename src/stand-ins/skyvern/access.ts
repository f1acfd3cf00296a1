/** Checks API keys. */
import type { StandInCall } from "./model.ts";
import type { SkyvernState } from "./state.ts";
import { detail, type StandInAnswer } from "./answer.ts";

/** Accepts the exact key or answers 403, never 401; an undecodable token has its own message. */
export function authorize(state: SkyvernState, { headers }: StandInCall): string | StandInAnswer {
  const given = headers["x-api-key"];
  const known = state.keys.find(({ key }) => key === given);
  if (known) return known.organization;
  const isToken = given === undefined || /^eyJ[\w-]*\.[\w-]+\.[\w-]+$/.test(String(given));
  return detail(403, isToken ? "Invalid credentials" : "Could not validate credentials");
}
