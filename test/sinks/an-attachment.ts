import { TINY_PNG } from "../../src/stand-ins/skyvern.ts";
import type { PictureOrigin } from "../../src/domain/report.ts";
import type { Evidence, EvidenceBytes } from "../../src/sinks/attachments.ts";

export const bytesOf = (size: number): Uint8Array => new Uint8Array(size).fill(7);

export interface EvidenceDeps {
  screenshots?: string[];
  /** Sizes by name, which is the key too; null: it cannot be had. */
  files?: Record<string, number | null>;
  limits?: { each: number; total: number };
  /** What is found for a key, when it is something else. */
  found?: Record<string, EvidenceBytes>;
  /** Where pictures come from, by key. */
  origins?: Record<string, PictureOrigin>;
  /** What may be taken for pictures before the message has to go; any time unless told. */
  withinMs?: number;
}

/** What there is to show: pictures are one tiny PNG. `asked`: the keys that were read. */
export function anEvidence(deps: EvidenceDeps = {}): Evidence & { asked: string[] } {
  const {
    screenshots = [],
    files = {},
    limits = { each: 1_000_000, total: 2_000_000 },
    found = {},
    origins = {},
    withinMs,
  } = deps;
  const asked: string[] = [];
  const read = (key: string, maxBytes: number): EvidenceBytes => {
    const special = found[key];
    if (special) return special;
    if (screenshots.includes(key)) return { kind: "bytes", type: "image/png", bytes: TINY_PNG };
    const size = files[key] ?? null;
    if (size === null) return { kind: "unavailable" };
    return size > maxBytes ? { kind: "too_large" } : { kind: "bytes", type: null, bytes: bytesOf(size) };
  };
  return {
    screenshots,
    originOf: (key) => origins[key] ?? { block: null, at: null },
    files: Object.entries(files).map(([name, size]) => ({ key: name, name, size })),
    limits,
    asked,
    inTime: (signal) => (withinMs === undefined ? signal : AbortSignal.any([signal, AbortSignal.timeout(withinMs)])),
    read: async (key, maxBytes, signal) => {
      asked.push(key);
      return signal.aborted ? { kind: "unavailable" } : read(key, maxBytes);
    },
  };
}
