/** Every kind of sink: a new one is its folder, and its line in the list. */
import email from "./email/index.ts";
import http from "./http/index.ts";
import slack from "./slack/index.ts";
import type { SinkKind } from "./sink.ts";

export const KINDS = [http, slack, email] as unknown as readonly [SinkKind, ...SinkKind[]];

/** Throws when there is no kind of that name: the configuration lets none through. */
export function findKind(name: string): SinkKind {
  const found = KINDS.find(({ kind }) => kind === name);
  if (!found) throw new Error(`there is no sink kind ${name}`);
  return found;
}

/** The variables that each way to a sink needs: `SLACK_BOT_TOKEN and SLACK_CHANNEL`. One way a kind, its first. */
export const firstWays = (): (readonly string[])[] =>
  KINDS.flatMap(({ shortcut }) => (shortcut?.ways[0] ? [shortcut.ways[0].needs] : []));
