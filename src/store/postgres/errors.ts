/** PostgreSQL's errors, told apart by their SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html). */
import { DecisionCrashed, StorageFault } from "../store.ts";

/**
 * The database's own troubles, by class: connection (08), authorization (28, a password that was changed), no such database
 * (3D), resources (53), an operator or a shutdown (57), the system under it (58), damage (XX). By code: a statement whose end is not
 * known, a standby that takes no writes, a transaction or lock that was waited for too long, a right that is missing.
 */
const STORAGE_STATES = /^(08|28|3D|53|57|58|XX)|^(25006|25P03|40003|42501|55P03|F0000)$/;

/**
 * The same transaction may be right when it is run again: two that could not be put in an order, two that waited for each
 * other, and a row that another has made since we looked for it.
 */
const AGAIN_STATES = new Set(["40001", "40P01", "23505"]);

interface WithState {
  code: string;
  severity: string;
}

/** What the server answered. Everything else that a client throws is about the connection. */
const isAnswer = (error: unknown): error is Error & WithState =>
  error instanceof Error && "code" in error && "severity" in error && typeof error.code === "string";

export const mayRunAgain = (error: unknown): boolean => isAnswer(error) && AGAIN_STATES.has(error.code);

/** Whether the connection it happened on is of no use any more. */
export const endsConnection = (error: unknown): boolean =>
  !isAnswer(error) || error.severity === "FATAL" || error.severity === "PANIC";

/** The error as the Store throws it. Its message never holds the address, which has a password in it. */
export function faultOf(error: unknown): unknown {
  if (
    error instanceof StorageFault ||
    error instanceof DecisionCrashed ||
    !(error instanceof Error) ||
    error instanceof TypeError
  )
    return error;
  if (!isAnswer(error)) return new StorageFault(`no connection to PostgreSQL: ${wordsOf(error)}`, { cause: error });
  if (!STORAGE_STATES.test(error.code) && !AGAIN_STATES.has(error.code)) return error;
  return error.code === "23505" ? error : new StorageFault(`${error.code}: ${error.message}`, { cause: error });
}

/** Of several addresses that were tried, Node gives no message but the code. */
const wordsOf = (error: Error): string =>
  error.message || ("code" in error && typeof error.code === "string" ? error.code : error.name);
