import { isJsonObject, isRawNumber, type Json, type RawNumber } from "../platform/json.ts";

/**
 * Rewrites the numbers of an API answer the way Skyvern's webhooks write them (contract §1): a whole float becomes an
 * integer (`120.0` → `120`, `1e+22` → `10000000000000000000000`), a small one has Python's spelling (`1e-07`). The same
 * run thereby has the same digits whichever way it came.
 */
export function asInWebhooks(json: Json): Json {
  if (typeof json === "number" || isRawNumber(json)) return numberAsInWebhooks(json);
  if (Array.isArray(json)) return json.map(asInWebhooks);
  if (!isJsonObject(json)) return json;
  return Object.fromEntries(Object.entries(json).map(([key, value]) => [key, asInWebhooks(value)]));
}

function numberAsInWebhooks(json: number | RawNumber): number | RawNumber {
  const value = Number(typeof json === "number" ? json : json.rawJSON);
  const text = typeof json === "number" ? String(json) : json.rawJSON;
  const isFloat = /[.eE]/.test(text);
  if (isFloat && Number.isInteger(value)) return JSON.rawJSON(String(BigInt(value)));
  if (Math.abs(value) >= 1e-4 || value === 0 || !Number.isFinite(value)) return json;
  const [digits, exponent = ""] = value.toExponential().split("e-");
  return JSON.rawJSON(`${digits}e-${exponent.padStart(2, "0")}`);
}
