/** The used parts of Cloudflare Workers (https://developers.cloudflare.com/workers/runtime-apis/). */
declare module "cloudflare:workers" {
  export type Bound = string | number | null | Uint8Array;

  /** What calling an object's methods from a Worker comes to. */
  export type Stub<T> = {
    [K in keyof T]: T[K] extends (...given: infer A) => infer R ? (...given: A) => Promise<Awaited<R>> : never;
  };

  export interface Namespace<T> {
    getByName(name: string): Stub<T>;
  }

  export interface Storage {
    sql: {
      exec(query: string, ...bindings: Bound[]): { toArray(): Record<string, unknown>[] };
    };
    /** Rolls back when `work` rejects. */
    transaction<T>(work: () => Promise<T>): Promise<T>;
    get(key: string): Promise<unknown>;
    put(key: string, value: unknown): Promise<void>;
    getAlarm(): Promise<number | null>;
    setAlarm(at: number): Promise<void>;
    deleteAll(): Promise<void>;
    /** Resolves when all that was written is durable. */
    sync(): Promise<void>;
  }

  export interface State {
    readonly storage: Storage;
    blockConcurrencyWhile<T>(work: () => Promise<T>): Promise<T>;
  }

  export abstract class DurableObject<Env> {
    protected readonly ctx: State;
    protected readonly env: Env;
    constructor(ctx: State, env: Env);
  }
}

declare module "*.sql" {
  const text: string;
  export default text;
}

/** What pages load is text in the bundle. */
declare module "*/web/assets/htmx.js" {
  const text: string;
  export default text;
}
declare module "*/web/assets/script.js" {
  const text: string;
  export default text;
}
declare module "*.css" {
  const text: string;
  export default text;
}
declare module "*.svg" {
  const text: string;
  export default text;
}
