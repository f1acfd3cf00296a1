/** A run's page says that something was masked, and where, never what. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { aReader, aRelay, aTask, type Reader, type Relay } from "./relay.ts";

let relay: Relay;
let reader: Reader;
beforeEach(async () => {
  relay = await aRelay();
  reader = await aReader(relay);
});
afterEach(() => relay.close());

const SECRET = "Zq7hV3kXw9";
const pageOf = async (given: Record<string, unknown>): Promise<string> => {
  await relay.webhook(aTask(given));
  return reader.page("/runs/tsk_v2_1");
};
/** The places that the page names. */
const placesIn = (page: string): string[] => {
  const [, part = ""] = /<dt>Masked<\/dt>\s*<dd[^>]*>([^]*?)<\/dd>/.exec(page) ?? [];
  return [...part.matchAll(/<code[^>]*>([^<]*)<\/code>/g)].map(([, place]) => place ?? "");
};

test("a run's page names the places of all masks, and shows no secret", async () => {
  const page = await pageOf({
    summary: `see https://h.example/?token=${SECRET}`,
    output: { rows: [{ text: "plain" }, { text: `password=${SECRET}&user=bob` }], [`https://h/?sig=${SECRET}`]: 1 },
    failure_reason: `Authorization: Bearer ${SECRET}`,
    status: "failed",
    parameters: { login: { password: SECRET } },
  });
  expect(placesIn(page)).toEqual([
    "summary",
    "failure.reason",
    "parameters.login.password",
    "output, a name in it",
    "output.rows[1].text",
  ]);
  expect(page).toContain("In 5 places");
  expect(page).not.toContain(SECRET);
});

test("a run's page says nothing of masks where there is none", async () => {
  expect(await pageOf({ output: { text: "the password: must be changed" } })).not.toContain("Masked");
});

test("a run's page names twenty places and counts the others", async () => {
  const page = await pageOf({ output: Array.from({ length: 45 }, () => `password=${SECRET}&user=bob`) });
  expect(placesIn(page)).toHaveLength(20);
  expect(page).toContain("In 45 places");
  expect(page).toContain("25 more.");
});

test("a name that a page gave to a field is shown as text", async () => {
  const page = await pageOf({ output: { '<img src=x onerror="alert(1)">': `password=${SECRET}&user=bob` } });
  expect(page).not.toContain("<img src=x");
  expect(placesIn(page)).toEqual([expect.stringContaining("&lt;img src=x")]);
});

test("a large output is searched for masks within the page's time", async () => {
  const page = await pageOf({ output: Array.from({ length: 200_000 }, (_none, n) => n) });
  expect(page).not.toContain("Masked");
});
