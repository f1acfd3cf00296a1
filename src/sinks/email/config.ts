import addressparser from "nodemailer/lib/addressparser";
import { z } from "zod";
import { Secret } from "../../platform/secret.ts";

/** A mailbox: `{ name: "Relay", address: "relay@example.com" }`; the name may be empty. */
export interface Mailbox {
  name: string;
  address: string;
}

const URL_OPTIONS = ["requireTLS", "ignoreTLS", "name"];

function smtpFault(text: string): string | null {
  if (!URL.canParse(text)) return "expected an smtp:// or smtps:// URL";
  const url = new URL(text);
  if (url.protocol !== "smtp:" && url.protocol !== "smtps:") return "expected an smtp:// or smtps:// URL";
  if (url.hostname === "") return "expected a host after smtp://";
  if (!isEncoded(url.username) || !isEncoded(url.password))
    return "expected a % in user or password to be written as %25";
  const unknown = [...url.searchParams.keys()].find((key) => !URL_OPTIONS.includes(key));
  return unknown === undefined ? null : `expected none but the options ${URL_OPTIONS.join(", ")} after the "?"`;
}

function isEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

const smtp = z
  .string()
  .superRefine((text, context) => {
    const fault = smtpFault(text);
    if (fault !== null) context.addIssue({ code: "custom", message: fault });
  })
  .transform((value) => new Secret(value));

/**
 * An address that fits into MAIL FROM and a header without quoting: visible ASCII or non-ASCII letters, one `@`, a
 * domain.
 */
const ADDRESS = /^[^\s\p{C}<>()[\],;:\\"@]{1,64}@[\p{L}\p{N}.-]{1,253}$/u;

/**
 * Parses the addresses in a text; null when any part of it is not one. A name needs angle brackets around the address.
 */
function parseMailboxes(text: string): Mailbox[] | null {
  if (/\p{Cc}/u.test(text)) return null;
  const found = addressparser(text, { flatten: true }).map(({ name, address }) => ({
    name,
    address: withAsciiDomain(address),
  }));
  const good = found.every(({ name, address }) => ADDRESS.test(address) && (name === "" || text.includes("<")));
  return good && found.length > 0 ? found : null;
}

/** Punycode for the domain, which every server takes; a text that is no domain stays as it is, and makes no address. */
function withAsciiDomain(address: string): string {
  const at = address.lastIndexOf("@") + 1;
  const domain = address.slice(at);
  return /[^\0-\x7F]/.test(domain)
    ? address.slice(0, at) + (URL.parse(`http://${domain}`)?.hostname ?? domain)
    : address;
}

const mailbox = z.string().transform((text, context): Mailbox => {
  const [only, ...more] = parseMailboxes(text) ?? [];
  if (only && more.length === 0) return only;
  context.addIssue({ code: "custom", message: 'expected one address: a@example.com or "Name <a@example.com>"' });
  return z.NEVER;
});

const MAX_RECIPIENTS = 100;

const mailboxes = z.union([z.string(), z.array(z.string())]).transform((given, context): Mailbox[] => {
  const found = [given].flat().map(parseMailboxes);
  const all = found.flatMap((some) => some ?? []);
  if (all.length > 0 && all.length <= MAX_RECIPIENTS && !found.includes(null)) return all;
  context.addIssue({
    code: "custom",
    message: `expected 1 to ${MAX_RECIPIENTS} addresses, as a list or separated by commas`,
  });
  return z.NEVER;
});

export const EmailConfig = z.strictObject({
  smtp: smtp.meta({
    description: "The mail server: smtp://user:password@host:587 (STARTTLS if offered) or smtps://…:465.",
  }),
  from: mailbox.meta({ description: "The sender." }),
  to: mailboxes.meta({ description: "The recipients: a list, or addresses separated by commas." }),
  reply_to: mailbox.optional().meta({ description: "Where replies go, if not to the sender." }),
  on_unknown: z.enum(["resend", "assume_sent"]).default("resend").meta({
    description: "If it is unknown whether a mail arrived: `resend` it with the same Message-ID, or `assume_sent`.",
  }),
});
export type EmailSettings = z.output<typeof EmailConfig>;
