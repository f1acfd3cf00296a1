import MailComposer from "nodemailer/lib/mail-composer";
import type { Attachment } from "../attachments.ts";
import type { Mailbox } from "./config.ts";
import type { Mail } from "./render.ts";

/** What a mail carries besides text. */
export interface Enclosed {
  /** The picture shown in the mail, which refers to it by `cid`. */
  picture: (Attachment & { cid: string }) | null;
  files: readonly Attachment[];
}
export const NOTHING: Enclosed = { picture: null, files: [] };

export interface MessageInput {
  mail: Mail;
  enclosed: Enclosed;
  /** Includes the angle brackets. */
  messageId: string;
  from: Mailbox;
  to: Mailbox[];
  /** Addresses of `to` that get it now; the others have it, or never will. */
  recipients: string[];
  replyTo: Mailbox | undefined;
  date: Date;
}

/** A mail as bytes, with the addresses to hand to the server. */
export interface RawMessage {
  envelope: { from: string; to: string[]; size: number };
  bytes: Buffer;
}

/** Returns `<delivery id@domain of the sender>`, the same for every attempt of a delivery. */
export const makeMessageId = (deliveryId: string, from: Mailbox): string =>
  `<${deliveryId.replace(/[^\w.-]/g, "_")}@${from.address.slice(from.address.lastIndexOf("@") + 1)}>`;

/**
 * Composes the mail in MIME form, with text and HTML as alternatives. Nothing in it can make the composer read a file
 * or a URL.
 */
export async function rawMessage(input: MessageInput): Promise<RawMessage> {
  const { mail, enclosed, messageId, from, to, recipients, replyTo, date } = input;
  const node = new MailComposer({
    from,
    to,
    ...(replyTo ? { replyTo } : {}),
    subject: mail.subject,
    text: mail.text,
    html: mail.html,
    headers: mail.headers,
    attachments: toAttachments(enclosed),
    messageId,
    date,
    disableFileAccess: true,
    disableUrlAccess: true,
  }).compile();
  const bytes = await node.build();
  return { envelope: { from: from.address, to: recipients, size: bytes.length }, bytes };
}

const toAttachments = ({ picture, files }: Enclosed) => [
  ...(picture ? [{ ...toAttachment(picture), cid: picture.cid, contentDisposition: "inline" as const }] : []),
  ...files.map((file) => ({ ...toAttachment(file), contentDisposition: "attachment" as const })),
];

const toAttachment = ({ name, type, bytes }: Attachment) => ({
  filename: name,
  contentType: type,
  content: Buffer.from(bytes),
});
