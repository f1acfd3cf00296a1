/** Skyvern's API as the script drives it. It is apart from the relay's own client, so that both can disagree. */
import { setTimeout as sleep } from "node:timers/promises";

export interface Row {
  run_id: string;
  status: string;
  retry_pending?: boolean;
  attempt?: number;
}

export interface SkyvernApi {
  readonly webhookUrl: string;
  get<T = Record<string, unknown>>(path: string): Promise<T>;
  post<T = Record<string, unknown>>(path: string, body?: unknown): Promise<T>;
  /** Makes a workflow of these blocks and answers its permanent id. */
  workflow(title: string, blocks: readonly object[], more?: object): Promise<string>;
  /** Starts a run of a workflow and answers its id. */
  run(agent: string, more?: object): Promise<string>;
}

const TRIES = 5;

export function skyvernApi(url: string, key: () => string, webhookUrl: string): SkyvernApi {
  const ask = (method: string, path: string, body?: unknown) =>
    fetch(`${url}${path}`, {
      method,
      headers: { "x-api-key": key(), "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const call = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    let answer = await ask(method, path, body);
    // Its SQLite is locked now and then.
    for (let tried = 1; answer.status === 500 && tried < TRIES; tried += 1) {
      await sleep(1_000);
      answer = await ask(method, path, body);
    }
    const text = await answer.text();
    if (!answer.ok) throw new Error(`Skyvern answered ${method} ${path} with ${answer.status}: ${text.slice(0, 300)}`);
    return JSON.parse(text === "" ? "{}" : text) as T;
  };
  const post: SkyvernApi["post"] = (path, body = {}) => call("POST", path, body);
  return {
    webhookUrl,
    get: (path) => call("GET", path),
    post,
    workflow: async (title, blocks, more = {}) => {
      const definition = { parameters: [], blocks, ...more };
      const made = await post<{ workflow_permanent_id: string }>("/v1/workflows", {
        json_definition: { title, webhook_callback_url: webhookUrl, workflow_definition: definition },
      });
      return made.workflow_permanent_id;
    },
    run: async (agent, more = {}) => {
      const body = { agent_id: agent, parameters: {}, webhook_url: webhookUrl, ...more };
      return (await post<{ run_id: string }>("/v1/run/agents", body)).run_id;
    },
  };
}
