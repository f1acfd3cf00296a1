/**
 * Sends a signed sample through the real relay in this process: verify → store → route → each sink. Dry, its database
 * is in memory and stand-ins on loopback replace the sinks' counterparts, so messages are built and judged but reach
 * nobody. Live, each sink sends one test message to its real destination.
 */
import { createHmac, randomBytes } from "node:crypto";
import { errorText } from "../../platform/error-text.ts";
import type { App } from "../../app/app.ts";
import { createRelay } from "../../app/relay.ts";
import type { Config, SinkSettings } from "../../config/config.ts";
import { makeSample } from "../../demo/samples.ts";
import { firstWays } from "../../sinks/kinds.ts";
import { SINK_STAND_INS } from "../../stand-ins/sinks.ts";
import { startSkyvern } from "../../stand-ins/skyvern.ts";
import { silentLog } from "../../platform/log.ts";
import type { Runtime } from "../../platform/runtime.ts";
import { Secret } from "../../platform/secret.ts";
import { about, fault, ok, warning, type Finding } from "./finding.ts";

export interface SampleCheckDeps {
  config: Config;
  runtime: Runtime;
}

/** The sample runs with the real configuration, but for its disk, network and tokens. */
const TOKEN = randomBytes(24).toString("hex");
const isolateConfig = (config: Config): Config => ({
  ...config,
  database: { kind: "sqlite", path: ":memory:" },
  archive: null,
  reconcile: null,
  confirm: false,
  tokens: [new Secret(TOKEN)],
});

export async function trySample({ config, runtime }: SampleCheckDeps): Promise<Finding[]> {
  const stage = await setStage(config);
  try {
    const relay = await createRelay({ ...isolateConfig(config), ...stage.config }, runtime, silentLog);
    try {
      return await through(relay.app, config, runtime, stage.skipped);
    } finally {
      await relay.stop();
    }
  } catch (error) {
    return about(
      "sample",
      fault(`the sample did not get through: ${errorText(error)}`, "report it: this is a bug in the relay"),
    );
  } finally {
    await stage.close();
  }
}

const SHOWN_AS = "x-skyvern-signature";

async function through(app: App, config: Config, runtime: Runtime, skipped: readonly string[]): Promise<Finding[]> {
  const [key] = config.keys;
  const payload = makeSample(runtime, "workflow_run", "completed");
  const body = JSON.stringify(payload);
  const signature = createHmac("sha256", key?.key.reveal() ?? "")
    .update(body)
    .digest("hex");
  const headers = { "content-type": "application/json", [SHOWN_AS]: signature };
  const answer = await app.fetch(new Request("http://relay/webhook", { method: "POST", body, headers }));
  const said = await answer.text();
  if (answer.status !== 200) {
    return about(
      "sample",
      fault(`the sample was answered ${answer.status}: ${said.slice(0, 200)}`, "report it: this is a bug in the relay"),
    );
  }
  const runId = String(payload["run_id"]);
  // Where a route tests where a run comes from, sinks are chosen by this.
  await app.followUp();
  const routed = (await app.store.deliveries({ runId }, { limit: 1_000 })).map(({ sink }) => sink);
  const rest = config.sinks.map(({ name }) => name).filter((name) => !routed.includes(name));
  if (rest.length > 0) await post(app, `/v1/runs/${runId}/redeliver`, { sinks: rest });
  await app.deliverDue();
  const deliveries = await app.store.deliveries({ runId }, { limit: 1_000 });
  const findings: Finding[] = [
    {
      check: "sample",
      ...ok(`signed with ${key?.name}, verified, stored, and routed to ${routed.join(", ") || "no sink"}`),
    },
  ];
  for (const { name, kind } of config.sinks) {
    const made = deliveries.filter(({ sink }) => sink === name);
    const last = made.find(({ state }) => state === "delivered") ?? made.at(-1);
    const check = `sample to ${name}`;
    if (skipped.includes(name)) findings.push({ check, ...ok(`there is no stand-in for ${kind}: try it with --live`) });
    else if (last?.state === "delivered")
      findings.push({
        check,
        ...ok(
          `a message for ${name}${routed.includes(name) ? "" : ", which no route chose for it,"} was built, and a stand-in on this machine accepted it; ${name} itself got nothing`,
        ),
      });
    else
      findings.push({
        check,
        ...fault(
          `its message does not pass: ${last?.last_error ?? "nothing was made"}`,
          "correct what the reason names in the sink's settings",
        ),
      });
  }
  return findings;
}

/** Sends one marked message through each sink to its real destination. */
export async function tryLive({ config, runtime }: SampleCheckDeps): Promise<Finding[]> {
  const relay = await createRelay(isolateConfig(config), runtime, silentLog);
  try {
    const findings: Finding[] = [];
    for (const { name } of config.sinks) {
      const response = await post(relay.app, `/v1/sinks/${name}/test`);
      const { outcome, reason, ms } = (await response.json()) as { outcome: string; reason: string | null; ms: number };
      const check = `live ${name}`;
      if (outcome === "delivered")
        findings.push({ check, ...ok(`the test message arrived after ${ms} ms: look at it there`) });
      else
        findings.push({
          check,
          ...fault(reason ?? outcome, "correct what the reason names; the check of this sink above may say more"),
        });
    }
    return findings;
  } finally {
    await relay.stop();
  }
}

const post = async (app: App, path: string, body?: unknown): Promise<Response> =>
  app.fetch(
    new Request(`http://relay${path}`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${TOKEN}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      body: body === undefined ? null : JSON.stringify(body),
    }),
  );

export const noSinks = (config: Pick<Config, "sinks">): Finding[] =>
  config.sinks.length > 0
    ? []
    : about(
        "sinks",
        warning(
          "no sink is configured: results are stored, and nothing is delivered",
          `set ${firstWays()
            .map((names) => names.join(" and "))
            .join(", or ")}, or sinks in relay.yaml`,
        ),
      );

/** Stand-ins for Skyvern and for every configured sink kind, with a configuration that leads to them. */
async function setStage(config: Config) {
  const skyvern = await startSkyvern({ keys: config.keys.map(({ key }) => key.reveal()) });
  const open: { close(): Promise<void> }[] = [skyvern];
  const skipped: string[] = [];
  const sinks: SinkSettings[] = [];
  for (const sink of config.sinks) {
    const standIn = await SINK_STAND_INS[sink.kind]?.(sink.config);
    if (!standIn) {
      skipped.push(sink.name);
      continue;
    }
    open.push(standIn);
    sinks.push({ ...sink, config: { ...sink.config, ...standIn.config } });
  }
  const kept = new Set(sinks.map(({ name }) => name));
  return {
    config: {
      baseUrl: skyvern.url,
      sinks,
      routes: config.routes.map((route) => ({ ...route, to: route.to.filter((name) => kept.has(name)) })),
      allowPrivateNetworks: [...config.allowPrivateNetworks, "127.0.0.1/32"],
      trustedOrigins: [new URL(skyvern.url).origin],
    } satisfies Partial<Config>,
    skipped,
    close: async () => void (await Promise.all(open.map((standIn) => standIn.close()))),
  };
}
