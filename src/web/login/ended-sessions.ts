/**
 * Sessions that were logged out before their time, for every relay on the database: their cookies may have been copied.
 */
import type { UpkeepStore } from "../../store/contract/upkeep.ts";

export interface EndedSessions {
  has(id: string): Promise<boolean>;
  /** `expires`: epoch ms, when the session would have ended by itself. Resolves when it is written. */
  add(id: string, expires: number): Promise<void>;
}

type EndedSessionsStore = Pick<UpkeepStore, "setting" | "saveSetting">;
type ExpiryById = Record<string, number>;

const NAME = "ended_sessions";

export function createEndedSessions({ store, now }: { store: EndedSessionsStore; now(): number }): EndedSessions {
  const load = async (): Promise<ExpiryById> => JSON.parse(await store.setting(NAME, "{}")) as ExpiryById;
  // One after the other, or of two that end at one time one would be forgotten.
  let adding: Promise<unknown> = Promise.resolve();
  return {
    has: async (id) => Object.hasOwn(await load(), id),
    add: (id, expires) => {
      const added = adding.then(async () => {
        const current = Object.entries(await load()).filter(([, until]) => until > now());
        await store.saveSetting(NAME, JSON.stringify({ ...Object.fromEntries(current), [id]: expires }));
      });
      adding = added.catch(() => {});
      return added;
    },
  };
}
