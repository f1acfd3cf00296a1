/**
 * The table of a run's attempts, in the thread of its message. It is a courtesy: the message itself says how each
 * attempt ended, so a table that Slack does not take now is left out.
 */
import { isJsonObject } from "../../platform/json.ts";
import type { Content } from "../content.ts";
import type { Job } from "../sink.ts";
import type { SlackCall } from "./api.ts";
import { attemptsOf } from "./blocks.ts";
import { objects } from "./channel.ts";

interface AttemptsThread {
  channel: string;
  ts: string;
}

/** The `ts` of the table in the thread, posted now or before; null when there is none. */
export async function shareAttempts(
  call: SlackCall,
  job: Job,
  content: Content,
  { thread, post }: { thread: AttemptsThread; post: Record<string, unknown> },
): Promise<string | null> {
  const { previous, maybeSent, report } = job;
  const known = previous?.["ts"] === thread.ts ? previous["attempts_ts"] : null;
  if (typeof known === "string") return known;
  const message = attemptsOf(content);
  if (message === null) return null;
  // An earlier attempt of the delivery may have posted it. Without a look it must not be posted again.
  const standing = maybeSent ? await findTable(call, thread, report.run_id) : null;
  if (standing !== null) return standing === "" ? null : standing;
  const metadata = { event_type: TABLE_EVENT, event_payload: { run_id: report.run_id.slice(0, 200) } };
  const answer = await call("chat.postMessage", {
    channel: thread.channel,
    thread_ts: thread.ts,
    ...post,
    ...message,
    metadata,
  });
  const ts = answer.ok ? answer.data["ts"] : null;
  return typeof ts === "string" ? ts : null;
}

const TABLE_EVENT = "skyvern_relay_attempts";

/** Null: the thread has none. Empty: the thread cannot be read. */
async function findTable(call: SlackCall, { channel, ts }: AttemptsThread, runId: string): Promise<string | null> {
  const answer = await call("conversations.replies", { channel, ts, limit: 200, include_all_metadata: true });
  if (!answer.ok) return "";
  for (const { ts, metadata } of objects(answer.data["messages"])) {
    if (!isJsonObject(metadata) || metadata["event_type"] !== TABLE_EVENT) continue;
    const payload = metadata["event_payload"];
    if (isJsonObject(payload) && payload["run_id"] === runId.slice(0, 200) && typeof ts === "string") return ts;
  }
  return null;
}
