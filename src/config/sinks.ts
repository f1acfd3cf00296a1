/** The sinks part of the configuration, built from what each kind says of itself. */
import { z } from "zod";
import * as kinds from "../sinks/kinds.ts";
import type { SinkKind } from "../sinks/sink.ts";
import { wholeNumber } from "./values.ts";

/** A sink as configured; `config` is what its kind's schema made of its keys. */
export interface SinkSettings {
  name: string;
  kind: string;
  /** Attempts at the same time. */
  concurrency: number;
  config: Record<string, unknown>;
}

/** What a kind may say of itself besides {@link SinkKind}. */
interface Configurable extends SinkKind {
  /** Attempts at the same time unless the file says otherwise. Default 4. */
  readonly concurrency?: number;
}

/** Slack takes about one message per second and channel: https://docs.slack.dev/apis/web-api/rate-limits/ */
/** Of HTTP, attempts that end together are written together, so more of them at one time cost less each. */
const DEFAULT_CONCURRENCY: Record<string, number> = { slack: 1, http: 16 };

const KINDS = Object.values(kinds) as unknown as [Configurable, ...Configurable[]];
const [firstKind, ...otherKinds] = KINDS;

/** Any sink of relay.yaml: `kind` chooses whose keys it has. */
export const SinkSchema = z.discriminatedUnion("kind", [sinkOf(firstKind), ...otherKinds.map(sinkOf)]);

function sinkOf(sinkKind: Configurable) {
  const concurrency = sinkKind.concurrency ?? DEFAULT_CONCURRENCY[sinkKind.kind] ?? 4;
  const shape = {
    kind: z.literal(sinkKind.kind),
    concurrency: wholeNumber(1, 64)
      .default(concurrency)
      .meta({ description: `Attempts at the same time, 1 to 64. Default: ${concurrency}.` }),
    ...sinkKind.config.shape,
  };
  return z.strictObject(shape).transform(({ kind, concurrency, ...config }, context) => {
    for (const { path, message } of sinkKind.faults?.(config) ?? []) {
      context.issues.push({ code: "custom", path, message, input: config });
    }
    return { kind, concurrency, config };
  });
}
