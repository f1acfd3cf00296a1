import type { Context } from "hono";

/** The other end of a request's connection, as the host knows it; throws when there is none. */
export type AddressOf = (c: Context) => string | undefined;

/** The same as a name to count by, also where there is no connection. */
export function addressIn(c: Context, addressOf: AddressOf): string {
  try {
    return addressOf(c) ?? "unknown";
  } catch {
    // Not behind a socket: the app was called as a function.
    return "none";
  }
}
