/** Checks whether Slack would accept messages, without posting one. */
import type { Secret } from "../../platform/secret.ts";
import { fault, ok, reasonOf, warning, type DiagnoseDeps, type Diagnosis } from "../diagnosis.ts";
import { outcomeOfError, quote } from "../http-outcome.ts";
import { callerFor, type ApiOptions, type SlackCall } from "./api.ts";
import { findChannelId, isChannelId } from "./channel.ts";
import { findMeaning, toOutcome, type SlackFailure } from "./error-codes.ts";

export interface BotToLookAt extends Omit<ApiOptions, "fetch"> {
  channel: string;
}

/** What each scope is for; the marked ones are required for posting. */
const SCOPES: readonly { any: readonly string[]; needed: boolean; without: string }[] = [
  { any: ["chat:write"], needed: true, without: "nothing can be posted" },
  {
    any: ["channels:history", "groups:history"],
    needed: false,
    without: "a message whose answer was lost is posted twice, as the relay cannot look for it",
  },
  { any: ["files:write"], needed: false, without: "messages have no screenshots and files, only links" },
];

/** Checks auth.test, the token's scopes, and the channel. */
export async function diagnoseBot(
  { channel, ...options }: BotToLookAt,
  deps: DiagnoseDeps,
  signal: AbortSignal,
): Promise<Diagnosis[]> {
  const call = callerFor({ ...options, fetch: deps.fetch }, signal);
  const auth = await call("auth.test", {});
  if (!auth.ok) return [refusal(auth.failure, "auth.test", { ...deps, apiUrl: options.apiUrl })];
  const { team, user, bot_id: bot, response_metadata: metadata } = auth.data;
  const name = typeof user === "string" ? quote(user, [], 80) : "the app";
  const place = typeof team === "string" ? ` in ${quote(team, [], 80)}` : "";
  const who = typeof bot === "string" ? ok(`the token is that of ${name}${place}`) : notABot(name);
  const scopes = (metadata as { scopes?: unknown } | undefined)?.scopes;
  const known = Array.isArray(scopes) ? scopes.filter((scope) => typeof scope === "string") : null;
  return [
    who,
    ...(known === null ? [] : listMissingScopes(known)),
    ...(await checkChannel(call, channel, name, known, { ...deps, apiUrl: options.apiUrl })),
  ];
}

const notABot = (name: string): Diagnosis =>
  warning(
    `the token is that of a person (${name}), not of an app's bot`,
    "use the Bot User OAuth Token (xoxb-…) of the app's page OAuth & Permissions",
  );

const listMissingScopes = (scopes: readonly string[]): Diagnosis[] =>
  SCOPES.filter(({ any }) => !any.some((scope) => scopes.includes(scope))).map(({ any, needed, without }) =>
    (needed ? fault : warning)(
      `the app lacks the scope ${any.join(" or ")}: ${without}`,
      `grant ${any.join(" (in private channels ")}${any.length > 1 ? ")" : ""} under OAuth & Permissions, Bot ` +
        "Token Scopes, and install the app again",
    ),
  );

interface LookDeps extends DiagnoseDeps {
  apiUrl: string;
}

async function checkChannel(
  call: SlackCall,
  channel: string,
  name: string,
  scopes: readonly string[] | null,
  deps: LookDeps,
): Promise<Diagnosis[]> {
  const unseen = warning(
    `whether ${name} is in the channel ${quote(channel, [], 80)} cannot be seen without the scope channels:read`,
    "grant channels:read (of a private channel groups:read) and install the app again, or use doctor --live",
  );
  const id = isChannelId(channel) ? channel : await findChannelId(call, channel);
  if (id === null) {
    if (scopes !== null && !scopes.includes("channels:read")) return [unseen];
    return [
      fault(
        `there is no channel ${quote(channel, [], 80)} that the app can see`,
        "give the channel's id (C…, at the end of its details), and invite the app if the channel is private",
      ),
    ];
  }
  const info = await call("conversations.info", { channel: id });
  if (!info.ok) {
    const isUnseen = info.failure.kind === "refused" && info.failure.code === "missing_scope";
    return [isUnseen ? unseen : refusal(info.failure, "conversations.info", deps)];
  }
  const { name: title, is_member, is_archived, is_private } = info.data["channel"] as Record<string, unknown>;
  const shown = `the channel ${quote(typeof title === "string" ? `#${title}` : channel, [], 80)}`;
  if (is_archived === true) return [fault(`${shown} is archived`, "unarchive the channel or configure another")];
  if (is_member === true) return [ok(`${name} is in ${shown}`)];
  if (is_private !== true && scopes?.includes("chat:write.public") === true) {
    return [ok(`${name} may post into ${shown} without being in it (chat:write.public)`)];
  }
  return [fault(`${name} is not in ${shown}`, `write /invite @${name} in that channel`)];
}

function refusal(failure: SlackFailure, method: string, deps: LookDeps): Diagnosis {
  const { apiUrl } = deps;
  const meaning = findMeaning(failure);
  const reason = reasonOf(toOutcome(failure, method, deps.now()));
  if (failure.kind === "refused") {
    return fault(reason, meaning?.kind === "dead" ? meaning.advice : "look the error up at https://docs.slack.dev");
  }
  if (toOutcome(failure, method, deps.now()).kind === "dead")
    return fault(reason, "allow its network if it is yours, else correct api_url (SLACK_API_URL)");
  return fault(reason, `let this machine reach ${apiUrl}, or correct api_url (SLACK_API_URL)`);
}

/** A webhook reveals nothing until something is posted. */
export async function diagnoseWebhook(url: Secret, deps: DiagnoseDeps, signal: AbortSignal): Promise<Diagnosis[]> {
  const { origin, hostname, pathname } = new URL(url.reveal());
  const found: Diagnosis[] = [];
  if (/(^|\.)slack\.com$/.test(hostname) && !/^\/(services|workflows|triggers)\/[^/]+\/[^/]+\/[^/]+/.test(pathname)) {
    found.push(
      fault(
        "the address is not that of an incoming webhook",
        "copy the whole address: https://hooks.slack.com/services/T…/B…/…",
      ),
    );
  }
  try {
    await deps.reach(url.reveal(), signal);
    found.push(ok(`${origin} accepts connections; only doctor --live shows whether the webhook posts`));
  } catch (error) {
    const reason = reasonOf(outcomeOfError(error, origin));
    found.push(fault(reason, "let this machine reach Slack, or correct SLACK_WEBHOOK_URL"));
  }
  return found;
}
