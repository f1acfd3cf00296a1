import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/edge/inside/**", "node_modules/**"],
    // By itself vitest leaves one of two cores idle.
    maxWorkers: 2,
    // What hangs is ended by them; what is only slow on a busy machine is not.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
    globalSetup: "test/support/global.ts",
  },
});
