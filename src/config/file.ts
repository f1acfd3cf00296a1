/** relay.yaml: its schema, and the checks across its parts. */
import { z } from "zod";
import { durationBetween, durationOrFalse, formatDuration, parseDuration } from "../platform/duration.ts";
import { RoutesSchema } from "./routes.ts";
import { DAY_MS, MINUTE_MS } from "../platform/time.ts";
import { Secret } from "../platform/secret.ts";
import { ArtifactsSchema, AttachmentsSchema } from "./artifacts.ts";
import type { ConfigFinding } from "./faults.ts";
import { parseOrganization } from "./keys.ts";
import { SinkSchema } from "./sinks.ts";
import { size, skyvernAddress, wholeNumber } from "./values.ts";

const keyFields = z.strictObject({
  name: z.string().min(1).max(64).meta({ description: "Name of this key in the log and in the history." }),
  key: z
    .string()
    .trim()
    .min(1)
    .transform((text) => new Secret(text))
    .meta({ description: 'The API key, best as "${A_VARIABLE}".' }),
  organization: z
    .string()
    .trim()
    .min(1)
    .max(100)
    .optional()
    .meta({
      description:
        "Organization (`o_…`) of the key, if the key does not name it. All keys without one count as one " +
        "organization.",
    }),
});
// A transform runs only on valid fields; a refinement would also run beside a faulted one.
const key = keyFields.transform((given, context) => {
  const { key, organization } = given;
  const own = parseOrganization(key.reveal());
  if (organization === undefined || own === null || own === organization) return given;
  const message = `must be ${own}, as the key itself says, or be left out`;
  context.issues.push({ code: "custom", path: ["organization"], message, input: organization });
  return z.NEVER;
});

const skyvern = z.strictObject({
  keys: z.array(key).min(1).optional().meta({
    description:
      "API keys, before those of SKYVERN_API_KEY. Each verifies webhooks and reads its own organization's runs.",
  }),
  base_url: skyvernAddress
    .optional()
    .meta({ description: "Address of Skyvern's API, without /v1. Default: SKYVERN_BASE_URL." }),
  reconcile: z
    .union([
      z.strictObject({
        every: durationBetween(10_000, DAY_MS)
          .optional()
          .meta({
            description:
              "Time from one look to the next. Default: `5m`; `10s` if no webhook can arrive (neither PUBLIC_URL nor " +
              "FLY_APP_NAME is set).",
          }),
        lookback: durationBetween(MINUTE_MS, 30 * DAY_MS)
          .prefault("24h")
          .meta({
            description: "How far back a look goes, by a run's creation. Runs take up to 8 hours.",
          }),
        scope: z
          .enum(["mine", "all"])
          .optional()
          .meta({
            description:
              "`mine`: runs whose webhook_url has the host of PUBLIC_URL. `all`: every run, but delivers none that " +
              "ended before the first start. Default: `mine`; `all` if no webhook can arrive.",
          }),
        history: durationOrFalse(DAY_MS, 90 * DAY_MS)
          .optional()
          .meta({
            description:
              "With scope `all`: how far back the first start fills the history, by at most 1,500 runs. Default: `7d`.",
          }),
        requests_per_hour: wholeNumber(600, 1_000_000).optional().meta({
          description:
            "The most requests to Skyvern's API in any hour. Default: `3600` if no webhook can arrive, else no limit.",
        }),
      }),
      z.literal(false),
    ])
    .prefault({})
    .meta({
      description: "How the relay looks in Skyvern's list for runs without a webhook. `false`: never.",
    }),
  confirm: z
    .boolean()
    .default(false)
    .meta({
      description:
        "Whether the relay asks Skyvern about webhooks that none of its keys signed (runs from Skyvern's web " +
        "page).",
    }),
});

/** The retries after the first try, about 28 hours together. */
const SCHEDULE = ["5s", "30s", "2m", "10m", "30m", "1h", "2h", "4h", "8h", "12h"];

