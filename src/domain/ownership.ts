/**
 * Whose a run is. Most payloads name no organization and run ids are no secrets, so that only Skyvern can say: it shows a
 * run to the keys of its organization alone. Pure.
 */
import type { Organization, RunState } from "./run.ts";

/**
 * Whether an organization may speak for a run without Skyvern being asked. `configured`: those that have a key. Nobody can
 * be asked about owners whose keys are gone, so that whoever comes next takes their place.
 */
export const maySpeakFor = (
  { owners }: Pick<RunState, "owners">,
  organization: Organization,
  configured: readonly Organization[],
): boolean => owners.includes(organization) || !owners.some((owner) => configured.includes(owner));
