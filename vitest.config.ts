import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/edge/inside/**", "node_modules/**"],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    globalSetup: "test/support/global.ts",
  },
});