const delivery = z.strictObject({
  schedule: z
    .array(durationBetween(0, 7 * DAY_MS))
    .max(50)
    .prefault(SCHEDULE)
    .meta({ description: "Waits before the second, third, … attempt; then the delivery is dead." }),
  timeout: durationBetween(100, 600_000)
    .prefault("15s")
    .meta({ description: "The longest that an attempt may take, after `artifacts_wait`." }),
  artifacts_wait: durationBetween(0, 600_000).prefault("20s").meta({
    description: "The longest that a message waits for Skyvern's answers: artifacts, blocks, a task's goal and URL.",
  }),
});

const heartbeat = z.strictObject({
  url: z
    .string()
    .refine((text) => /^https?:$/.test(URL.parse(text)?.protocol ?? ""), "expected an http:// or https:// URL")
    .refine((text) => (URL.parse(text)?.username ?? "") === "", "must not hold a user name")
    .transform((text) => new Secret(text))
    .meta({
      description: "The relay GETs it while it works; else it POSTs the reason to …/fail.",
    }),
  every: durationBetween(10_000, DAY_MS).prefault("1m").meta({ description: "Time from one heartbeat to the next." }),
});

const sinkNames = z
  .union([z.string(), z.array(z.string()).max(20)])
  .transform((names) => (Array.isArray(names) ? names : [names]));

const alerts = z.strictObject({
  on_dead: sinkNames.prefault([]).meta({ description: "Sinks for alerts about dead deliveries." }),
  on_coverage_gap: sinkNames
    .prefault([])
    .meta({ description: "Sinks for alerts about final runs that did not reach every sink." }),
  on_disk_low: sinkNames
    .prefault([])
    .meta({ description: "Sinks for the alert that the database's disk is almost full." }),
  on_sink_down: sinkNames.prefault([]).meta({
    description: "Sinks for alerts about a failing sink, and its recovery.",
  }),
  down_after: durationBetween(MINUTE_MS, 7 * DAY_MS)
    .prefault("15m")
    .meta({ description: "How long a sink must fail before it counts as down." }),
  every: durationBetween(MINUTE_MS, 7 * DAY_MS)
    .prefault("15m")
    .meta({
      description: "At most one alert about dead deliveries, and one about gaps, in this time.",
    }),
});

const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** The whole file. Every part is optional. */
export const FileSchema = z.strictObject({
  skyvern: skyvern.prefault({}).meta({ description: "Keys, and how the relay finds runs." }),
  sinks: z
    .record(z.string().regex(NAME, "must be a sink name: 1 to 64 letters, digits, _ or -"), SinkSchema)
    .default({})
    .meta({ description: "Where results go, by name." }),
  routes: RoutesSchema.prefault([]).meta({
    description: "Every route that matches adds its sinks. Without routes every final run goes to every sink.",
  }),
  delivery: delivery.prefault({}).meta({ description: "Attempts of deliveries." }),
  attachments: AttachmentsSchema.prefault({}).meta({ description: "Pictures and files in messages." }),
  artifacts: ArtifactsSchema.prefault({}),
  heartbeat: heartbeat.optional().meta({ description: "Heartbeats to a service that alerts when they stop." }),
  alerts: alerts.prefault({}).meta({ description: "Alerts about the relay itself, through its own sinks." }),
  receive: z
    .strictObject({
      labels: z
        .array(
          z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,39}$/, "expected a name of letters, digits, _ or -, at most 40"),
        )
        .max(20)
        .default([])
        .meta({
          description:
            "Names in the webhook's query whose values label the run: `customer` for `/webhook?customer=42`.",
        }),
      body_limit: size.prefault("10MB").meta({ description: "The relay answers 413 to larger webhooks." }),
    })
    .prefault({})
    .meta({ description: "How webhooks are accepted." }),
  redact: z
    .strictObject({
      keys: z
        .array(z.string().min(1))
        .default([])
        .meta({ description: "Names of secrets to mask besides the built-in ones." }),
    })
    .prefault({})
    .meta({ description: "What is masked before the disk." }),
  retention: z
    .strictObject({
      runs: durationOrFalse(DAY_MS, 3650 * DAY_MS)
        .prefault("365d")
        .meta({
          description: "How long runs are kept after their last receipt or delivery; false: for ever.",
        }),
      raw: durationOrFalse(0, 3650 * DAY_MS)
        .prefault("90d")
        .meta({
          description: "How long the bytes received are kept; false: as long as their runs.",
        }),
      hold: z
        .array(z.string().min(1).max(200))
        .max(10_000)
        .default([])
        .meta({ description: "Ids of runs that are never removed." }),
    })
    .prefault({})
    .meta({ description: "How long the relay keeps what it stored." }),
});
export type FileSettings = z.output<typeof FileSchema>;

