import { formatDuration } from "../platform/duration.ts";
import type { Config } from "./config.ts";
import { describeDatabase } from "../store/address.ts";

const databaseName = (database: Config["database"]): string =>
  database.kind === "sqlite" ? `sqlite:${database.path}` : describeDatabase(database);

/** The configuration as `skyvern-relay check --json` shows it, without secrets. */
export function describeConfig(config: Config) {
  return {
    file: config.file,
    keys: config.keys.map(({ name, organization }) => ({ name, organization })),
    base_url: config.baseUrl,
    database: databaseName(config.database),
    listen: { host: config.host, port: config.port, metrics_port: config.metricsPort },
    public_url: config.publicUrl,
    tokens: config.tokens.length,
    sinks: config.sinks.map(({ name, kind, concurrency }) => ({ name, kind, concurrency })),
    routes: config.routes,
    delivery: {
      schedule: config.delivery.scheduleMs.map(formatDuration),
      timeout: formatDuration(config.delivery.timeoutMs),
      artifacts_wait: formatDuration(config.delivery.artifactsWaitMs),
    },
    attachments: config.attachments,
    links_expire_after: formatDuration(config.linkLifeMs),
    archive: config.archive && {
      what: config.archive.what,
      where: config.archive.s3 ? `${config.archive.s3.endpoint}/${config.archive.s3.bucket}` : config.archive.dir,
      max_file: config.archive.maxFile,
      max_total: config.archive.maxTotal,
    },
    retention: {
      runs: config.retention.runsMs === null ? null : formatDuration(config.retention.runsMs),
      raw: config.retention.rawMs === null ? null : formatDuration(config.retention.rawMs),
      hold: config.retention.hold,
    },
    reconcile: config.reconcile && {
      every: formatDuration(config.reconcile.everyMs),
      lookback: formatDuration(config.reconcile.lookbackMs),
      scope: config.reconcile.scope,
      history: config.reconcile.historyMs === null ? null : formatDuration(config.reconcile.historyMs),
      requests_per_hour: config.reconcile.requestsPerHour,
    },
    heartbeat: config.heartbeat && {
      origin: new URL(config.heartbeat.url.reveal()).origin,
      every: formatDuration(config.heartbeat.everyMs),
    },
    alerts: {
      on_dead: config.alerts.onDead,
      on_coverage_gap: config.alerts.onCoverageGap,
      on_disk_low: config.alerts.onDiskLow,
      on_sink_down: config.alerts.onSinkDown,
      down_after: formatDuration(config.alerts.downAfterMs),
      every: formatDuration(config.alerts.everyMs),
    },
    traces: config.tracing && new URL(config.tracing.url).origin,
    confirm: config.confirm,
    body_limit: config.bodyLimit,
    labels: config.labels,
    redact_keys: config.redactKeys,
    allow_private_networks: config.allowPrivateNetworks,
    proxy: config.proxy && { host: new URL(config.proxy.url.reveal()).host, except: config.proxy.except },
    log_level: config.logLevel,
    log_format: config.logFormat,
  };
}
