/** Says why a receipt caused no delivery, for its line in the log. Pure. */
import type { Accepted } from "../store/contract/receipts.ts";

/** Null when it caused some. */
export function whyNoDelivery({ deliveries, verdict, note, matchedRoutes }: Accepted): string | null {
  if (deliveries > 0) return null;
  switch (verdict) {
    case "duplicate":
      return "it says nothing new";
    case "updated":
      return "the outcome is the same, and no sink asks for updates";
    case "stored":
      return note ?? "the status is not final";
    case "disputed":
      return "Skyvern has not said yet whose run it is";
    case "unrecognized":
      return "no run could be read from it";
    case "accepted":
    case "corrected":
      if (matchedRoutes === null) return note ?? "runs of the past are not delivered";
      return matchedRoutes === 0 ? "no route matched" : "no sink is configured";
  }
}
