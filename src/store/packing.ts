/**
 * States and bodies as they are kept of runs at rest: deflate with a dictionary. A state has its field names and ids' beginnings from one
 * that is built in, a body nearly all from its run's state, which says the same in other words. The format is zlib's (RFC 1950): it names
 * the dictionary it needs and checks what comes out, so that a body beside another state is an error and never other bytes.
 */
import { deflateSync, inflateSync } from "node:zlib";

/**
 * What is frequent stands last, where it is cheapest to name. Never to be changed, as what is stored needs it: another one would be a second
 * beside it.
 */
export const DICTIONARY = Buffer.from(
  [
    `"https://app.skyvern.com/runs/https://app.skyvern.com/workflows/https://api.skyvern.com/v1/artifacts/a_/content?expiry=17&kid=&sig=[redacted]"`,
    `"NAVIGATION_FAILURE","LOGIN_FAILED","DATA_EXTRACTION_FAILURE","ELEMENT_NOT_FOUND","CAPTCHA_DETECTED","PROXY_ERROR","TIMEOUT","UNKNOWN"`,
    `"task_id":"tsk_","task_v1","task_v2","tsk_v2_","workflow_run_id":"wr_","workflow_id":"wpid_","wpid_","organization_id":"o_","browser_session_id":"pbs_"`,
    `,"max_steps_per_run":null,"navigation_goal":"","data_extraction_goal":"","navigation_payload":{},"extracted_information":[{},"script_run":{"ai_fallback_triggered":false}`,
    `{"workflow_id":"wpid_","status":"completed","failure_reason":null,"failure_category":[{"category":"","confidence_float":0.,"reasoning":""}]`,
    `,"proxy_location":"RESIDENTIAL","webhook_callback_url":"https://","webhook_failure_reason":null,"totp_verification_url":null,"totp_identifier":null,"extra_http_headers":null`,
    `,"queued_at":"2026-","started_at":"2026-","finished_at":"2026-","created_at":"2026-","modified_at":"2026-"`,
    `,"screenshot_urls":["https://api.skyvern.com/v1/artifacts/a_/content?expiry=17&kid=&sig=[redacted]","],"recording_url":"https://api.skyvern.com/v1/artifacts/a_`,
    `,"downloaded_files":[{"url":"https://api.skyvern.com/v1/artifacts/a_/content?expiry=17","checksum":"","filename":"","file_size":,"modified_at":"2026-`,
    `,"total_steps":,"total_cost":null,"credits_used":,"step_count":,"workflow_title":"","run_with":"agent","code","errors":[],"run_type":"workflow_run"`,
    `,"run_request":{"workflow_id":"wpid_","title":null,"parameters":{},"proxy_location":"RESIDENTIAL","webhook_url":"https://`,
    `{"run":{"run_id":"tsk_v2_","run_type":"task_v2","kind":"task","status":"failed","reported_status":"failed","terminated","timed_out","canceled"`,
    `{"run":{"run_id":"wr_","run_type":"workflow_run","kind":"workflow","status":"completed","reported_status":"completed","source":"webhook","organization_id":"o_`,
    `,"channel":null,"title":null,"prompt":null,"url":null,"summary":null,"app_url":"https://app.skyvern.com/runs/wr_","workflow":{"run_id":"wr_`,
    `,"permanent_id":"wpid_","id":null,"title":"","output":{"rows_output":[{"id":"","amount":,"currency":"EUR","text":""},"extracted_information":[{`,
    `,"failure":null,"failure":{"reason":"","codes":[],"categories":["],"errors":[]},"parameters":{},"files":[{"key":"a_","name":".pdf","size":,"checksum":"","artifact_id":"a_`,
    `"}],"recording":"a_","screenshots":["a_"],"step_count":null,"created_at":17,"queued_at":17,"started_at":17,"finished_at":17,"modified_at":17,"received_at":17`,
    `},"revision":1,"clock":[1,1,17],"clocks":{},"reported":[1,1,17],"failures":{}}`,
  ].join(""),
);

export const packState = (json: string): Buffer => deflateSync(json, { level: 9, dictionary: DICTIONARY });

/** Throws when it is damaged. */
export const unpackState = (packed: Uint8Array): string =>
  inflateSync(packed, { dictionary: DICTIONARY }).toString("utf8");

export const packBody = (body: Uint8Array, state: string): Buffer =>
  deflateSync(body, { level: 9, dictionary: dictionaryOf(state) });

/** Throws when it is damaged, or was packed beside another state. */
export const unpackBody = (packed: Uint8Array, state: string): Buffer =>
  inflateSync(packed, { dictionary: dictionaryOf(state) });

const dictionaryOf = (state: string): Buffer => Buffer.concat([DICTIONARY, Buffer.from(state)]);
