import { findKind } from "../../src/sinks/kinds.ts";
import type { Sink, SinkDeps } from "../../src/sinks/sink.ts";

export type Kind = string;

/** Makes the sink `it` of a kind, from what relay.yaml says of it. */
export type MakeSink = (kind: Kind, config: Record<string, unknown>, deps: SinkDeps) => Sink;

let make: MakeSink = (kind, config, deps) => {
  const { create, config: schema } = findKind(kind);
  return create("it", schema.parse(config), deps);
};

/** Whether a sink of the kind can tell a connection that was refused from one that broke after the message was sent. */
export let tellsRefusal = (_kind: Kind): boolean => true;

/** All sinks of this file are made elsewhere from now on. */
export const useMaker = (other: MakeSink, tells: typeof tellsRefusal): void => {
  make = other;
  tellsRefusal = tells;
};

export const makeSink: MakeSink = (...given) => make(...given);
