import { describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config/config.ts";

const load = (file: string, env: Record<string, string> = {}) =>
  loadConfig({ env: { SKYVERN_API_KEY: "key", ...env }, readFile: () => file });
function configOf(file: string, env?: Record<string, string>) {
  const loaded = load(file, env);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.faults));
  return loaded.config;
}
const faultOf = (file: string): string => {
  const loaded = load(file);
  return loaded.ok ? "" : loaded.faults.map(({ where, message }) => `${where} ${message}`).join();
};

const S3 = "{ endpoint: https://s3.example.com/, bucket: runs, access_key_id: id, secret_access_key: s3cret }";

describe("attachments", () => {
  it("the screenshots and files of messages can be turned off and bounded", () => {
    expect(configOf("attachments: { screenshots: false, max_bytes: 2MB, max_total: 5MB }").attachments).toEqual({
      screenshots: false,
      files: true,
      maxBytes: 2_000_000,
      maxTotal: 5_000_000,
    });
    expect(faultOf("attachments: { max_bytes: 1GB }")).toContain("from 1kB to 50MB");
  });
});

describe("the archive", () => {
  it("the archive is off by default, and then beside the database", () => {
    expect(configOf("artifacts: { max_file: 2GB }").archive).toBeNull();
    expect(configOf("artifacts: { archive: off }").archive).toBeNull();
    const at = (env?: Record<string, string>) => configOf("artifacts: { archive: all }", env).archive?.dir;
    expect(at()).toBe("./data/artifacts");
    expect(at({ DATABASE_URL: "sqlite:/data/relay.db" })).toBe("/data/artifacts");
    expect(at({ DATABASE_URL: "sqlite::memory:" })).toBe("./data/artifacts");
  });

  it("the archive has limits", () => {
    const archive = configOf("artifacts: { archive: screenshots, dir: /copies, max_total: 1TB }").archive;
    expect(archive).toEqual({
      what: "screenshots",
      dir: "/copies",
      s3: null,
      maxFile: 1_000_000_000,
      maxTotal: 1_000_000_000_000,
    });
  });

  it("the archive can be S3-compatible storage, which is the operator's infrastructure and never shows its key", () => {
    const config = configOf(`artifacts: { archive: all, s3: ${S3} }`);
    expect(config.archive?.s3).toMatchObject({
      endpoint: "https://s3.example.com",
      bucket: "runs",
      region: "auto",
      prefix: "skyvern-relay/",
    });
    expect(config.archive?.s3?.secretAccessKey.reveal()).toBe("s3cret");
    expect(JSON.stringify(config)).not.toContain("s3cret");
    expect(config.trustedOrigins).toContain("https://s3.example.com");
  });

  it.each([
    ["artifacts: { archive: everything }", "artifacts.archive"],
    ["artifacts: { archive: all, s3: { bucket: runs } }", "artifacts.s3.endpoint"],
    [`artifacts: { archive: all, s3: ${S3.replace("runs", "Runs/x")} }`, "must be a bucket name"],
    ["artifacts: { expiry: 1m }", "artifacts.expiry"],
    ["artifacts: { max_file: 1 }", "from 1kB to 5GB"],
    ["artifacts: { folder: x }", "folder"],
  ])("the configuration %s is a fault that names the key", (file, words) => {
    expect(faultOf(file)).toContain(words);
  });
});
