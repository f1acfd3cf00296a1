/**
 * The Slack app of a relay, as a link that opens Slack's form filled in
 * (https://docs.slack.dev/app-manifests/configuring-apps-with-app-manifests).
 */

/** Each scope, and what it is for. */
export const SCOPES: Readonly<Record<string, string>> = {
  "chat:write": "to post",
  "files:write": "pictures and files; without it messages have links only",
  "channels:history": "to find out after a lost answer whether a message arrived",
  "groups:history": "the same in private channels",
  "channels:read": "doctor sees whether the app is in the channel",
  "groups:read": "the same for private channels",
};

const NAME = "Skyvern results";

export const MANIFEST = {
  display_information: { name: NAME, description: "Reports how Skyvern runs ended" },
  features: { bot_user: { display_name: NAME, always_online: true } },
  oauth_config: { scopes: { bot: Object.keys(SCOPES) } },
  settings: { org_deploy_enabled: false, socket_mode_enabled: false, token_rotation_enabled: false },
};

export const slackAppLink = (): string =>
  `https://api.slack.com/apps?new_app=1&manifest_json=${encodeURIComponent(JSON.stringify(MANIFEST))}`;
