/**
 * Gives one workflow another webhook address, and changes nothing else. Skyvern takes an address only with the whole
 * definition, which its answer does not have as such. So a copy of the workflow is saved first: when the copy is not
 * the same, or Skyvern refuses it, the workflow stays as it is.
 */
import type { JsonObject } from "../../platform/json.ts";
import type { SkyvernFault } from "../../skyvern/api-call.ts";
import type { SkyvernClient } from "../../skyvern/client.ts";
import { findDifference, findUnsendable, toDefinition } from "../../skyvern/workflow-definition.ts";

export interface AddressChange {
  workflow: string;
  title: string;
  from: string | null;
  to: string | null;
}

/** `isOver`: the other workflows would fail in the same way. */
export type ChangeResult = { ok: true; said: string } | { ok: false; said: string; isOver: boolean };

export interface ChangeDeps {
  client: SkyvernClient;
  /** Called before the workflow is changed. */
  remember(): Promise<void>;
  signal: AbortSignal;
}

export async function changeAddress(change: AddressChange, deps: ChangeDeps): Promise<ChangeResult> {
  const { workflow: id, from, to } = change;
  const found = await deps.client.getWorkflow(id, deps.signal);
  if (!found.ok) return describeFault(found.fault, "nothing was changed");
  const before = found.value;
  const address = addressOf(before);
  if (isSameAddress(address, to)) return { ok: true, said: "has that address already" };
  if (!isSameAddress(address, from))
    return failed("its address was changed meanwhile, and it was left alone: run the command again");
  const unsendable = findUnsendable(before);
  if (unsendable !== null) return failed(`left alone: ${unsendable}. ${BY_HAND}`);
  const definition = toDefinition(before, to);
  const tried = await tryCopy(before, definition, deps);
  if (tried !== null) return tried;
  if (deps.signal.aborted) return { ok: false, said: "stopped; nothing was changed", isOver: true };
  await deps.remember();
  const saved = await deps.client.saveWorkflow(id, definition, deps.signal);
  if (!saved.ok) return describeFault(saved.fault, saved.fault.status === null ? "it may have changed" : "not changed");
  return compareSaved(before, saved.value, to);
}

const BY_HAND = "Set its address in Skyvern's editor";

/** What Skyvern makes of the definition in a workflow of its own, which is removed at once. Null: the same. */
async function tryCopy(
  before: JsonObject,
  definition: JsonObject,
  { client, signal }: Pick<ChangeDeps, "client" | "signal">,
): Promise<ChangeResult | null> {
  const description = "Made by skyvern-relay register to see whether a copy is whole. It may be deleted.";
  const copy = await client.saveWorkflow(null, { ...definition, description }, signal);
  if (!copy.ok) {
    const what = copy.fault.status === null ? "left alone; a copy of it may be in Skyvern's list" : "left alone";
    return describeFault(copy.fault, what);
  }
  const copyId = String(copy.value["workflow_permanent_id"]);
  const deleted = await client.deleteWorkflow(copyId);
  if (!deleted.ok)
    return {
      ok: false,
      said: `left alone: its copy ${copyId} could not be deleted (${deleted.fault.reason})`,
      isOver: true,
    };
  const place = findDifference(before, { ...copy.value, description: before["description"] ?? null });
  return place === null ? null : failed(`left alone: a copy of it was not the same (${place}). ${BY_HAND}`);
}

function compareSaved(before: JsonObject, after: JsonObject, to: string | null): ChangeResult {
  const version = after["version"];
  const place = findDifference(before, after);
  if (place !== null)
    return failed(`changed, but ${place} is not as before: look at version ${String(version)} in Skyvern's editor`);
  if (!isSameAddress(addressOf(after), to)) return failed("Skyvern saved another address than it was given");
  if (Number(version) !== Number(before["version"]) + 1)
    return failed(
      `changed in version ${String(version)}, over one that somebody saved meanwhile: look at both in Skyvern's editor`,
    );
  return { ok: true, said: `${to === null ? "has no address any more" : "changed"} (version ${String(version)})` };
}

const failed = (said: string): ChangeResult => ({ ok: false, said, isOver: false });

const describeFault = ({ kind, reason }: SkyvernFault, what: string): ChangeResult => ({
  ok: false,
  said: kind === "not_found" ? `Skyvern has it no more; ${what}` : `${what}: ${reason}`,
  isOver: kind === "forbidden" || kind === "unavailable" || kind === "rate_limited",
});

/** The address of a workflow's version; Skyvern stores "no address" as null or as an empty text. */
export function addressOf(workflow: JsonObject): string | null {
  const url = workflow["webhook_callback_url"];
  return typeof url === "string" && url !== "" ? url : null;
}

/** Skyvern writes an address its own way: `https://host` becomes `https://host/`. */
export const isSameAddress = (one: string | null, other: string | null): boolean =>
  one === other || (one !== null && other !== null && URL.parse(one)?.href === (URL.parse(other)?.href ?? null));
