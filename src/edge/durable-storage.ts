/** The part of a Durable Object's storage that is used. */
export type SqlParameter = string | number | null | Uint8Array;

/**
 * The part of `ctx.storage` that is used (https://developers.cloudflare.com/durable-objects/api/sqlite-storage-api/).
 */
export interface DurableStorage {
  sql: { exec(query: string, ...bindings: SqlParameter[]): { toArray(): Record<string, unknown>[] } };
  /** Rolls back when `work` rejects. */
  transaction<T>(work: () => Promise<T>): Promise<T>;
}
