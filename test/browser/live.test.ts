/** What the page does by itself while somebody looks at it, and what hostile content cannot make it do. */
import { describe, expect, test } from "vitest";
import { aReader, hasBrowser, TWO_VIEWS } from "./reader.ts";

const aRun = (runId: string, values: object = {}) => ({
  run_id: runId,
  task_id: runId,
  run_type: "task_v2",
  status: "completed",
  prompt: `Live ${runId}`,
  output: { hello: runId },
  ...values,
});

describe.skipIf(!hasBrowser)("while somebody looks", () => {
  const reader = aReader();
  const titles = async (): Promise<string[]> => reader.page.locator("table.runs a.title").allTextContents();

  test("a new run appears at the top of the open list, and its deliveries follow", async () => {
    const { page, relay } = reader;
    await reader.logInAt("/");
    await page.getByText("Live", { exact: true }).waitFor();
    await page.evaluate("window.here = true");
    relay.crmAnswers({ status: 400, body: "no" });
    await relay.send(aRun("tsk_live_1"));
    await page.getByRole("link", { name: "Live tsk_live_1" }).waitFor();
    expect((await titles())[0]).toBe("Live tsk_live_1");
    await page.locator("tr", { hasText: "tsk_live_1" }).getByText("crm dead").waitFor();
    expect(await page.locator("tr", { hasText: "tsk_live_1" }).locator("time").textContent()).not.toContain("UTC");
    expect(await page.evaluate("window.here")).toBe(true);
  });

  test("the open list moves nothing while its reader is further down, and a button says how many runs are new", async () => {
    await reader.reopen({ viewport: { width: 1280, height: 400 } });
    const { page, relay } = reader;
    await reader.logInAt("/");
    await page.getByText("Live", { exact: true }).waitFor();
    await page.evaluate("scrollTo(0, 500)");
    const before = await titles();
    const top = await page.locator("table.runs tr").nth(5).boundingBox();
    await relay.send(aRun("tsk_quiet_1"));
    await relay.send(aRun("tsk_quiet_2"));
    const button = page.getByRole("button", { name: "2 new runs" });
    await button.waitFor();
    expect(await titles()).toEqual(before);
    expect(await page.locator("table.runs tr").nth(5).boundingBox()).toEqual(top);
    expect(await reader.inspect("runs-news", TWO_VIEWS)).toEqual([]);
    await page.evaluate("scrollTo(0, 500)");
    await button.click();
    await page.getByRole("link", { name: "Live tsk_quiet_2" }).waitFor();
    await expect.poll(() => page.evaluate("scrollY")).toBe(0);
    expect(await button.isVisible()).toBe(false);
  });

  test("a list that is narrowed shows new runs that fit, and no others", async () => {
    const { page, relay } = reader;
    await reader.logInAt("/?status=failed");
    await page.getByText("Live", { exact: true }).waitFor();
    await relay.send(aRun("tsk_other"));
    await relay.send(aRun("tsk_failed_now", { status: "failed" }));
    await page.getByRole("link", { name: "Live tsk_failed_now" }).waitFor();
    expect(await titles()).not.toContain("Live tsk_other");
  });

  test("a search narrows the list as it is typed, and stands in the address", async () => {
    const { page } = reader;
    await reader.logInAt("/?status=completed");
    await page.evaluate("window.here = true");
    await page.getByLabel("Search").pressSequentially("INV-2026-0801");
    // A part of what is typed may be searched for before the whole.
    await page.waitForURL(({ search }) => search === "?status=completed&q=INV-2026-0801");
    await expect.poll(titles).toEqual(["Invoice Downloader"]);
    expect(await page.evaluate("window.here")).toBe(true);
    expect(await page.evaluate("document.activeElement.id")).toBe("q");
    expect(await reader.inspect("runs-search", TWO_VIEWS)).toEqual([]);
    // Chips keep the words; a place to come back to.
    await page.getByRole("link", { name: "Failed" }).click();
    await page.waitForURL(/q=INV-2026-0801/);
    await page.goBack();
    expect(await page.getByLabel("Search").inputValue()).toBe("INV-2026-0801");
    await page.getByLabel("Search").fill("ab*");
    await page.getByText("needs at least 3 letters or digits before *").waitFor();
    reader.forgive(/status of 400/);
  });

  test("the page of a run follows its deliveries, and says when the run itself changed", async () => {
    const { page, relay } = reader;
    await relay.send(aRun("tsk_watched"));
    await relay.settled();
    await reader.logInAt("/runs/tsk_watched");
    await page.getByText("Live", { exact: true }).waitFor();
    await page.evaluate("window.here = true");
    await page.getByRole("button", { name: "Redeliver to crm" }).click();
    await page.getByText("Queued again for 1 sink.").waitFor();
    // No reload is asked for, and none is needed.
    expect(await page.getByText("Reload to see").isVisible()).toBe(false);
    // The fold stays open while what is in it changes.
    await page.getByText("Technical story").click();
    await page.locator(".timeline").getByText("Delivered to crm").nth(1).waitFor();
    await relay.send(aRun("tsk_watched", { status: "failed", failure_reason: "It did not, after all." }));
    await page.getByRole("button", { name: "This run changed: show it" }).click();
    await page.getByText("It did not, after all.").first().waitFor();
  });

  test("a hidden tab holds no connection, and catches up when it is shown again", async () => {
    const { page, relay } = reader;
    await reader.logInAt("/");
    await page.getByText("Live", { exact: true }).waitFor();
    const hide = (is: boolean) =>
      page.evaluate(`Object.defineProperty(document, "hidden", { configurable: true, get: () => ${is} });
        document.dispatchEvent(new Event("visibilitychange"))`);
    await hide(true);
    expect(await page.getByText("Live", { exact: true }).isVisible()).toBe(false);
    await relay.send(aRun("tsk_unseen"));
    await hide(false);
    await page.getByRole("link", { name: "Live tsk_unseen" }).waitFor();
  });

  test("the copy button of a run's page copies the output whole", async () => {
    const { page, relay, context } = reader;
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    await relay.send(aRun("tsk_copied", { output: { total: 12.5, rows: [1, 2] } }));
    await relay.send(aRun("tsk_copied_large", { output: { text: "x".repeat(300_000) } }));
    await reader.logInAt("/runs/tsk_copied");
    await page.getByText("JSON", { exact: true }).click();
    await page.getByRole("button", { name: "Copy JSON" }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    expect(JSON.parse(String(await page.evaluate("navigator.clipboard.readText()")))).toEqual({
      total: 12.5,
      rows: [1, 2],
    });
    await page.goto("/runs/tsk_copied_large");
    await page.getByText("JSON", { exact: true }).click();
    await page.getByRole("button", { name: "Copy JSON" }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    expect(String(await page.evaluate("navigator.clipboard.readText()")).length).toBe(300_011);
  });

  test("hostile text stays text on every page, and makes no element, script, dialog or console error", async () => {
    const { page, relay } = reader;
    const run = `/runs/${encodeURIComponent(relay.hostile)}`;
    relay.crmAnswers({ status: 400, body: "<img src=x onerror=alert(1)> \u202Eevil" });
    await relay.send(aRun("tsk_evil_answer"));
    await relay.settled();
    await reader.logInAt(run);
    const pages = [
      run,
      "/",
      "/?q=workflow+title",
      `/?workflow=${encodeURIComponent('"><img src=x>')}`,
      "/sinks",
      "/deliveries",
      "/deliveries?state=dead",
    ];
    await page.getByText("Technical story").click();
    const receipt = await page.getByRole("link", { name: "Show what was received" }).first().getAttribute("href");
    for (const path of [...pages, receipt ?? "none"]) {
      await page.goto(path);
      await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })");
      expect(await page.evaluate(FOREIGN), path).toEqual([]);
      const text = String(await page.evaluate("document.body.innerText"));
      if (!path.includes("workflow=")) expect(text, path).toMatch(/<img src=x|evil/);
      expect(text, path).not.toMatch(/[\u202A-\u202E\u2066-\u2069\u200B]/);
    }
    await page.goto(run);
    expect(await reader.inspect("run-hostile", TWO_VIEWS)).toEqual([]);
    // What came by the live update is as inert as what came with the page.
    await page.goto("/");
    await page.getByText("Live", { exact: true }).waitFor();
    await relay.send(
      aRun("tsk_evil_live", { prompt: "<img src=x onerror=alert(1)><b hx-get=/ hx-trigger=load>live</b>" }),
    );
    await page.locator("tr", { hasText: "tsk_evil_live" }).waitFor();
    expect(await page.evaluate(FOREIGN)).toEqual([]);
    expect(reader.complaints()).toEqual([]);
  });
});

/** Whatever on a page is not of the relay's own making. */
const FOREIGN = `[
  ...document.querySelectorAll("script:not([src^='/assets/']), iframe, object, embed, base, style, [style], img[src='x'], textarea, b, a[href^='javascript']"),
  ...[...document.querySelectorAll("*")].filter((one) => one.getAttributeNames().some((name) => name.startsWith("on"))),
  ...[...document.querySelectorAll("[hx-get], [hx-trigger]")].filter((one) => !["results", "sinks", "deliveries-card"].includes(one.id) && !one.matches("form.find")),
  ...[...document.links].filter((one) => !/^https?:$/.test(one.protocol)),
].map((one) => one.outerHTML.slice(0, 300))`;
