/** The result of each of doctor's checks. */
import type { Diagnosis } from "../../sinks/diagnosis.ts";

export { fault, ok, reasonOf, warning, type Diagnosis } from "../../sinks/diagnosis.ts";

/**
 * One line of the table. `check` is a name that scripts may rely on: `node`, `database`, `key <name>`, `sink <name>`, …
 */
export type Finding = { check: string } & Diagnosis;

export const about = (check: string, ...diagnoses: readonly Diagnosis[]): Finding[] =>
  diagnoses.map((diagnosis) => ({ check, ...diagnosis }));
