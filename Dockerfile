# The relay in one small image. Everything it writes is in /data.
FROM node:26-slim AS package
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY . .
RUN scripts/package /app && cd /app && npm ci --omit=dev --ignore-scripts

FROM node:26-slim
# The relay never runs as root. Hosts that hand out volumes owned by root (Fly) build with RUN_AS=root: then the
# entrypoint gives the folder to `node` first and drops its rights after that.
ARG RUN_AS=node
# Two arenas: with one a thread, the C library keeps tens of megabytes after a large artifact passed (bench/archive).
# A young generation of 8 MB: V8's default grows while the program starts, and an idle relay holds it for nothing. 124
# instead of 137 MB idle, and a quarter less at the highest (bench/durable), at the same CPU time a run.
ENV NODE_ENV=production DATABASE_URL=sqlite:/data/relay.db MALLOC_ARENA_MAX=2 NODE_OPTIONS=--max-semi-space-size=8
WORKDIR /app
COPY --from=package /app ./
RUN mkdir /data && chown node:node /data
VOLUME /data
USER ${RUN_AS}
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=3s --start-period=5s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 8080}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["/app/bin/entrypoint"]
CMD ["serve"]
