/** File uploads: a URL is given out, the bytes are sent to it, and the upload is completed. */
import type { SlackBlock, SlackFileStored, SlackStandInAnswer } from "./model.ts";
import { asObject, plain, asText, type Reply } from "./wire.ts";

export const UPLOAD_PATH = "/upload/v1/";

/** A file on its way. */
interface Upload {
  id: string;
  secret: string;
  name: string;
  title: string;
  length: number;
  alt: string | null;
  state: "awaited" | "uploaded" | "complete";
  bytes: Buffer | null;
  /** How many messages were to show it. */
  looks: number;
}

/** Each is `awaited`, then `uploaded`, then `complete`. */
export class Uploads {
  readonly #byId = new Map<string, Upload>();
  readonly #origin: () => string;
  /** How many messages that show a file are refused first. */
  readonly #looksNeeded: number;

  constructor(origin: () => string, looksNeeded: number) {
    this.#origin = origin;
    this.#looksNeeded = looksNeeded;
  }

  files(): SlackFileStored[] {
    return [...this.#byId.values()].filter(({ state }) => state === "complete").map(storeFile);
  }

  pictureOf(blocks: SlackBlock[]): SlackFileStored | null {
    const file = asObject(blocks.find(({ type }) => type === "image")?.["slack_file"]);
    return this.files().find(({ id }) => id === file?.["id"]) ?? null;
  }

  begin(args: Record<string, unknown>): SlackStandInAnswer {
    const name = asText(args["filename"]);
    const length = Number(args["length"]);
    if (!name || !(Number.isInteger(length) && length > 0)) return { ok: false, error: "invalid_arguments" };
    const alt = asText(args["alt_txt"]);
    if (alt && alt.length > 1_000) return { ok: false, error: "alt_txt_too_large" };
    const n = this.#byId.size + 1;
    const id = `F${String(n).padStart(8, "0")}`;
    const secret = `CwAB${n}-${Math.random().toString(36).slice(2)}`;
    this.#byId.set(id, { id, secret, name, title: name, length, alt, state: "awaited", bytes: null, looks: 0 });
    return { ok: true, upload_url: `${this.#origin()}${UPLOAD_PATH}${secret}`, file_id: id };
  }

  /** Receives the bytes of a file at its upload URL, which works once. */
  bring(secret: string, method: string, bytes: Buffer): Reply {
    const upload = [...this.#byId.values()].find((each) => each.secret === secret);
    if (method !== "POST") return plain(405, "method not allowed");
    if (!upload || upload.state !== "awaited") return plain(404, "no such upload");
    if (bytes.length !== upload.length) return plain(400, "length mismatch");
    this.#byId.set(upload.id, { ...upload, state: "uploaded", bytes });
    return plain(200, `OK - ${bytes.length}`);
  }

  /** True when each of these was uploaded and is completed for the first time. */
  areBrought(given: readonly SlackBlock[]): boolean {
    return given.every(({ id }) => this.#byId.get(String(id))?.state === "uploaded");
  }

  complete(given: readonly SlackBlock[]): SlackFileStored[] {
    for (const { id, title } of given) {
      const upload = this.#byId.get(String(id));
      if (upload) this.#byId.set(upload.id, { ...upload, title: asText(title) ?? upload.name, state: "complete" });
    }
    return this.files().filter(({ id }) => given.some((each) => each["id"] === id));
  }

  /** True when an image block may show a file: complete, of a picture type that Slack shows, and processed. */
  canShow(id: string): boolean {
    const upload = this.#byId.get(id);
    if (upload?.state !== "complete" || !/^image\/(png|jpeg|gif)$/.test(storeFile(upload).mimetype)) return false;
    this.#byId.set(id, { ...upload, looks: upload.looks + 1 });
    return upload.looks >= this.#looksNeeded;
  }
}

const storeFile = ({ id, name, title, alt, bytes }: Upload): SlackFileStored => {
  const head = bytes?.subarray(0, 8).toString("latin1") ?? "";
  const mimetype = head.startsWith("\x89PNG")
    ? "image/png"
    : head.startsWith("\xFF\xD8\xFF")
      ? "image/jpeg"
      : head.startsWith("GIF8")
        ? "image/gif"
        : "";
  return { id, name, title, alt, mimetype, bytes: bytes ?? new Uint8Array() };
};
