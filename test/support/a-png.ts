/** PNG files of one colour, or nearly. */
import { crc32, deflateSync } from "node:zlib";

export const WIDTH = 320;
export const HEIGHT = 200;

interface Drawing {
  colour?: readonly number[];
  colourType?: number;
  /** One value of a byte is this much higher. */
  spot?: { at: number; by: number };
  /** The filter of each row. */
  filter?(row: number): number;
  width?: number;
  height?: number;
}

function chunk(name: string, data: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(name), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, sum]);
}

/** A PNG file as the standard describes its filters: each byte less what the ones before it predict. */
export function draw(given: Drawing): Buffer {
  const { colour = [255, 255, 255], colourType = 2, spot, filter = () => 0, width = WIDTH, height = HEIGHT } = given;
  const size = colour.length;
  const pixels = Buffer.alloc(width * height * size, Buffer.from(colour));
  if (spot) pixels[spot.at] = ((pixels[spot.at] ?? 0) + spot.by) & 255;
  const line = width * size;
  const rows = Array.from({ length: height }, (_, y) => {
    const row = [filter(y)];
    for (let x = 0; x < line; x++) {
      const at = y * line + x;
      const left = x < size ? 0 : (pixels[at - size] ?? 0);
      const up = y === 0 ? 0 : (pixels[at - line] ?? 0);
      const corner = y === 0 || x < size ? 0 : (pixels[at - line - size] ?? 0);
      const guess = left + up - corner;
      const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
      const paeth = a <= b && a <= c ? left : b <= c ? up : corner;
      const predicted = [0, left, up, (left + up) >> 1, paeth][filter(y)] ?? 0;
      row.push(((pixels[at] ?? 0) - predicted) & 255);
    }
    return Buffer.from(row);
  });
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, colourType], 8);
  const data = deflateSync(Buffer.concat(rows));
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1A\n", "latin1"),
    chunk("IHDR", head),
    ...(colourType === 3 ? [chunk("PLTE", Buffer.from([1, 2, 3]))] : []),
    chunk("IDAT", data.subarray(0, 20)),
    chunk("IDAT", data.subarray(20)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}
