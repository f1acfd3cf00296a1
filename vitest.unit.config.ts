/** The quick part of the tests: what needs no listening server, child process, PostgreSQL or browser. */
import { defineConfig, mergeConfig } from "vitest/config";
import whole from "./vitest.config.ts";

const include = [
  "test/{config,domain,history,platform,deliver,store}/**/*.test.ts",
  "test/architecture.test.ts",
  "test/alerts/rules.test.ts",
  "test/receive/{crash,settle,verify}.test.ts",
  "test/skyvern/{artifact-url,normalize,payload,redact,webhook-numbers}.test.ts",
];
const exclude = ["test/store/{damaged,fleet,postgres*}.test.ts"];

const { test, ...others } = whole;
export default mergeConfig(
  { ...others, test: { ...test, include: [] } },
  // The files share their modules: loading them anew for each takes a third of the time.
  { test: { include, exclude, isolate: false, env: { RELAY_TEST_STORES: "sqlite" } } },
);
