/**
 * A signal that aborts with its parent, or after a time. `AbortSignal.any` of an `AbortSignal.timeout` says the same, and costs several
 * times as much: it keeps every signal for the garbage collector to find.
 */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Whether the time was over, and not the parent aborted. */
  isOver(): boolean;
  /** Neither counts any more. To be called when all that used the signal is done. */
  end(): void;
}

/** `ms` from now. The signal's reason is a `TimeoutError`, or the parent's. */
export function deadlineIn(ms: number, parent?: AbortSignal): Deadline {
  const controller = new AbortController();
  let over = false;
  const timer = setTimeout(() => {
    over = true;
    controller.abort(new DOMException("The operation was aborted due to timeout", "TimeoutError"));
  }, ms);
  timer.unref();
  const follow = (): void => controller.abort(parent?.reason);
  if (parent?.aborted) follow();
  else parent?.addEventListener("abort", follow, { once: true });
  return {
    signal: controller.signal,
    isOver: () => over,
    end: () => {
      clearTimeout(timer);
      parent?.removeEventListener("abort", follow);
    },
  };
}
