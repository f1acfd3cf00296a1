/** Who is let in. */
import type { StandInCall } from "./model.ts";
import type { SkyvernState } from "./state.ts";
import { detail, type StandInAnswer } from "./answer.ts";

/** The exact key or 403, never 401; what cannot be decoded as a token has its own words. */
export function authorize(state: SkyvernState, { headers }: StandInCall): string | StandInAnswer {
  const given = headers["x-api-key"];
  const known = state.keys.find(({ key }) => key === given);
  if (known) return known.organization;
  const isToken = given === undefined || /^eyJ[\w-]*\.[\w-]+\.[\w-]+$/.test(String(given));
  return detail(403, isToken ? "Invalid credentials" : "Could not validate credentials");
}
