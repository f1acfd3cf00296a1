/**
 * The parts of relay.yaml about pictures, recordings and files: what messages carry, how long links live, and what is
 * archived.
 */
import type { S3Settings } from "../net/s3.ts";
import { z } from "zod";
import { durationBetween } from "../platform/duration.ts";
import { DAY_MS, HOUR_MS } from "../platform/time.ts";
import { Secret } from "../platform/secret.ts";
import { baseAddress, sizeBetween } from "./values.ts";

export const AttachmentsSchema = z.strictObject({
  screenshots: z.boolean().default(true).meta({ description: "Whether messages show a screenshot." }),
  files: z.boolean().default(true).meta({ description: "Whether messages carry the run's downloads." }),
  max_bytes: sizeBetween("1kB", "50MB")
    .prefault("8MB")
    .meta({ description: "The largest picture or file in a message; larger ones are links." }),
  max_total: sizeBetween("1kB", "100MB").prefault("20MB").meta({
    description: "The most that one message carries. A mail stays below 10 MB.",
  }),
});

const secret = z
  .string()
  .trim()
  .min(1)
  .transform((text) => new Secret(text));

const S3 = z.strictObject({
  endpoint: baseAddress.meta({
    description: "Address of the storage, such as https://fly.storage.tigris.dev.",
  }),
  bucket: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "must be a bucket name: 3 to 63 lower-case letters, digits, dots or -")
    .meta({ description: "Name of the bucket." }),
  region: z.string().min(1).max(64).default("auto").meta({ description: "Region of the bucket." }),
  prefix: z
    .string()
    .regex(/^[A-Za-z0-9._/-]{0,200}$/, "must be letters, digits, dots, _, - and /")
    .default("skyvern-relay/")
    .meta({ description: "Beginning of every object's name." }),
  access_key_id: secret.meta({ description: "Id of the access key." }),
  secret_access_key: secret.meta({ description: 'The access key itself, best as "${A_VARIABLE}".' }),
});

export const ArtifactsSchema = z
  .strictObject({
    expiry: durationBetween(HOUR_MS, 3650 * DAY_MS)
      .prefault("90d")
      .meta({ description: "How long a link in a message opens its artifact." }),
    archive: z.enum(["off", "screenshots", "all"]).default("off").meta({
      description:
        "Which artifacts the relay copies, for when Skyvern has deleted them: `off`, `screenshots` or `all`.",
    }),
    dir: z.string().min(1).optional().meta({
      description: "Folder of the copies; with s3, of the one in progress. Default: `artifacts` beside the database.",
    }),
    s3: S3.optional().meta({ description: "S3-compatible storage for the copies, instead of the folder." }),
    max_file: sizeBetween("1kB", "5GB").prefault("1GB").meta({ description: "The largest artifact that is copied." }),
    max_total: sizeBetween("1MB", "100TB")
      .prefault("10GB")
      .meta({ description: "The most that all copies take; beyond it nothing more is copied." }),
  })
  .meta({ description: "Links to artifacts, and copies of them." });
export type ArtifactsFile = z.output<typeof ArtifactsSchema>;

export interface ArchiveSettings {
  what: "screenshots" | "all";
  /** The folder of the copies or, with `s3`, of the file in progress. */
  dir: string;
  s3: S3Settings | null;
  maxFile: number;
  maxTotal: number;
}

/** The archive's settings; null when it is off. `beside` is the folder of the database. */
export function resolveArchive(
  { archive, dir, s3, max_file, max_total }: ArtifactsFile,
  beside: string,
): ArchiveSettings | null {
  if (archive === "off") return null;
  return {
    what: archive,
    dir: dir ?? `${beside}/artifacts`,
    s3: s3
      ? {
          endpoint: s3.endpoint,
          bucket: s3.bucket,
          region: s3.region,
          prefix: s3.prefix,
          accessKeyId: s3.access_key_id,
          secretAccessKey: s3.secret_access_key,
        }
      : null,
    maxFile: max_file,
    maxTotal: max_total,
  };
}
