import type { Bound, Storage } from "cloudflare:workers";
import { createHash, randomBytes } from "node:crypto";

/**
 * A value and its row must stay under 2 MB there; a text of this many characters takes up to three times as many bytes.
 */
const LONGEST_TEXT = 500_000;
const LONGEST_BYTES = 1_500_000;
const PIECE_BYTES = 1_500_000;

export const PIECES_SCHEMA = `
  -- Values too large for one row, cut up. What stands in their place: '<key>:<text or bytes>:<sha256>'.
  CREATE TABLE IF NOT EXISTS pieces (
    sha256            TEXT    NOT NULL,
    n                 INTEGER NOT NULL,
    piece             BLOB    NOT NULL,
    PRIMARY KEY (sha256, n)
  ) WITHOUT ROWID;
  -- One row: what only this storage knows, so that no payload can name another one's pieces.
  CREATE TABLE IF NOT EXISTS pieces_key (key TEXT NOT NULL);
`;

export interface Pieces {
  /** Writes a large value in pieces and returns the reference to it; other values pass unchanged. */
  split(value: Bound): Bound;
  /** The row with its large values restored, and bytes as a Buffer. */
  join(row: Record<string, unknown>): Record<string, unknown>;
}

/** Equal values are stored once. Pieces of overwritten values stay until {@link dropLoosePieces}. */
export function createPieces({ sql }: Pick<Storage, "sql">): Pieces {
  const [known] = sql.exec("select key from pieces_key").toArray() as { key: string }[];
  const key = known?.key ?? randomBytes(16).toString("hex");
  if (!known) sql.exec("insert into pieces_key values (?)", key);

  const write = (kind: "text" | "bytes", bytes: Buffer): string => {
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    for (let n = 0; n * PIECE_BYTES < bytes.length; n += 1) {
      const piece = bytes.subarray(n * PIECE_BYTES, (n + 1) * PIECE_BYTES);
      sql.exec("insert into pieces values (?, ?, ?) on conflict do nothing", sha256, n, piece);
    }
    return `${key}:${kind}:${sha256}`;
  };
  const read = (mark: string): string | Buffer => {
    const [, kind, sha256 = ""] = mark.split(":");
    const rows = sql.exec("select piece from pieces where sha256 = ? order by n", sha256).toArray();
    const bytes = Buffer.concat(rows.map(({ piece }) => new Uint8Array(piece as ArrayBuffer)));
    return kind === "text" ? bytes.toString("utf8") : bytes;
  };
  return {
    split: (value) => {
      if (typeof value === "string" && value.length > LONGEST_TEXT) return write("text", Buffer.from(value));
      if (value instanceof Uint8Array && value.length > LONGEST_BYTES) return write("bytes", Buffer.from(value));
      return value;
    },
    join: (row) => {
      for (const name of Object.keys(row)) {
        const value = row[name];
        if (value instanceof ArrayBuffer) row[name] = Buffer.from(value);
        else if (typeof value === "string" && value.startsWith(key)) row[name] = read(value);
      }
      return row;
    },
  };
}

/** Removes pieces that nothing refers to any more. Returns how many values. It reads every run and body once. */
export function dropLoosePieces({ sql }: Pick<Storage, "sql">): number {
  if (sql.exec("select 1 from pieces limit 1").toArray().length === 0) return 0;
  const marks = [
    ["block", "receipts"],
    ["title", "runs"],
    ["artifacts", "runs"],
  ].map(
    ([column, table]) => `select substr(${column}, -64) from ${table}, pieces_key
    where ${column} >= key || ':' and ${column} < key || ';'`,
  );
  const loose = sql.exec(`delete from pieces where sha256 not in (${marks.join(" union all ")}) returning n`).toArray();
  return loose.filter(({ n }) => n === 0).length;
}
