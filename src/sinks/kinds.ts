/** Every kind of sink: a new one is its folder, and its line in the list. */
import email from "./email/index.ts";
import http from "./http/index.ts";
import slack from "./slack/index.ts";
import type { SinkKind } from "./sink.ts";

export const KINDS = [slack, email, http] as unknown as readonly [SinkKind, ...SinkKind[]];

/** Throws for an unknown kind, which the configuration does not let through. */
export function findKind(name: string): SinkKind {
  const found = KINDS.find(({ kind }) => kind === name);
  if (!found) throw new Error(`there is no sink kind ${name}`);
  return found;
}

/** The variables that the first way to each kind of sink needs: `SLACK_BOT_TOKEN and SLACK_CHANNEL`. */
export const firstWays = (): (readonly string[])[] =>
  KINDS.flatMap(({ shortcut }) => (shortcut?.ways[0] ? [shortcut.ways[0].needs] : []));
