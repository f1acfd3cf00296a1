/** The sinks part of the configuration, built from the schemas of the kinds. */
import { z } from "zod";
import { KINDS } from "../sinks/kinds.ts";
import type { SinkKind } from "../sinks/sink.ts";
import { wholeNumber } from "./values.ts";

/** A configured sink; `config` is the result of its kind's schema. */
export interface SinkSettings {
  name: string;
  kind: string;
  /** Parallel attempts. */
  concurrency: number;
  config: Record<string, unknown>;
}

const [firstKind, ...otherKinds] = KINDS;

/** Any sink of relay.yaml; `kind` chooses the schema of its keys. */
export const SinkSchema = z.discriminatedUnion("kind", [sinkSchema(firstKind), ...otherKinds.map(sinkSchema)]);

function sinkSchema(sinkKind: SinkKind) {
  const { concurrency = 4 } = sinkKind;
  const shape = {
    kind: z.literal(sinkKind.kind),
    concurrency: wholeNumber(1, concurrency === 1 ? 1 : 64)
      .default(concurrency)
      .meta({
        description:
          concurrency === 1
            ? "Always 1: people read the messages as a sequence."
            : `Parallel attempts, 1 to 64. Default: ${concurrency}.`,
      }),
    ...sinkKind.config.shape,
  };
  return z.strictObject(shape).transform(({ kind, concurrency, ...config }, context) => {
    for (const { path, message } of sinkKind.faults?.(config) ?? []) {
      context.issues.push({ code: "custom", path, message, input: config });
    }
    return { kind, concurrency, config };
  });
}
