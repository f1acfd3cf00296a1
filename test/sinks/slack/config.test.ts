import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import slack from "../../../src/sinks/slack/index.ts";
import { Secret } from "../../../src/platform/secret.ts";
import { deps } from "./reports.ts";

const faultsOf = (given: Record<string, unknown>) => slack.faults?.(slack.config.parse(given)) ?? [];

describe("the configuration of a Slack sink", () => {
  it("a Slack sink takes a token with a channel, or an incoming webhook", () => {
    expect(faultsOf({ token: "xoxb-1", channel: "C0123ABCD" })).toEqual([]);
    expect(faultsOf({ webhook_url: "https://hooks.slack.com/services/T/B/x" })).toEqual([]);
  });

  it("a Slack sink refuses neither, half or both of token and webhook, and says which key is at fault", () => {
    expect(faultsOf({})).toMatchObject([{ path: [] }]);
    expect(faultsOf({ token: "xoxb-1" })).toMatchObject([{ path: ["channel"] }]);
    expect(faultsOf({ channel: "ops" })).toMatchObject([{ path: ["token"] }]);
    expect(faultsOf({ token: "xoxb-1", channel: "ops", webhook_url: "https://hooks.slack.com/x" })).toMatchObject([
      { path: ["token"] },
    ]);
    expect(faultsOf({ channel: "ops", webhook_url: "https://hooks.slack.com/x" })).toMatchObject([
      { path: ["channel"] },
    ]);
  });

  it("a Slack sink keeps secrets as secrets, given as text or already wrapped", () => {
    const config = slack.config.parse({ token: "xoxb-very-secret", channel: "ops" });
    expect(inspect(config, { depth: 9 })).not.toContain("very-secret");
    expect(config.token?.reveal()).toBe("xoxb-very-secret");
    expect(slack.config.parse({ token: new Secret("xoxb-2"), channel: "ops" }).token?.reveal()).toBe("xoxb-2");
  });

  it("a Slack sink does not repeat a bad secret in its message", () => {
    for (const given of [
      { token: "two words-secret" },
      { webhook_url: "ftp://hooks-secret" },
      { webhook_url: "secret" },
    ]) {
      const result = slack.config.safeParse(given);
      expect(result.success).toBe(false);
      expect(result.error?.message).not.toContain('secret"');
      expect(result.error?.message).toContain("expected");
    }
  });

  it("a Slack sink describes every key", () => {
    const bare = Object.entries(slack.config.shape).filter(([, schema]) => !schema.meta()?.description);
    expect(bare).toEqual([]);
  });

  it("a Slack sink is made under the name it is given", () => {
    const config = slack.config.parse({ token: "xoxb-1", channel: "ops" });
    expect(slack.create("alerts", config, deps())).toMatchObject({ name: "alerts", kind: "slack" });
  });
});
