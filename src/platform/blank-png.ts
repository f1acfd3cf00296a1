/** Tells whether a picture is blank, as the screenshot of an empty page is. Pure. */
import { inflateSync } from "node:zlib";

/** Channels by PNG's colour type; a palette's index is one. */
const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
/** Pixels. What is smaller is no screenshot. */
const MIN_SIDE = 64;
const MAX_UNPACKED = 32_000_000;
/**
 * Unpacked bytes for each byte of the file. Chromium packs a picture of one colour 650 times smaller, and the most that
 * deflate reaches is 1032. Most other pictures stay far below this ratio, and are not even unpacked.
 */
const MIN_RATIO = 100;

/**
 * True when all pixels have one colour. False when that is not certain: of PNG files this reads those with eight bits a
 * channel and without interlacing, which is how browsers write them, and of other files none.
 * {@link https://www.w3.org/TR/png-3/}
 */
export function isBlank(bytes: Uint8Array): boolean {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length < 29 || file.toString("latin1", 0, 8) !== "\x89PNG\r\n\x1A\n") return false;
  const [width, height] = [file.readUInt32BE(16), file.readUInt32BE(20)];
  const [depth, colourType = 0, , , interlaced] = file.subarray(24);
  const channels = depth === 8 && interlaced === 0 ? (CHANNELS[colourType] ?? 0) : 0;
  const size = height * (1 + width * channels);
  const isLikely = size <= MAX_UNPACKED && size >= file.length * MIN_RATIO;
  if (channels === 0 || Math.min(width, height) < MIN_SIDE || !isLikely) return false;
  try {
    const rows = inflateSync(pixelData(file), { maxOutputLength: size });
    return rows.length === size && areOfOneColour(rows, size / height, channels);
  } catch {
    return false;
  }
}

/** The data of all IDAT chunks: length, name, data and checksum follow each other. */
function pixelData(file: Buffer): Buffer {
  const found: Buffer[] = [];
  for (let at = 8; at + 8 <= file.length;) {
    const end = at + 8 + file.readUInt32BE(at);
    if (file.toString("latin1", at + 4, at + 8) === "IDAT") found.push(file.subarray(at + 8, end));
    at = end + 4;
  }
  return Buffer.concat(found);
}

/** Each row begins with its filter, which leaves the same bytes in all rows of one colour but the first. */
function areOfOneColour(rows: Buffer, length: number, channels: number): boolean {
  const pixel = rows.subarray(1, 1 + channels);
  const expected = new Map<string, Buffer | null>();
  for (let at = 0; at < rows.length; at += length) {
    const filter = rows[at] ?? 0;
    const name = `${filter} ${at === 0}`;
    if (!expected.has(name)) expected.set(name, rowOfOneColour({ filter, isFirst: at === 0, pixel, length }));
    if (expected.get(name)?.equals(rows.subarray(at, at + length)) !== true) return false;
  }
  return true;
}

interface RowInput {
  filter: number;
  isFirst: boolean;
  pixel: Uint8Array;
  length: number;
}

/** Null for a filter that PNG does not have. */
function rowOfOneColour({ filter, isFirst, pixel, length }: RowInput): Buffer | null {
  const half = pixel.map((value) => value - (value >> 1));
  const zero = pixel.map(() => 0);
  const [begin, rest] = [
    [pixel, pixel],
    [pixel, zero],
    isFirst ? [pixel, pixel] : [zero, zero],
    isFirst ? [pixel, half] : [half, zero],
    isFirst ? [pixel, zero] : [zero, zero],
  ][filter] ?? [null, null];
  if (!begin || !rest) return null;
  const row = Buffer.alloc(length, rest);
  // The filter's byte shifts the pattern by one.
  row.copy(row, 1, 0, length - 1);
  begin.forEach((value, n) => (row[n + 1] = value));
  row[0] = filter;
  return row;
}
