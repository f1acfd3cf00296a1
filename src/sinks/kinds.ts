/** Every kind of sink, by its name in the configuration. */
export { default as email } from "./email/index.ts";
export { default as http } from "./http/index.ts";
export { default as slack } from "./slack/index.ts";
