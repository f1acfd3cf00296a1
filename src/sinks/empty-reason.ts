/** Whether a reason of Skyvern's says nothing to a reader. Pure. */
export const isEmptyReason = (reason: string): boolean => reason.trim() === "" || NOTHING.test(reason);

/** Of a block that ended because its run did; and that only a state changed, as after a pause. */
const NOTHING = /^(?:Workflow run \w{1,30}: child entity cascade cleanup\.|status_changed(?::\w{1,40})?)$/;
