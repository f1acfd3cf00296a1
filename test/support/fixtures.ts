import { createHmac } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import type { JsonObject } from "../../src/platform/json.ts";
import { Secret } from "../../src/platform/secret.ts";
import { verify, type VerifiedWebhook } from "../../src/receive/verify.ts";

const FOLDER = new URL("../fixtures/", import.meta.url);

interface Signatures {
  key: string;
  files: Record<string, { bytes: number; sha256: string; "x-skyvern-signature": string }>;
}
export const SIGNATURES = JSON.parse(readFileSync(new URL("_signatures.json", FOLDER), "utf8")) as Signatures;

/** The key that signed every fixture: a JWT whose `sub` is {@link FIXTURE_ORGANIZATION}. */
export const FIXTURE_KEY = SIGNATURES.key;
export const FIXTURE_ORGANIZATION = "o_512846093377601280";

/** Every `webhook.*.json`. */
export const WEBHOOKS: readonly string[] = readdirSync(FOLDER)
  .filter((name) => name.startsWith("webhook.") && name.endsWith(".json"))
  .toSorted();

/** The exact bytes of one, by its name without `webhook.` and `.json`. */
export const fixtureBytes = (name: string): Buffer => readFileSync(new URL(`webhook.${name}.json`, FOLDER));

/** The ZIP that Skyvern 1.0.56 answered for `har.har` and for `browser_console.log`, both inside of it. */
export const fixtureBundle = (): Buffer =>
  readFileSync(new URL("api.artifact-content.bundle-member-1.0.56.zip", FOLDER));

/** A webhook's bytes as text, to change it. Parse it only where no number matters. */
export const fixtureText = (name: string): string => fixtureBytes(name).toString("utf8");

export const fixtureJson = (name: string): JsonObject => JSON.parse(fixtureText(name)) as JsonObject;

/** A fixture with other values; a key given as undefined is left out. */
export const mutated = (name: string, changes: Record<string, unknown>): string =>
  JSON.stringify({ ...fixtureJson(name), ...changes });

/** `x-skyvern-signature` of these bytes. */
export const signatureOf = (body: string | Uint8Array, key: string = FIXTURE_KEY): string =>
  createHmac("sha256", key).update(body).digest("hex");

/** The body as if it had come signed with the fixture key, whose organization nobody knows. */
export const verifiedWebhook = (body: string): VerifiedWebhook => {
  const key = { name: "key", key: new Secret(FIXTURE_KEY), organization: null };
  const about = { sentAt: null, channel: null, query: null, from: "127.0.0.1" };
  return verify({ bytes: Buffer.from(body), signature: signatureOf(body), ...about }, [key]) as VerifiedWebhook;
};
