/** The peers, each started as its users start it, relaying every webhook to the same receiver. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { debianProgram, npmProgram, reason } from "../install.ts";
import { KEY } from "../load.ts";
import { answers, freePort, listens, logIn, start } from "../process.ts";
import type { Subject } from "../subject.ts";

const alertmanagerProgram = () => debianProgram("prometheus-alertmanager", "prometheus-alertmanager");

/** One message for each alert, at once: what it is told to send is what the relay sends. It keeps alerts in memory. */
export const alertmanager: Subject = {
  name: "alertmanager",
  delivers: true,
  unavailable: () => reason(alertmanagerProgram),
  start: async ({ folder, receiver, bodies }) => {
    const port = await freePort();
    const config = {
      route: { receiver: "relay", group_by: ["..."], group_wait: "0s", group_interval: "5m", repeat_interval: "4h" },
      receivers: [{ name: "relay", webhook_configs: [{ url: `${receiver.url}/sink` }] }],
    };
    // JSON is YAML.
    writeFileSync(join(folder, "alertmanager.yml"), JSON.stringify(config));
    const flags = {
      "config.file": join(folder, "alertmanager.yml"),
      "storage.path": join(folder, "data"),
      "web.listen-address": `127.0.0.1:${port}`,
      "cluster.listen-address": "",
    };
    const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
    const started = await start(
      { argv: [...alertmanagerProgram(), ...args], cwd: folder, logFile: logIn(folder, "output"), port: () => port },
      answers(`http://127.0.0.1:${port}/-/ready`),
    );
    const target = {
      port,
      path: "/api/v2/alerts",
      bodies: bodies("alertmanager"),
      signed: false,
      expect: "",
      echo: false,
    };
    return { ...started, target, loopDelay: async () => null };
  },
};

const webhookProgram = () => debianProgram("webhook", "webhook");

/** Checks the signature and runs a command for each; the cheapest command there is, so it relays nothing. */
export const webhook: Subject = {
  name: "webhook",
  delivers: false,
  unavailable: () => reason(webhookProgram),
  start: async ({ folder, bodies }) => {
    const port = await freePort();
    const signature = { source: "header", name: "X-Skyvern-Signature" };
    const hook = {
      id: "bench",
      "execute-command": "/bin/true",
      "response-message": "stored",
      "trigger-rule": { match: { type: "payload-hmac-sha256", secret: KEY, parameter: signature } },
    };
    writeFileSync(join(folder, "hooks.json"), JSON.stringify([hook]));
    const args = ["-hooks", join(folder, "hooks.json"), "-ip", "127.0.0.1", "-port", `${port}`];
    const started = await start(
      { argv: [...webhookProgram(), ...args], cwd: folder, logFile: logIn(folder, "output"), port: () => port },
      () => listens(port),
    );
    const target = {
      port,
      path: "/hooks/bench",
      bodies: bodies("skyvern"),
      signed: true,
      expect: "stored",
      echo: false,
    };
    return { ...started, target, loopDelay: async () => null };
  },
};

const NODE_RED = "5.0.7";
const nodeRedProgram = () => npmProgram("node-red", NODE_RED, "node-red");

export const nodeRed: Subject = {
  name: "node-red",
  delivers: true,
  unavailable: () => reason(nodeRedProgram),
  start: async ({ folder, receiver, bodies }) => {
    const port = await freePort();
    const flow = [
      { id: "tab", type: "tab", label: "relay" },
      { id: "in", z: "tab", type: "http in", url: "/webhook", method: "post", wires: [["out", "say"]] },
      {
        id: "out",
        z: "tab",
        type: "http request",
        method: "POST",
        ret: "txt",
        url: `${receiver.url}/sink`,
        wires: [[]],
      },
      {
        id: "say",
        z: "tab",
        type: "change",
        rules: [{ t: "set", p: "payload", pt: "msg", to: "stored", tot: "str" }],
        wires: [["answer"]],
      },
      { id: "answer", z: "tab", type: "http response", statusCode: "200", wires: [] },
    ];
    writeFileSync(join(folder, "flows.json"), JSON.stringify(flow));
    writeFileSync(join(folder, "settings.js"), `module.exports = { uiHost: "127.0.0.1", flowFile: "flows.json" };\n`);
    const argv: [string, ...string[]] = [nodeRedProgram(), "--userDir", folder, "--port", `${port}`];
    const target = { port, path: "/webhook", bodies: bodies("skyvern"), signed: true, expect: "stored", echo: false };
    // The route is there a moment after the port.
    const isReady = () => acceptsPost(`http://127.0.0.1:${port}/webhook`);
    const started = await start({ argv, cwd: folder, logFile: logIn(folder, "output"), port: () => port }, isReady);
    return { ...started, target, loopDelay: async () => null };
  },
};

/** It is not measured here: no way was found to get it that a bench may take. */
export const n8n: Subject = {
  name: "n8n",
  delivers: true,
  unavailable: () =>
    "npm needs more than 2.5 GB and ten minutes for it, and its newest version could not be installed at all",
  start: () => Promise.reject(new Error("n8n is not measured")),
};

const acceptsPost = (url: string): Promise<boolean> =>
  fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" }).then(
    async (response) => {
      await response.arrayBuffer();
      return response.ok;
    },
    () => false,
  );
