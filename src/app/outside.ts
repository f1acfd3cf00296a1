/** Creates what a configuration needs outside the process: outgoing HTTP clients, and the archive's storage. */
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { createCopies, createArchive } from "../archive/archive.ts";
import { folderBlobStore } from "../archive/folder-blobs.ts";
import { s3BlobStore } from "../archive/s3-blobs.ts";
import type { Config } from "../config/config.ts";
import { createEgress, type Egress, type EgressOptions } from "../net/egress.ts";
import type { Fetch } from "../platform/runtime.ts";
import { isInMemory } from "../store/address.ts";
import type { AppHost } from "./host.ts";

export interface Outside extends Pick<
  AppHost,
  "fetch" | "request" | "permit" | "operatorRequest" | "archiving" | "diskSpace"
> {
  /** Closes the connections. */
  close(): Promise<void>;
}

/** The guarded way out that a configuration describes, but for what `options` says otherwise. */
export const openEgress = (
  { allowPrivateNetworks: allow, trustedOrigins: trusted, proxy }: Config,
  options: Partial<EgressOptions> = {},
): Egress => createEgress({ allow, trusted, proxy: proxy && { ...proxy, url: proxy.url.reveal() }, ...options });

/**
 * Addresses that only the operator chose (heartbeat, collector) may be private; the other client, whose targets
 * payloads and redirects may name, never reaches them.
 */
export function createOutboundClients(config: Config, now: () => number): Outside {
  const { heartbeat, tracing } = config;
  const egress = openEgress(config);
  const operator = openEgress(config, {
    trusted: [...(heartbeat ? [heartbeat.url.reveal()] : []), ...(tracing ? [tracing.url] : [])],
  });
  return {
    fetch: egress.fetch,
    request: egress.request,
    permit: egress.permit,
    operatorRequest: operator.request,
    archiving: createArchiving(config, egress.fetch, now),
    diskSpace: createDiskSpace(config),
    close: async () => {
      await Promise.all([egress.close(), operator.close()]);
    },
  };
}

function createDiskSpace({ database }: Config): AppHost["diskSpace"] {
  if (database.kind !== "sqlite" || isInMemory(database)) return null;
  return async () => {
    const { bavail, blocks, bsize } = await statfs(dirname(database.path));
    return { free: bavail * bsize, total: blocks * bsize };
  };
}

/** Null when nothing is archived. */
function createArchiving({ archive }: Config, fetch: Fetch, now: () => number): AppHost["archiving"] {
  if (archive === null) return null;
  const { s3, dir } = archive;
  return {
    blobs: s3 ? s3BlobStore({ settings: s3, fetch, now }) : folderBlobStore(dir),
    copiesOf: createCopies,
    createArchive,
  };
}
