/** The addresses that workflows had before `register` changed them. */
import { isJsonObject, parseJson } from "../platform/json.ts";
import type { Database } from "./database.ts";
import { saveSetting, setting } from "./key-values.ts";

export interface Registered {
  /** The workflow's permanent id. */
  workflow: string;
  title: string;
  /** Its address before; null: it had none. */
  before: string | null;
  /** The address that it was given. */
  after: string;
}

const NAME = "registered_workflows";

export const listRegistered = async ({ db }: Database): Promise<Registered[]> => parse(await setting(db, NAME));

/** Adds an entry. A workflow that is there keeps the address that it had before the first change. */
export const rememberRegistered = (database: Database, entry: Registered): Promise<void> =>
  change(database, (entries) => {
    const known = entries.find(({ workflow }) => workflow === entry.workflow);
    return [...without(entries, entry.workflow), { ...entry, before: known ? known.before : entry.before }];
  });

export const forgetRegistered = (database: Database, workflow: string): Promise<void> =>
  change(database, (entries) => without(entries, workflow));

const without = (entries: readonly Registered[], workflow: string): Registered[] =>
  entries.filter((entry) => entry.workflow !== workflow);

const change = (database: Database, edit: (entries: Registered[]) => Registered[]): Promise<void> =>
  database.transaction(async (tx) => {
    await saveSetting(tx, NAME, JSON.stringify(edit(parse(await setting(tx, NAME)))));
  });

function parse(text: string | null): Registered[] {
  const entries = text === null ? [] : parseJson(text);
  return Array.isArray(entries) ? entries.filter(isJsonObject).map((entry) => entry as unknown as Registered) : [];
}
