/** P6 against secrets that a generator hides. */
import { describe, expect, it } from "vitest";
import { createRedact } from "../../src/skyvern/redact.ts";
import { Hider, spellOut } from "../support/hidden-secrets.ts";

const redact = createRedact(["iban"]);

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe("generated secrets", () => {
  it("none of 10,000 generated secrets is left after masking, JSON stays JSON, and masking again changes nothing", () => {
    const hider = new Hider(20_261_128);
    const left: string[] = [];
    const broken: string[] = [];
    const changed: string[] = [];
    for (let n = 0; n < 10_000; n += 1) {
      const { secret, text } = hider.hide();
      const body = hider.place(text);
      const masked = redact(body).text;
      if (spellOut(masked).includes(secret)) left.push(`${body} => ${masked}`);
      if (isJson(body) && !isJson(masked)) broken.push(`${body} => ${masked}`);
      if (redact(masked).text !== masked) changed.push(masked);
    }
    expect({ left, broken, changed }).toEqual({ left: [], broken: [], changed: [] });
  });
});
