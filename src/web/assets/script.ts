/** Comfort only: every page works without it. */
export const SCRIPT = `"use strict";
(() => {
  const all = (selector) => document.querySelectorAll(selector);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const now = new Date();
  const day = (date) => date.toDateString();
  const format = (date, style) => {
    const parts = { hour: "2-digit", minute: "2-digit" };
    if (style === "full") parts.second = "2-digit";
    if (style === "full" || day(date) !== day(now)) Object.assign(parts, { day: "numeric", month: "short" });
    if (date.getFullYear() !== now.getFullYear()) parts.year = "numeric";
    return new Intl.DateTimeFormat(undefined, parts).format(date);
  };
  for (const time of all("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    time.title = time.dateTime.replace("T", " ").replace("Z", " UTC");
    time.textContent = format(date, time.dataset.style);
  }
  for (const place of all("[data-zone]")) if (zone) place.textContent = "Times are in your zone, " + zone + ".";

  for (const button of all("button[data-copy]")) {
    const from = document.getElementById(button.dataset.copy);
    if (!from || !navigator.clipboard) continue;
    button.hidden = false;
    const label = button.textContent;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(from.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not allowed";
      }
      setTimeout(() => { button.textContent = label; }, 1500);
    });
  }

  // Filters left empty stay out of the address.
  for (const form of all("form[data-sparse]")) {
    form.addEventListener("submit", () => {
      for (const field of form.elements) if (field.name && field.value === "") field.disabled = true;
    });
  }
  // One click, one act.
  for (const form of all("form[method=post]")) {
    form.addEventListener("submit", () => {
      for (const button of form.querySelectorAll("button")) setTimeout(() => { button.disabled = true; });
    });
  }
  addEventListener("pageshow", () => {
    for (const field of all("form[data-sparse] :disabled, form[method=post] button:disabled")) field.disabled = false;
  });
})();
`;
