import { z } from "zod";
import { Secret } from "../../platform/secret.ts";

const url = z
  .string()
  .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), {
    message: "expected an http:// or https:// URL",
  })
  .transform((value) => new Secret(value));

/** Standard Webhooks, "Signature scheme": symmetric secrets are 24 to 64 random bytes, as base64 after `whsec_`. */
const isSigningSecret = (text: string): boolean => {
  const base64 = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text)?.[1];
  if (base64 === undefined) return false;
  const key = Buffer.from(base64, "base64");
  return (
    key.length >= 24 && key.length <= 64 && key.toString("base64").replace(/=+$/, "") === base64.replace(/=+$/, "")
  );
};

const signingSecrets = z
  .union([z.string(), z.array(z.string())])
  .transform((given) => (Array.isArray(given) ? given : given.split(",")).map((text) => text.trim()))
  .refine((secrets) => secrets.length > 0 && secrets.every(isSigningSecret), {
    message:
      "must be whsec_ and the base64 of 24 to 64 bytes; several are a list, or separated by commas in a variable",
  })
  .transform((secrets) => secrets.map((value) => new Secret(value)));

/** Headers that the relay or HTTP itself sets. */
const OWN_HEADER =
  /^(webhook-.*|content-type|content-length|host|connection|transfer-encoding|keep-alive|upgrade|expect|te|trailer)$/i;

const headers = z
  .record(z.string(), z.string())
  .refine((given) => Object.keys(given).every((name) => /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(name)), {
    message: "expected header names made of letters, digits and -",
  })
  .refine((given) => !Object.keys(given).some((name) => OWN_HEADER.test(name)), {
    message: "content-type, webhook-* and the headers of the connection are set by the relay",
  })
  .refine((given) => Object.values(given).every((value) => /^[\t\x20-\x7e\x80-\xff]*$/.test(value)), {
    message: "expected header values of one line, without characters beyond Latin-1",
  })
  .transform((given) => Object.fromEntries(Object.entries(given).map(([name, value]) => [name, new Secret(value)])));

export const HttpConfig = z.strictObject({
  url: url.meta({ description: "Where to POST to. `user:password@` becomes an Authorization header." }),
  secret: signingSecrets
    .optional()
    .transform((given) => given ?? [])
    .meta({
      description:
        "Signing secret as whsec_<base64>, or a list: all sign, while one is being replaced. Without one nothing " +
        "is signed.",
    }),
  headers: headers
    .optional()
    .transform((given) => given ?? {})
    .meta({ description: "Headers added to each request." }),
  updates: z
    .boolean()
    .default(false)
    .meta({ description: "Also send what became known later, not only changed outcomes." }),
  attempts: z.boolean().default(false).meta({
    description: "Also send `run.attempt_failed` for each failed attempt of a run that Skyvern tries again.",
  }),
});
export type HttpSettings = z.output<typeof HttpConfig>;
