import { afterEach, expect, it } from "vitest";
import { checkPostgres } from "../../src/cli/doctor/postgres.ts";
import { Secret } from "../../src/platform/secret.ts";
import { asAdmin, dropDatabase, newDatabase } from "../support/postgres.ts";

const made: string[] = [];
afterEach(async () => {
  for (const url of made.splice(0)) await dropDatabase(url);
});

const aDatabase = async (options?: { empty: boolean }): Promise<string> => {
  const url = await newDatabase(options);
  made.push(url);
  return url;
};
const look = async (url: string) => (await checkPostgres({ kind: "postgres", url: new Secret(url) }))[0];

it("doctor finds an empty database in order, as the relay makes its tables", async () => {
  const finding = await look(await aDatabase({ empty: true }));
  expect(finding).toMatchObject({ check: "database", state: "ok" });
  expect(finding?.found).toContain("makes its tables");
});

it("doctor finds a database of this release in order", async () => {
  expect((await look(await aDatabase()))?.found).toContain("has the tables of this release");
});

it("doctor finds a fault in a database of a newer release", async () => {
  const url = await aDatabase();
  await asAdmin(url, "update settings set value = '999' where name = 'schema_version'");
  expect(await look(url)).toMatchObject({ state: "fault", fix: "use the release that last ran on it" });
});

it("doctor finds a fault in a database that is not there, and does not show the password", async () => {
  const url = new URL(await aDatabase());
  url.pathname = "/not_there";
  url.password = "very-hidden";
  const finding = await look(url.href);
  expect(finding).toMatchObject({ state: "fault" });
  expect(JSON.stringify(finding)).not.toContain("very-hidden");
  expect(finding?.found).toContain("not_there");
});
