/** A stand-in for Skyvern that fails when a test orders it. */
import * as plain from "../../src/stand-ins/skyvern.ts";
import { detail, EMPTY_404, json } from "../../src/stand-ins/skyvern/answer.ts";

/** What the next matching request gets instead of an answer. Matching entries are consumed in order. */
export interface StandInFault {
  /** Tested against `/v1/runs/wr_1/artifacts`; absent: every path. */
  on?: RegExp;
  /** Default: 1. */
  times?: number;
  status?: number;
  headers?: Record<string, string>;
  /** Default: Skyvern's own body for the status. */
  body?: string;
  /** `hang`: no answer. `reset`: the connection breaks. `half`: it breaks after the first half of the answer's body. */
  instead?: "hang" | "reset" | "half";
}

export interface StandInSkyvern extends plain.StandInSkyvern {
  readonly faults: StandInFault[];
}

export async function startSkyvern(options: plain.StandInSkyvernOptions): Promise<StandInSkyvern> {
  const faults: StandInFault[] = [];
  const standIn = await plain.startSkyvern({
    ...options,
    intercept: ({ path }, { response, answer }) => {
      const fault = takeFault(faults, path);
      if (fault === undefined) return false;
      if (fault.instead === "hang") return true;
      if (fault.instead === "reset") {
        response.socket?.destroy();
        return true;
      }
      const isHalf = fault.instead === "half";
      const { status, headers, body } = isHalf ? answer() : answerOfFault(fault);
      const length = Buffer.byteLength(body);
      response.writeHead(status, { ...headers, "content-length": length });
      if (isHalf) response.write(body.slice(0, length / 2), () => response.socket?.destroy());
      else response.end(body);
      return true;
    },
  });
  return { ...standIn, faults };
}

function takeFault(faults: StandInFault[], path: string): StandInFault | undefined {
  const index = faults.findIndex(({ on }) => on === undefined || on.test(path));
  const fault = faults[index];
  if (!fault) return undefined;
  const left = (fault.times ?? 1) - 1;
  if (left > 0) faults[index] = { ...fault, times: left };
  else faults.splice(index, 1);
  return fault;
}

function answerOfFault({ status = 500, headers, body }: StandInFault): plain.StandInAnswer {
  const own: Record<number, plain.StandInAnswer> = {
    403: detail(403, "Invalid credentials"),
    404: EMPTY_404,
    429: detail(429, "Rate limit exceeded: 100 per 1 minute"),
    500: json(500, { error: "Unexpected error: OperationalError" }),
    503: detail(503, "Service Unavailable"),
  };
  const answer = own[status] ?? detail(status, "A fault on order");
  return { status, headers: { ...answer.headers, ...headers }, body: body ?? answer.body };
}
