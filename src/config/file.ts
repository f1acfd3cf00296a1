/** relay.yaml: its schema, and the checks across its parts. */
import { z } from "zod";
import { durationBetween, durationSchema, formatDuration, parseDuration } from "../platform/duration.ts";
import { RoutesSchema } from "./routes.ts";
import { DAY_MS, MINUTE_MS } from "../platform/time.ts";
import { Secret } from "../platform/secret.ts";
import { ArtifactsSchema, AttachmentsSchema } from "./artifacts.ts";
import type { ConfigFinding } from "./faults.ts";
import { parseOrganization } from "./keys.ts";
import { SinkSchema } from "./sinks.ts";
import { size, skyvernAddress, wholeNumber } from "./values.ts";

const keyFields = z.strictObject({
  name: z.string().min(1).max(64).meta({ description: "How the relay calls this key; no two alike." }),
  key: z
    .string()
    .trim()
    .min(1)
    .transform((text) => new Secret(text))
    .meta({ description: 'The API key, best as "${A_VARIABLE}".' }),
  organization: z.string().trim().min(1).max(100).optional().meta({
    description:
      "Whose key it is (`o_…`), where the key itself does not say so. Keys of nobody knows whom count as one organization.",
  }),
});
const key = keyFields.superRefine(({ key, organization }, context) => {
  const own = parseOrganization(key.reveal());
  if (organization === undefined || own === null || own === organization) return;
  const message = `must be ${own}, as the key itself says, or be left out`;
  context.addIssue({ code: "custom", path: ["organization"], message });
});

const skyvern = z.strictObject({
  keys: z.array(key).min(1).optional().meta({
    description:
      "Keys that verify webhooks; Skyvern is asked with the one of the run's organization. Those of SKYVERN_API_KEY come after.",
  }),
  base_url: skyvernAddress
    .optional()
    .meta({ description: "Address of Skyvern's API, without /v1. Default: SKYVERN_BASE_URL." }),
  reconcile: z
    .union([
      z.strictObject({
        every: durationBetween(10_000, DAY_MS).optional().meta({
          description:
            "From the end of one look at Skyvern's list to the next. Default: `5m`; `10s` where no webhook can arrive (neither PUBLIC_URL nor FLY_APP_NAME is set).",
        }),
        lookback: durationBetween(MINUTE_MS, 30 * DAY_MS)
          .prefault("24h")
          .meta({ description: "How far back. Runs take up to 8 hours, and count from when they were created." }),
        scope: z.enum(["mine", "all"]).optional().meta({
          description:
            "`mine`: runs whose webhook_url is this relay's (by PUBLIC_URL). `all`: every run; those that ended before the first start are told to nobody. Default: `mine`; `all` where no webhook can arrive.",
        }),
        history: z
          .union([durationBetween(DAY_MS, 90 * DAY_MS), z.literal(false)])
          .optional()
          .meta({
            description:
              "With scope `all`: how far back the first start fills the history, at most the newest 1,500 runs. Default: `7d`.",
          }),
        requests_per_hour: wholeNumber(600, 1_000_000).optional().meta({
          description:
            "The most requests to Skyvern's API in any hour. Default: `3600` where no webhook can arrive, else no limit.",
        }),
      }),
      z.literal(false),
    ])
    .prefault({})
    .meta({ description: "How often to ask Skyvern for runs whose webhook never came, and how far back." }),
  confirm: z.boolean().default(false).meta({
    description:
      "Ask Skyvern about runs whose webhook no key signed (runs started in its web page), and take its answer.",
  }),
});

/** The retries after the first try, about 28 hours together. */
const SCHEDULE = ["5s", "30s", "2m", "10m", "30m", "1h", "2h", "4h", "8h", "12h"];

const delivery = z.strictObject({
  schedule: z
    .array(durationBetween(0, 7 * DAY_MS))
    .max(50)
    .prefault(SCHEDULE)
    .meta({ description: "Waits before the second, third, … try. After the last the delivery is dead." }),
  timeout: durationBetween(100, 600_000)
    .prefault("15s")
    .meta({ description: "The longest an attempt may take, once its artifacts are there." }),
  artifacts_wait: durationBetween(0, 600_000)
    .prefault("20s")
    .meta({ description: "The longest a message waits for the run's artifacts; then it goes out without them." }),
});

const heartbeat = z.strictObject({
  url: z
    .string()
    .refine((text) => /^https?:$/.test(URL.parse(text)?.protocol ?? ""), "expected an http:// or https:// URL")
    .refine((text) => (URL.parse(text)?.username ?? "") === "", "must not hold a user name")
    .transform((text) => new Secret(text))
    .meta({
      description:
        "GET while deliveries are made and the database can be written; else POST, with /fail behind it and why in the body.",
    }),
  every: durationBetween(10_000, DAY_MS).prefault("1m").meta({ description: "From one sign of life to the next." }),
});

