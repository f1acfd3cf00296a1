/** PostgreSQL's errors as the Store throws them: answers told apart by SQLSTATE, lost connections by Node's code or pg's words. */
import { StorageFault } from "../contract/faults.ts";

/**
 * The database's own troubles (https://www.postgresql.org/docs/current/errcodes-appendix.html), by class: connection (08), authorization
 * (28, a password that was changed), no such database (3D), resources (53), an operator or a shutdown (57), the system under it (58),
 * damage (XX). By code: a statement whose end is not known, a standby that takes no writes, a transaction or lock that was waited for too
 * long, a right that is missing.
 */
const STORAGE_STATES = /^(08|28|3D|53|57|58|XX)|^(25006|25P03|40003|42501|55P03|F0000)$/;

/** Two transactions that could not be put in an order, and two that waited for each other. */
const CONFLICT_STATES = new Set(["40001", "40P01"]);
/** Another transaction has made the row since this one looked for it. */
const UNIQUE_VIOLATION = "23505";

/** What pg says of a connection that ended or does not answer. It has neither a class nor a code for these; a test asks pg for each. */
const LOST = /^(Connection terminated|Query read timeout|Client has encountered a connection error|Client was closed)/;

interface ServerError extends Error {
  code: string;
}

/** What the server answered, pg's DatabaseError: pg itself is only loaded by who uses it. */
const isServerError = (error: unknown): error is ServerError =>
  error instanceof Error && "severity" in error && "code" in error && typeof error.code === "string";

/** Whether the same transaction may succeed when it is run again from the start. */
export const mayRunAgain = (error: unknown): boolean =>
  isServerError(error) && (CONFLICT_STATES.has(error.code) || error.code === UNIQUE_VIOLATION);

/** What a statement failed for. A bug stays as it is, and so does what {@link mayRunAgain}. */
export function toStorageFault(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (isServerError(error)) return STORAGE_STATES.test(error.code) ? answerFault(error) : error;
  // Node's errors of the system name the call that failed.
  return "syscall" in error || LOST.test(error.message) ? connectionFault(error) : error;
}

/** Why no connection could be had, whatever the reason. Its message never holds the address, which has a password in it. */
export function connectionFault(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof TypeError) return error;
  if (isServerError(error)) return answerFault(error);
  // Of several addresses that were tried, Node gives no message but the code.
  const reason = error.message || ("code" in error && typeof error.code === "string" ? error.code : error.name);
  return new StorageFault(`no connection to PostgreSQL: ${reason}`, { cause: error });
}

/** What a transaction failed for that is not run again any more. */
export const toFinalFault = (error: unknown): unknown =>
  isServerError(error) && CONFLICT_STATES.has(error.code) ? answerFault(error) : error;

const answerFault = (error: ServerError): StorageFault =>
  new StorageFault(`${error.code}: ${error.message}`, { cause: error });
