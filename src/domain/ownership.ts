/**
 * Decides whose a run is. Most payloads name no organization and run ids are not secret, so only Skyvern can say: it
 * shows a run only to the keys of its organization. Pure.
 */
import type { Organization, RunState } from "./run.ts";

/**
 * True when an organization may speak for a run without a question to Skyvern. `configured`: the organizations that
 * have a key. An owner whose keys are gone cannot be asked about, so the next organization takes its place.
 */
export const maySpeakFor = (
  { owners }: Pick<RunState, "owners">,
  organization: Organization,
  configured: readonly Organization[],
): boolean => owners.includes(organization) || !owners.some((owner) => configured.includes(owner));
