import { describe, expect, it } from "vitest";
import { isBlank } from "../../src/platform/blank-png.ts";
import { TINY_PNG } from "../../src/stand-ins/skyvern.ts";
import { draw, HEIGHT, WIDTH } from "../support/a-png.ts";

const FILTERS: [string, (row: number) => number][] = [
  ["none", () => 0],
  ["sub", () => 1],
  ["up", () => 2],
  ["average", () => 3],
  ["Paeth", () => 4],
  ["several", (row) => row % 5],
  ["several, in another order", (row) => (row * 3 + 4) % 5],
];

describe("a picture of one colour", () => {
  it.each(FILTERS)("a picture of one colour is blank, whichever filter its rows have: %s", (_name, filter) => {
    for (const colour of [
      [255, 255, 255],
      [0, 0, 0],
      [17, 128, 253],
    ])
      expect(isBlank(draw({ colour, filter }))).toBe(true);
  });

  it.each([
    [0, [200]],
    [3, [0]],
    [4, [200, 255]],
    [6, [10, 20, 30, 255]],
  ])("a picture of one colour is blank with colour type %i", (colourType, colour) => {
    expect(isBlank(draw({ colourType, colour }))).toBe(true);
  });

  it.each(FILTERS)(
    "a picture with one other pixel is not blank, whichever filter its rows have: %s",
    (_name, filter) => {
      for (const at of [0, 1, 3 * WIDTH - 1, 3 * WIDTH, 3 * WIDTH * HEIGHT - 1])
        for (const by of [1, 128]) expect(isBlank(draw({ filter, spot: { at, by } }))).toBe(false);
    },
  );
});

describe("what is not certain", () => {
  const white = draw({});

  it.each<[string, Buffer | Uint8Array]>([
    ["a small picture", draw({ width: 16, height: 9 })],
    ["a tiny PNG", TINY_PNG],
    ["a JPEG", Buffer.from([0xff, 0xd8, 0xff, ...Array.from({ length: 60 }, () => 0)])],
    ["nothing", new Uint8Array()],
    ["a PNG that is cut off", white.subarray(0, 60)],
    ["a PNG that is cut off in its head", white.subarray(0, 20)],
    ["a PNG without pixels", white.subarray(0, 33)],
    ["a PNG with damaged pixels", Buffer.from(white).fill(7, 45, 60)],
    ["an interlaced PNG", Buffer.from(white).fill(1, 28, 29)],
    ["a PNG with sixteen bits a channel", Buffer.from(white).fill(16, 24, 25)],
    ["a PNG that is larger than it says", Buffer.from(white).fill(100, 23, 24)],
    ["a PNG that is smaller than it says", Buffer.from(white).fill(255, 23, 24)],
    ["a PNG with a filter that there is not", draw({ filter: (row) => (row === 9 ? 5 : 0) })],
  ])("%s is not called blank", (_name, bytes) => {
    expect(isBlank(bytes)).toBe(false);
  });
});
