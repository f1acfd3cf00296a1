/** The edge entry as one file, as it is deployed. */
import { readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "esbuild";

/** Packages from before `node:` names its modules without it; the platform knows them only with it. */
const nodePrefix: Plugin = {
  name: "node-prefix",
  setup: ({ onResolve }) => {
    const bare = new RegExp(`^(${builtinModules.filter((name) => !name.includes(":")).join("|")})$`);
    onResolve({ filter: bare }, ({ path }) => ({ path: `node:${path}`, external: true }));
  },
};

/** What pages load is text in the bundle, scripts too. */
const pageAssets: Plugin = {
  name: "page-assets",
  setup: ({ onLoad }) =>
    onLoad({ filter: /\/web\/assets\/[^/]+\.(?:js|css|svg)$/ }, ({ path }) => ({
      contents: readFileSync(path),
      loader: "text",
    })),
};

const replacing = (replace: NonNullable<BundleOptions["replace"]>): Plugin => ({
  name: "replacing",
  setup: ({ onResolve }) => {
    for (const [filter, path] of replace) onResolve({ filter }, () => ({ path }));
  },
});

export interface BundleOptions {
  /** Default: the relay's. */
  entry?: string;
  /** Modules in place of others, by name. */
  alias?: Record<string, string>;
  /** Modules in place of others, by what their imports look like. */
  replace?: readonly (readonly [imported: RegExp, path: string])[];
  minify?: boolean;
}

const ENTRY = fileURLToPath(new URL("../../src/edge/worker.ts", import.meta.url));

/** The file's text. Rejects when something cannot be resolved. */
export async function bundleEdge(options: BundleOptions = {}): Promise<string> {
  const { entry = ENTRY, alias = {}, replace = [], minify = true } = options;
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "esm",
    platform: "neutral",
    target: "es2024",
    mainFields: ["module", "main"],
    conditions: ["workerd", "worker", "module", "import"],
    external: ["node:*", "cloudflare:*"],
    loader: { ".sql": "text" },
    alias,
    minify,
    // Names of classes show in errors.
    keepNames: true,
    // Packages in CommonJS call for Node's modules as they run.
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire("/");' },
    plugins: [nodePrefix, pageAssets, replacing(replace)],
    logLevel: "error",
  });
  return outputFiles[0]?.text ?? "";
}
