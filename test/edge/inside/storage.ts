import type { Storage } from "cloudflare:workers";

let current: Storage | null = null;

/** Cases run one after the other, each in an object of its own. */
export const useStorage = (storage: Storage) => {
  current = storage;
};

export function currentStorage(): Storage {
  if (current === null) throw new Error("no case runs");
  return current;
}
