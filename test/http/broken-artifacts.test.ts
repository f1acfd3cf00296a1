/** Artifacts whose bytes end too early, on a real socket. */
import { expect, it, onTestFinished, vi } from "vitest";
import { aListeningApp, logIn, PUBLIC_URL } from "../support/app.ts";
import { fixtureBytes, fixtureJson } from "../support/fixtures.ts";

const LOCAL = "task_v1.completed-selfhosted-local-storage";

it.each(["link", "page"] as const)(
  "an artifact that breaks off ends the connection of its reader at the %s, and the log has one line",
  async (place) => {
    const trace = vi.spyOn(console, "error").mockImplementation(() => {});
    onTestFinished(() => trace.mockRestore());
    const relay = await aListeningApp({}, { skyvern: { storage: "local" } });
    const payload = fixtureJson(LOCAL);
    const recording = { artifact_id: "a_rec", artifact_type: "recording", uri: String(payload["recording_url"]) };
    relay.standIns.skyvern.addRun({ payload, artifacts: [recording] });
    const { run_id: runId } = (await relay.webhook(fixtureBytes(LOCAL))).json<{ run_id: string }>();
    const { recording_url: link } = await relay.read<{ recording_url: string }>(`/v1/runs/${runId}`);
    const path = { link: link.replace(PUBLIC_URL, ""), page: `/runs/${runId}/media/recording` }[place];
    const cookie = await logIn(relay);
    relay.standIns.skyvern.faults.push({ on: /content$/, instead: "half" });

    const answer = await fetch(`${relay.url}${path}`, { headers: { cookie } });

    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "video/webm"]);
    await expect(answer.arrayBuffer()).rejects.toThrow("terminated");
    expect(relay.log().match(/"artifact.broke_off"/g)).toHaveLength(1);
    expect(trace).not.toHaveBeenCalled();
  },
);
