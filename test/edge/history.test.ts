/** The suites of the history API, with relays inside workerd. */
import { relaysInWorkerd } from "./on-the-edge.ts";

await relaysInWorkerd();
await import("../http/artifacts.test.ts");
await import("../http/history.test.ts");
await import("../http/openapi.test.ts");
await import("../http/run-detail.test.ts");
await import("../http/search.test.ts");
await import("../http/sinks.test.ts");
await import("../http/statistics.test.ts");
