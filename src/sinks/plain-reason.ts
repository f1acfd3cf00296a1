/**
 * A reason as a person reads it: without what Skyvern puts before the words of the block (contract §9), which stand
 * behind up to two of its own phrases. `place`: the block is named beside it, so that the reason need not. Null for a
 * reason that says nothing. Pure.
 */
export function plainReason(reason: string | null, place: "named" | "unnamed" = "named"): string | null {
  if (reason === null || reason.trim() === "" || CLEANUP.test(reason)) return null;
  const words = place === "named" ? reason.replace(OF_BLOCK, "") : reason;
  return words.replace(OF_CODE, "").replace(EXCEPTIONS, "$1 ($2)");
}

const OF_BLOCK = /^\w{1,60} block (?:failed\. failure reason|(?:terminated|timed out)\. Reason): (?=\S)/;
const OF_CODE =
  /(?<=^|^code block failed\. failure reason: )Failed to execute code block\. Reason: (?:Exception: )?(?=\S)/;
/** What a task's reason ends with: a list as Python prints it. */
const EXCEPTIONS = /(\S)\(Exceptions: \[(.{1,2000})\]\)$/s;
/** Of a block that ended because its run did. */
const CLEANUP = /^Workflow run \w{1,30}: child entity cascade cleanup\.$/;
