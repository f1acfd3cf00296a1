/** The state of a stand-in Slack, and the calls it gets. */
import type { IncomingMessage, ServerResponse } from "node:http";

export interface SlackChannel {
  id: string;
  name: string;
  /** True when the app is in the channel. Default true. */
  member?: boolean;
  archived?: boolean;
  private?: boolean;
}

export interface SlackStandInCall {
  method: string;
  args: Record<string, unknown>;
  /** Epoch milliseconds. */
  at: number;
}

/** One call, and what would come of it. */
export interface SlackExchange {
  request: IncomingMessage;
  response: ServerResponse;
  isWebhook: boolean;
  /** Does the work of the call. */
  act: () => void;
}

export interface SlackMessageStored {
  channel: string;
  ts: string;
  thread_ts: string | null;
  text: string;
  blocks: SlackBlock[];
  metadata: { event_type: string; event_payload: Record<string, unknown> } | null;
  /** The author; a test may post another's message. */
  bot_id: string;
  /** The texts before each edit, oldest first. */
  edits: { text: string; blocks: SlackBlock[] }[];
  /** Files shared with it, as a channel shows them under its text. */
  files: SlackFileStored[];
  /** Whom it would have notified: `<!channel>`, `<@U123>`, …, by its markup or the mentions in its blocks. */
  pings: string[];
}

/** A file that was uploaded and completed. */
export interface SlackFileStored {
  id: string;
  name: string;
  title: string;
  bytes: Uint8Array;
  alt: string | null;
  /** By its bytes; empty when unknown. */
  mimetype: string;
}

export interface SlackOptions {
  /** Default `xoxb-stand-in`. */
  token?: string;
  /** Default one, `C0123ABCD` called `ops`. */
  channels?: SlackChannel[];
  /** The token's scopes. Default: post, upload files, read channels and their history. */
  scopes?: string[];
  /** How many messages that show a file are refused until Slack has processed it. Default 0. */
  filesLookedAtAfter?: number;
  /** Called with each call before it has an effect. True: the call was answered, or never will be. */
  intercept?: (call: SlackStandInCall, exchange: SlackExchange) => boolean;
  /** Epoch milliseconds. Default the system's clock. */
  now?: () => number;
}

export interface SlackStandIn {
  /** Base of the API, with `/api/` at its end. */
  url: string;
  webhookUrl: string;
  token: string;
  /** What the channel shows, in order; all channels without one. By id or name. */
  messages(channel?: string): SlackMessageStored[];
  /** What a message's image block shows, if it has one and its file exists. */
  pictureOf(message: Pick<SlackMessageStored, "blocks">): SlackFileStored | null;
  /** Every completed upload, also the unshared ones. */
  files(): SlackFileStored[];
  /** Every call that arrived, including faulty ones; the bytes of an upload come as `upload`. */
  calls: SlackStandInCall[];
  /** Deletes a message, as a person would. */
  delete(channel: string, ts: string): void;
  close(): Promise<void>;
}

/** Arguments about a message. */
export type SlackBlock = Record<string, unknown>;
/** Arguments of a method. */
export type SlackStandInAnswer = { ok: boolean; error?: string } & Record<string, unknown>;
