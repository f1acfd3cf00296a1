import { html } from "hono/html";
import type { Html } from "../markup.ts";

export interface LoginView {
  /** The relay's own page to return to. */
  to: string;
  fault: string | null;
}

export const loginPage = ({ to, fault }: LoginView): Html =>
  html`<section class="card login">
    <h1>Log in</h1>
    <form method="post" action="/login">
      <input type="hidden" name="to" value="${to}" />
      <input
        class="said"
        type="text"
        name="username"
        value="skyvern-relay"
        autocomplete="username"
        tabindex="-1"
        aria-hidden="true"
        readonly
      />
      <label for="token">Access token</label>
      <input
        id="token"
        name="token"
        type="password"
        autocomplete="current-password"
        required
        autofocus
        maxlength="1000"
        ${fault === null ? "" : html`aria-invalid="true" aria-describedby="fault"`}
      />
      ${fault === null ? "" : html`<p class="error-text" id="fault" role="alert">${fault}</p>`}
      <button class="button primary">Log in</button>
    </form>
    <p class="soft">
      Use one of the tokens in the relay's <code>RELAY_TOKEN</code>, or, if that is not set, the token in the file
      <code>relay.token</code> beside its database.
    </p>
  </section>`;
