/**
 * Arrays as PostgreSQL sends and takes them itself, in binary (`array_recv`): no character is escaped and none is read twice, and
 * bytes stay bytes. In text, JSON would grow by a backslash a quote, and bytes to twice their size.
 */

export type ElementType = "text" | "bigint" | "bytea" | "tsvector";
/** https://www.postgresql.org/docs/current/catalog-pg-type.html; these do not change. */
const OIDS: Record<ElementType, number> = { text: 25, bigint: 20, bytea: 17, tsvector: 3614 };

/** Dimensions, whether there are nulls, the elements' type, how many there are, and the number of the first. */
const HEAD = 20;
const TWO_TO_32 = 2 ** 32;

/** Texts are {@link storable}; null stays null. */
export function binaryArray(type: ElementType, values: readonly unknown[]): Buffer {
  const elements = type === "text" ? values.map(storable) : values;
  let size = HEAD;
  for (const value of elements) size += 4 + (value === null ? 0 : sizeOf(value, type));
  const bytes = Buffer.allocUnsafe(size);
  bytes.writeInt32BE(1, 0);
  bytes.writeInt32BE(elements.includes(null) ? 1 : 0, 4);
  bytes.writeInt32BE(OIDS[type], 8);
  bytes.writeInt32BE(elements.length, 12);
  bytes.writeInt32BE(1, 16);
  let at = HEAD;
  for (const value of elements) {
    const length = value === null ? -1 : write(bytes, value, at + 4);
    bytes.writeInt32BE(length, at);
    at += 4 + Math.max(length, 0);
  }
  return bytes;
}

function sizeOf(value: unknown, type: ElementType): number {
  if (type === "bigint") return 8;
  return typeof value === "string" ? Buffer.byteLength(value) : (value as Uint8Array).length;
}

/** Returns how many bytes it wrote. */
function write(bytes: Buffer, value: unknown, at: number): number {
  if (typeof value === "string") return bytes.write(value, at);
  if (typeof value === "number") {
    bytes.writeInt32BE(Math.floor(value / TWO_TO_32), at);
    bytes.writeUInt32BE(value >>> 0, at + 4);
    return 8;
  }
  bytes.set(value as Uint8Array, at);
  return (value as Uint8Array).length;
}

/** PostgreSQL's TEXT holds every character but one. */
export const storable = (value: unknown): unknown => {
  if (typeof value === "string") return value.includes("\0") ? value.replaceAll("\0", "\uFFFD") : value;
  return Array.isArray(value) ? value.map(storable) : value;
};
