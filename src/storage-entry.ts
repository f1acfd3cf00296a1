/** The module that the thread of `storage-thread.ts` starts with, from the sources or the bundle. */
export const STORAGE_THREAD = new URL(
  import.meta.url.endsWith(".ts") ? "./storage-thread.ts" : "./storage-thread.js",
  import.meta.url,
);
