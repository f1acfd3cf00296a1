/** What a configuration says of the world outside of the process: the ways out, and where copies of artifacts are kept. */
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { createCopies, createArchive } from "../archive/archive.ts";
import { folderBlobStore } from "../archive/folder-blobs.ts";
import { s3BlobStore } from "../archive/s3-blobs.ts";
import type { Config } from "../config/config.ts";
import { createEgress } from "../net/egress.ts";
import type { Fetch } from "../platform/runtime.ts";
import { isInMemory } from "../store/address.ts";
import type { AppHost } from "./app.ts";

export interface Outside extends Pick<
  AppHost,
  "fetch" | "request" | "permit" | "operatorRequest" | "archiving" | "diskSpace"
> {
  /** Ends its connections. */
  close(): Promise<void>;
}

/**
 * What the operator alone chose to be told of the relay may stand anywhere; the other way out, on which payloads and redirects may
 * say where it goes, does not reach it for that.
 */
export function createOutboundClients(config: Config, now: () => number): Outside {
  const { allowPrivateNetworks: allow, trustedOrigins, heartbeat, tracing } = config;
  const egress = createEgress({ allow, trusted: trustedOrigins });
  const operator = createEgress({
    allow,
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

/** Null when no copies are kept. */
function createArchiving({ archive }: Config, fetch: Fetch, now: () => number): AppHost["archiving"] {
  if (archive === null) return null;
  const { s3, dir } = archive;
  return {
    blobs: s3 ? s3BlobStore({ settings: s3, fetch, now }) : folderBlobStore(dir),
    copiesOf: createCopies,
    createArchive,
  };
}
