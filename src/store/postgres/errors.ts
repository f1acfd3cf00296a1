/**
 * Maps PostgreSQL's errors to the Store's: the server's answers by SQLSTATE, lost connections by Node's code or pg's
 * message.
 */
import { StorageFault } from "../contract/faults.ts";

/**
 * SQLSTATEs that concern the database itself (https://www.postgresql.org/docs/current/errcodes-appendix.html). By
 * class: connection (08), authorization (28, a password that was changed), no such database (3D), resources (53), an
 * operator or a shutdown (57), the operating system (58), damage (XX). By code: a statement whose end is unknown, a
 * standby that takes no writes, a transaction or lock that waited too long, a missing right.
 */
const STORAGE_STATES = /^(08|28|3D|53|57|58|XX)|^(25006|25P03|40003|42501|55P03|F0000)$/;

/** Two transactions that could not be serialized, and two that deadlocked. */
const CONFLICT_STATES = new Set(["40001", "40P01"]);
/** Another transaction has inserted the row since this one looked for it. */
const UNIQUE_VIOLATION = "23505";

/**
 * pg's messages for a connection that ended or does not answer. pg has neither a class nor a code for these; a test
 * asks pg for each.
 */
const LOST = /^(Connection terminated|Query read timeout|Client has encountered a connection error|Client was closed)/;

interface ServerError extends Error {
  code: string;
}

/**
 * An answer of the server, pg's DatabaseError. It is recognized by its fields, so that pg is loaded only when it is
 * used.
 */
const isServerError = (error: unknown): error is ServerError =>
  error instanceof Error && "severity" in error && "code" in error && typeof error.code === "string";

/** True when the same transaction may succeed when it runs again from the start. */
export const mayRunAgain = (error: unknown): boolean =>
  isServerError(error) && (CONFLICT_STATES.has(error.code) || error.code === UNIQUE_VIOLATION);

/**
 * The error of a statement as the Store throws it. A bug stays as it is, and so does an error that {@link mayRunAgain}.
 */
export function toStorageFault(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (isServerError(error)) return STORAGE_STATES.test(error.code) ? answerFault(error) : error;
  // Node's system errors name the call that failed.
  return "syscall" in error || LOST.test(error.message) ? connectionFault(error) : error;
}

/** Why no connection could be made. The message never holds the address, which contains a password. */
export function connectionFault(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof TypeError) return error;
  if (isServerError(error)) return answerFault(error);
  // When several addresses were tried, Node gives a code but no message.
  const reason = error.message || ("code" in error && typeof error.code === "string" ? error.code : error.name);
  return new StorageFault(`no connection to PostgreSQL: ${reason}`, { cause: error });
}

/** The final error of a transaction that will not run again. */
export const toFinalFault = (error: unknown): unknown =>
  isServerError(error) && CONFLICT_STATES.has(error.code) ? answerFault(error) : error;

const answerFault = (error: ServerError): StorageFault =>
  new StorageFault(`${error.code}: ${error.message}`, { cause: error });
