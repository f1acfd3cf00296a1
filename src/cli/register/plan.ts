/** Which workflows `register` would change, and how. */
import type { Addresses } from "../../receive/own-addresses.ts";
import type { SkyvernFault } from "../../skyvern/api-call.ts";
import type { SkyvernClient } from "../../skyvern/client.ts";
import type { Registered } from "../../store/registered.ts";
import { addressOf, isSameAddress, type AddressChange } from "./change.ts";

/** A change that can be made, with the client whose key opens the workflow. */
export interface Target extends AddressChange {
  client: SkyvernClient;
}

export interface PlanFault {
  ok: false;
  /** The name of the key that was asked with. */
  key: string;
  fault: SkyvernFault;
}

export interface RegisterPlan {
  ok: true;
  /** The workflows whose webhooks lead here. */
  here: string[];
  /** The others, in Skyvern's order. */
  targets: Target[];
}

/** Asks for the workflows of every key; the first fault ends it. */
export async function planRegister(
  client: SkyvernClient,
  { pointsHere, to }: Pick<Addresses, "pointsHere"> & { to: string },
  signal: AbortSignal,
): Promise<RegisterPlan | PlanFault> {
  const known = new Set<string>();
  const plan: RegisterPlan = { ok: true, here: [], targets: [] };
  for (const { name: key, client: own } of client.perKey()) {
    const listed = await own.listWorkflows(signal);
    if (!listed.ok) return { ok: false, key, fault: listed.fault };
    for (const { workflow_permanent_id: workflow, title, webhook_callback_url: url } of listed.value) {
      if (known.has(workflow)) continue;
      known.add(workflow);
      if (pointsHere(url)) plan.here.push(workflow);
      else plan.targets.push({ client: own, workflow, title: title ?? workflow, from: url || null, to });
    }
  }
  return plan;
}

export interface UndoPlan {
  ok: true;
  targets: Target[];
  /** Workflows that are left alone. `isOver`: there is nothing to go back to any more. */
  passed: { workflow: string; why: string; isOver: boolean }[];
}

/** Looks at every remembered workflow; the first fault ends it. */
export async function planUndo(
  client: SkyvernClient,
  remembered: readonly Registered[],
  signal: AbortSignal,
): Promise<UndoPlan | PlanFault> {
  const plan: UndoPlan = { ok: true, targets: [], passed: [] };
  for (const { workflow, title, before: to, after } of remembered) {
    const owner = await findOwner(client, workflow, signal);
    if (!owner.ok) return owner;
    if (owner.client === null)
      plan.passed.push({ workflow, why: "no key here opens it, or it was deleted", isOver: false });
    else if (isSameAddress(owner.address, to))
      plan.passed.push({ workflow, why: "it has its old address already", isOver: true });
    else if (isSameAddress(owner.address, after))
      plan.targets.push({ client: owner.client, workflow, title, from: owner.address, to });
    else plan.passed.push({ workflow, why: "it was given another address since, which stays", isOver: true });
  }
  return plan;
}

/** The key that opens a workflow, and the workflow's address; no client when it is gone. */
async function findOwner(
  client: SkyvernClient,
  workflow: string,
  signal: AbortSignal,
): Promise<{ ok: true; client: SkyvernClient | null; address: string | null } | PlanFault> {
  for (const { name: key, client: own } of client.perKey()) {
    const answer = await own.getWorkflow(workflow, signal);
    if (answer.ok) return { ok: true, client: own, address: addressOf(answer.value) };
    if (answer.fault.kind !== "not_found") return { ok: false, key, fault: answer.fault };
  }
  return { ok: true, client: null, address: null };
}