/**
 * Checks what the schema cannot express: unique names, and routes to existing sinks. It works on the raw value, so it
 * finds these also beside other faults.
 */
export function disagreements(raw: unknown, environmentSinks: readonly string[]): ConfigFinding[] {
  const sinks = Object.keys(asRecord(at(raw, "sinks")));
  const known = new Set([...environmentSinks, ...sinks]);
  const routes = asList(at(raw, "routes"));
  const findings: ConfigFinding[] = sinks
    .filter((name) => environmentSinks.includes(name))
    .map((name) => ({
      path: ["sinks", name],
      message: "has the same name as the sink that environment variables configure",
      aboutKey: true,
    }));
  const naming: [ConfigFinding["path"], unknown][] = [
    ...routes.map((route, index): [ConfigFinding["path"], unknown] => [["routes", index, "to"], at(route, "to")]),
    ...["on_dead", "on_coverage_gap", "on_disk_low", "on_sink_down"].map((key): [ConfigFinding["path"], unknown] => [
      ["alerts", key],
      at(at(raw, "alerts"), key),
    ]),
  ];
  for (const [path, named] of naming) {
    for (const [place, name] of (Array.isArray(named) ? named : [named]).entries()) {
      if (typeof name !== "string" || known.has(name)) continue;
      const exact = Array.isArray(named) ? [...path, place] : path;
      findings.push({ path: exact, message: namesNone(known), aboutKey: false });
    }
  }
  const sees = at(at(raw, "skyvern"), "reconcile") !== false;
  if (!sees && asList([at(at(raw, "alerts"), "on_coverage_gap")].flat()).some((name) => name !== undefined)) {
    const message = "needs skyvern.reconcile: without it Skyvern's list is not read, and no gap is found";
    findings.push({ path: ["alerts", "on_coverage_gap"], message, aboutKey: true });
  }
  return [
    ...findings,
    ...tooShort(raw),
    ...repeated(asList(at(at(raw, "skyvern"), "keys")), ["skyvern", "keys"]),
    ...repeated(routes, ["routes"]),
  ];
}

const namesNone = (known: ReadonlySet<string>): string =>
  `names no sink; ${known.size === 0 ? "no sink is configured" : `expected one of ${[...known].join(", ")}`}`;

/** A run that is removed while Skyvern's list still shows it would be found again and delivered again. */
function tooShort(raw: unknown): ConfigFinding[] {
  const reconcile = at(at(raw, "skyvern"), "reconcile");
  const [runs, lookback] = [at(at(raw, "retention"), "runs"), at(reconcile, "lookback") ?? "24h"].map((value) =>
    typeof value === "string" ? parseDuration(value) : null,
  );
  // Less than a day is another fault already.
  if (reconcile === false || runs == null || runs < DAY_MS || lookback == null || runs >= lookback) return [];
  const message = `must not be shorter than skyvern.reconcile.lookback (${formatDuration(lookback)})`;
  return [{ path: ["retention", "runs"], message, aboutKey: false }];
}

function repeated(items: unknown[], base: ConfigFinding["path"]): ConfigFinding[] {
  const names = items.map((item) => at(item, "name"));
  return names.flatMap((name, index) =>
    typeof name === "string" && names.indexOf(name) < index
      ? [{ path: [...base, index, "name"], message: "is a duplicate", aboutKey: false }]
      : [],
  );
}

const at = (value: unknown, key: string): unknown => asRecord(value)[key];
const asRecord = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
const asList = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
