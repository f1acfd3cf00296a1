/**
 * The pages in a real browser: whole without a third party, without an error on the console, without a sideways scroll,
 * in both colour schemes and on a phone. Pictures of every page are kept in `test-output/screens/`.
 */
import { describe, expect, test } from "vitest";
import { aReader, hasBrowser, TWO_VIEWS } from "./reader.ts";
import { seeded, TOKEN } from "./seeded.ts";

describe.skipIf(!hasBrowser)("in a browser", () => {
  const reader = aReader();
  const { inspect, login, logInAt } = reader;

  test("a link in a message leads to the login, and from there to the run", async () => {
    const { page, relay, context } = reader;
    await page.goto(`/runs/${relay.invoices}`);
    expect(new URL(page.url()).pathname).toBe("/login");
    expect(await inspect("login")).toEqual([]);
    await page.getByLabel("Access token").fill("a wrong token");
    await page.keyboard.press("Enter");
    await page.getByText("This is not a token of this relay.").waitFor();
    expect(await inspect("login-wrong", TWO_VIEWS)).toEqual([]);
    await login();
    await page.getByRole("heading", { name: "Invoice Downloader", level: 1 }).waitFor();
    expect(new URL(page.url()).pathname).toBe(`/runs/${relay.invoices}`);
    const cookies = await context.cookies();
    expect(cookies).toEqual([expect.objectContaining({ httpOnly: true, sameSite: "Lax" })]);
  });

  test("a reader gets from the list to a run, redelivers it, asks for its artifacts again, and reads what was received", async () => {
    const { page, relay } = reader;
    await logInAt("/");
    expect(await inspect("runs")).toEqual([]);
    await page.locator(`a[href="/runs/${relay.invoices}"]`).click();
    await page.getByRole("heading", { name: "Delivered to" }).waitFor();
    expect(await inspect("run-completed")).toEqual([]);
    const images = await page.evaluate("[...document.querySelectorAll('main img')].map((img) => img.naturalWidth)");
    expect(images).toEqual([16, 16]);

    const before = relay.crmRequests();
    await page.getByRole("button", { name: "Redeliver to crm" }).click();
    await page.getByText("Queued again for 1 sink.").waitFor();
    await expect.poll(relay.crmRequests).toBe(before + 1);
    await page.getByRole("button", { name: "Refresh artifacts" }).click();
    await page.getByText(/Skyvern was asked again and lists \d+ artifacts\./).waitFor();
    const app = page.getByRole("link", { name: "Open in Skyvern" });
    expect(await app.getAttribute("href")).toMatch(/^https:\/\/app\.skyvern\.com\//);

    await page.getByText("Everything, as a tree").click();
    await page.getByText("JSON", { exact: true }).click();
    await page.getByText("Technical story").click();
    expect(await inspect("run-open", TWO_VIEWS)).toEqual([]);
    await page.getByRole("link", { name: "Show what was received" }).first().click();
    await page.getByRole("heading", { name: "What was received" }).waitFor();
    expect(await inspect("receipt")).toEqual([]);
  });

  test("the page of sinks shows their state, tests one that answers and one that does not, and resumes a stopped one", async () => {
    const { page, relay } = reader;
    await logInAt("/sinks");
    await page.getByText("Stopped: the sink asked for no more messages.").waitFor();
    expect(await inspect("sinks")).toEqual([]);
    await page.getByRole("button", { name: "Send test to crm" }).click();
    await page.getByText("The test message to crm was delivered.").waitFor();
    expect(await inspect("sinks-tested", TWO_VIEWS)).toEqual([]);
    relay.crmAnswers({ status: 503, body: "closed for lunch" });
    await page.getByRole("button", { name: "Send test to crm" }).click();
    await page.getByText("The test message to crm was not delivered, and is not tried again.").waitFor();
    await page.getByText("closed for lunch").waitFor();
    expect(await inspect("sinks-test-failed", TWO_VIEWS)).toEqual([]);
    await page.getByRole("button", { name: "Resume legacy" }).click();
    await page.getByText("legacy is resumed: pending deliveries are tried now.").waitFor();
    expect(await page.getByText("Stopped: the sink asked for no more messages.").count()).toBe(0);
  });

  test("the page of dead deliveries sends one again, then all, and says first how many", async () => {
    const { page, relay } = reader;
    await logInAt("/");
    await page.getByRole("link", { name: "Dead deliveries" }).click();
    await page.getByRole("heading", { name: "Dead deliveries" }).waitFor();
    expect(await inspect("dead-letters")).toEqual([]);
    await page.getByRole("button", { name: "Redeliver tsk_refused to crm" }).click();
    await page.getByText("Queued again: 1 delivery.").waitFor();
    expect(new URL(page.url()).pathname).toBe("/deliveries");
    await relay.settled();

    await page.getByRole("link", { name: "Redeliver all of these…" }).click();
    // The hostile one to crm and the one that the stopped sink refused: the other was just made good.
    await page.getByRole("heading", { name: "Redeliver 2 deliveries?" }).waitFor();
    expect(await inspect("redeliver-all")).toEqual([]);
    const before = relay.crmRequests();
    await page.getByRole("button", { name: "Redeliver 2 deliveries" }).click();
    await page.getByText("Queued again: 2 deliveries.").waitFor();
    await relay.settled();
    expect(relay.crmRequests()).toBe(before + 1);
    await page.goto("/deliveries/redeliver?state=dead");
    await page.getByRole("heading", { name: "Nothing to redeliver" }).waitFor();
    expect(await inspect("redeliver-none", TWO_VIEWS)).toEqual([]);
    await page.goto("/deliveries");
    expect(await inspect("deliveries", TWO_VIEWS)).toEqual([]);
  });

  test('the pages show a failed run, a list filtered in the address bar, and "not found" for an unknown run', async () => {
    const { page } = reader;
    await logInAt("/?status=failed");
    await page.getByText("Filters").click();
    await page.getByLabel("Type").fill("task_v1");
    await page.getByRole("button", { name: "Filter" }).click();
    await page.waitForURL((url) => url.search === "?status=failed&run_type=task_v1");
    await page.getByRole("cell", { name: "task_v1" }).first().waitFor();
    expect(await inspect("runs-filtered", TWO_VIEWS)).toEqual([]);
    await page.locator("table a.title").first().click();
    await page.getByRole("heading", { name: "Why it did not complete" }).waitFor();
    expect(await inspect("run-failed")).toEqual([]);
    await page.goto("/?status=failed&channel=none");
    expect(await inspect("runs-none-fits", TWO_VIEWS)).toEqual([]);
    await page.goto("/?since=yesterday");
    expect(await inspect("runs-wrong-address", TWO_VIEWS)).toEqual([]);
    await page.goto("/runs/tsk_unknown");
    expect(await inspect("run-unknown", TWO_VIEWS)).toEqual([]);
    // The browser reports an answer of 4xx on its console.
    reader.forgive(/status of 40[04]/);
  });

  test("the chart leads to the runs of an hour", async () => {
    const { page } = reader;
    await logInAt("/");
    await page.getByText("As numbers").click();
    expect(await inspect("runs-chart", TWO_VIEWS)).toEqual([]);
    const hour = page
      .getByRole("row")
      .filter({ has: page.getByRole("rowheader") })
      .last();
    await hour.getByRole("link").click();
    await page.waitForURL(/since=.*&until=/);
    expect(await page.locator("table.runs tbody tr").count()).toBe(1);
  });

  test("an unrecognized receipt can be read in the browser", async () => {
    const { page } = reader;
    await logInAt("/");
    await page.getByRole("link", { name: "Unrecognized" }).click();
    await page.getByRole("heading", { name: "Unrecognized" }).waitFor();
    expect(await inspect("unrecognized")).toEqual([]);
    await page.locator("table a.title").first().click();
    await page.getByRole("heading", { name: "What was received" }).waitFor();
  });

  test("the first page of an empty relay says what to do, and shows the first run when it comes", async () => {
    const { page, relay } = reader;
    const empty = await seeded({ empty: true });
    await page.goto(`${empty.url}/`);
    await login();
    await page.getByText("/webhook/invoices").waitFor();
    await page.getByText("skyvern-relay send-test --url 'http://relay.example.com/webhook'").waitFor();
    expect(await inspect("runs-empty")).toEqual([]);
    await page.goto(`${empty.url}/sinks`);
    expect(await inspect("sinks-empty", TWO_VIEWS)).toEqual([]);
    await page.goto(`${empty.url}/`);
    await page.getByText("This page follows.").waitFor();
    await empty.send({ run_id: "tsk_first", run_type: "task_v1", status: "completed", output: { hello: "relay" } });
    await page.getByText("tsk_first").waitFor();
    expect(relay.url).not.toBe(empty.url);
    reader.forgive(new RegExp(`^third party: ${empty.url}`));
    await page.goto("about:blank");
    await empty.close();
  });

  test("every time on a page has 24 hours, as in messages, whatever the browser is used to", async () => {
    await reader.reopen({ locale: "en-US" });
    const { page, relay } = reader;
    await logInAt(`/runs/${relay.invoices}`);
    await page.getByText("Technical story").click();
    const shown = await page.locator("main").innerText();
    expect(shown).toMatch(/[A-Z][a-z]{2} \d+(?:, \d{4})?, \d\d:\d\d:\d\d/);
    expect(shown).not.toMatch(/\b[AP]M\b/);
  });

  test("pages show times in the reader's own zone", async () => {
    const { page, relay } = reader;
    await logInAt(`/runs/${relay.invoices}`);
    await page.getByText("Times are in your zone, Europe/Berlin.").waitFor();
    const [shown, meant] = (await page.evaluate(
      "[document.querySelector('.timeline time').textContent, document.querySelector('.timeline time').dateTime]",
    )) as [string, string];
    const hour = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", timeZone: "Europe/Berlin" });
    expect(shown).toContain(`${hour.format(new Date(meant))}:`);
    expect(await page.locator("main").textContent()).not.toContain("UTC");
  });

  test("every action of the pages works from the keyboard", async () => {
    const { page } = reader;
    await page.goto("/");
    await page.keyboard.type(TOKEN);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Runs", level: 1 }).waitFor();
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.activeElement.textContent")).toBe("Skip to the content");
    const reached = new Set<string>();
    for (let i = 0; i < 90; i++) {
      await page.keyboard.press("Tab");
      const ring = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle");
      const name = await page.evaluate(
        "(document.activeElement.ariaLabel ?? document.activeElement.textContent).trim()",
      );
      if (ring !== "none" || name === "") reached.add(String(name));
    }
    for (const name of [
      "Runs",
      "Sinks",
      "Log out",
      "Search",
      "All",
      "Completed",
      "Filters",
      "As numbers",
      "Invoice Downloader",
    ]) {
      expect([...reached]).toContain(name);
    }
  });

  test("every action works in a browser without JavaScript, and times are in UTC there", async () => {
    await reader.reopen({ javaScriptEnabled: false });
    const { page, relay } = reader;
    await relay.retire("wr_ledger_2");
    await reader.logInAt("/");
    await page.getByLabel("Search").fill('"Invoice Downloader" INV-2026*');
    await page.getByRole("button", { name: "Search" }).click();
    expect(new URL(page.url()).searchParams.get("q")).toBe('"Invoice Downloader" INV-2026*');
    await page.locator("table a.title").first().click();
    const before = relay.crmRequests();
    await page.getByRole("button", { name: /^Send again to / }).click();
    await page.getByText("Queued again for").waitFor();
    await page.getByText("Reload to see the result.").waitFor();
    await expect.poll(relay.crmRequests).toBeGreaterThan(before);
    expect(await page.locator("time").first().textContent()).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? UTC$/);
    await page.getByRole("button", { name: "Refresh artifacts" }).click();
    await page.getByText("Skyvern was asked again").waitFor();

    await page.goto("/sinks");
    await page.getByRole("button", { name: "Send test to finance" }).click();
    await page.getByText("The test message to finance was delivered.").waitFor();
    await page.getByRole("button", { name: "Resume legacy" }).click();
    await page.getByText("legacy is resumed").waitFor();

    await page.getByRole("link", { name: "Redeliver legacy’s dead deliveries" }).click();
    await page.getByRole("button", { name: "Redeliver 1 delivery" }).click();
    await page.getByText("Queued again: 1 delivery.").waitFor();
    await relay.settled();
    await page.getByRole("link", { name: "Delivered" }).click();
    await page.getByRole("link", { name: "wr_ledger_2" }).first().waitFor();
    await page.getByRole("button", { name: "Log out" }).click();
    await page.goto("/sinks");
    expect(new URL(page.url()).pathname).toBe("/login");
  });
});
