/** The suites of receiving and delivering, with relays inside workerd. */
import { relaysInWorkerd } from "./on-the-edge.ts";

await relaysInWorkerd();
await import("../receive/fixtures.test.ts");
await import("../receive/corrections.test.ts");
await import("../reconcile/ingest.test.ts");