const sinkNames = z
  .union([z.string(), z.array(z.string()).max(20)])
  .transform((names) => (Array.isArray(names) ? names : [names]));

const alerts = z.strictObject({
  on_dead: sinkNames
    .prefault([])
    .meta({ description: "The sink (or a list) that is told of deliveries that were given up." }),
  on_coverage_gap: sinkNames
    .prefault([])
    .meta({ description: "The sink (or a list) that is told of runs that did not reach everyone they were for." }),
  on_disk_low: sinkNames
    .prefault([])
    .meta({ description: "The sink (or a list) that is told when the database's disk has little room left." }),
  on_sink_down: sinkNames.prefault([]).meta({
    description: "The sink (or a list) that is told of another sink that fails for long, and when it is well again.",
  }),
  down_after: durationBetween(MINUTE_MS, 7 * DAY_MS)
    .prefault("15m")
    .meta({ description: "A sink that fails for so long is down." }),
  every: durationBetween(MINUTE_MS, 7 * DAY_MS)
    .prefault("15m")
    .meta({
      description: "Of dead deliveries and of gaps there is at most one message in this time, with their number.",
    }),
});

const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** The whole file. Every part is optional. */
export const FileSchema = z.strictObject({
  skyvern: skyvern.prefault({}),
  sinks: z
    .record(z.string().regex(NAME, "is no name for a sink: 1 to 64 letters, digits, _ or -"), SinkSchema)
    .default({})
    .meta({ description: "Where results go, by name." }),
  routes: RoutesSchema.prefault([]).meta({
    description: "Every route that matches adds its sinks. Without routes, every run goes to every sink.",
  }),
  delivery: delivery.prefault({}),
  attachments: AttachmentsSchema.prefault({}).meta({ description: "What messages carry besides words." }),
  artifacts: ArtifactsSchema.prefault({}),
  heartbeat: heartbeat.optional().meta({ description: "Signs of life to a service that misses them." }),
  alerts: alerts.prefault({}).meta({ description: "What the relay says of itself, and to which sink." }),
  receive: z
    .strictObject({
      body_limit: size.prefault("10MB").meta({ description: "Webhooks larger than this are answered with 413." }),
    })
    .prefault({}),
  redact: z
    .strictObject({
      keys: z
        .array(z.string().min(1))
        .default([])
        .meta({ description: "Names of parameters to mask, besides the built-in ones." }),
    })
    .prefault({}),
  retention: z
    .strictObject({
      runs: z
        .union([durationBetween(DAY_MS, 3650 * DAY_MS), z.literal(false)])
        .prefault("365d")
        .meta({
          description:
            "How long runs are kept, with their receipts, deliveries and archived copies, after the last receipt or delivery; false: for ever.",
        }),
      raw: z
        .union([durationSchema, z.literal(false)])
        .prefault("90d")
        .meta({
          description:
            "How long the bytes received are kept; false: as long as their runs. Unrecognized webhooks stay as long as runs do.",
        }),
      hold: z
        .array(z.string().min(1).max(200))
        .max(10_000)
        .default([])
        .meta({ description: "Ids of runs that are kept whatever their age." }),
    })
    .prefault({})
    .meta({ description: "What is removed when it is old." }),
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
      message: "has the same name as the sink made by environment variables",
      aboutKey: true,
    }));
  for (const [index, route] of routes.entries()) {
    const to = at(route, "to");
    for (const [place, name] of (Array.isArray(to) ? to : [to]).entries()) {
      if (typeof name !== "string" || known.has(name)) continue;
      const path = ["routes", index, "to", ...(Array.isArray(to) ? [place] : [])];
      findings.push({ path, message: namesNone(known), aboutKey: false });
    }
  }
  for (const key of ["on_dead", "on_coverage_gap", "on_disk_low", "on_sink_down"]) {
    const named = at(at(raw, "alerts"), key);
    for (const [place, name] of (Array.isArray(named) ? named : [named]).entries()) {
      if (typeof name !== "string" || known.has(name)) continue;
      const path = ["alerts", key, ...(Array.isArray(named) ? [place] : [])];
      findings.push({ path, message: namesNone(known), aboutKey: false });
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
  `names no sink; there ${known.size === 0 ? "are none" : `are ${[...known].join(", ")}`}`;

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
      ? [{ path: [...base, index, "name"], message: "is there twice", aboutKey: false }]
      : [],
  );
}

const at = (value: unknown, key: string): unknown => asRecord(value)[key];
const asRecord = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
const asList = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
