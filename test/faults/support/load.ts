/** Webhooks as Skyvern sends them, again when no answer came, and sinks with moods. */
import { setTimeout as pause } from "node:timers/promises";
import { expect } from "vitest";
import type { Chance } from "./chance.ts";
import { aWebhook, sendWebhook, type World } from "./world.ts";

/** Sinks take a little to get a message, and now and then long to answer, so that kills meet every moment of a send. */
export function moody({ proxies }: World, chance: Chance): void {
  for (const proxy of Object.values(proxies)) {
    proxy.toServer = () => pause(chance.between(0, 15));
    proxy.toClient = () => pause(chance.happens(0.1) ? chance.between(100, 400) : chance.between(0, 15));
  }
}

export function calm({ proxies }: World): void {
  for (const proxy of Object.values(proxies)) proxy.toServer = proxy.toClient = () => Promise.resolve();
}

export interface Load {
  /** Run ids that got a 200. */
  answered: Set<string>;
  /** One new webhook, or again one that got no answer, as Skyvern would. */
  send(url: string, chance: Chance): Promise<void>;
  /** All that got no answer. */
  sendAgain(url: string): Promise<void>;
}

export function aLoad(world: World): Load {
  const answered = new Set<string>();
  const unanswered = new Map<string, string>();
  let count = 0;
  const sendOne = async (url: string, runId: string, body: string) => {
    const status = await sendWebhook(url, body);
    if (status === 200) answered.add(runId);
    else unanswered.set(runId, body);
  };
  return {
    answered,
    send: async (url, chance) => {
      const [old] = unanswered;
      if (old && chance.happens(0.5)) {
        unanswered.delete(old[0]);
        return sendOne(url, ...old);
      }
      const runId = `tsk_${String(++count).padStart(6, "0")}`;
      return sendOne(url, runId, aWebhook(world, runId));
    },
    sendAgain: async (url) => {
      const rest = [...unanswered];
      unanswered.clear();
      await Promise.all(rest.map(([runId, body]) => sendOne(url, runId, body)));
      expect([...unanswered.keys()]).toEqual([]);
    },
  };
}
