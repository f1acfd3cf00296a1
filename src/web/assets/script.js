/** Comfort only: every page works without it. Pages declare for htmx what follows along; this script says when. */
"use strict";
(() => {
  const all = (selector, root = document) => root.querySelectorAll(selector);

  // --- times in the reader's zone ---
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const format = (date, style) => {
    const now = new Date();
    // As messages write them, whatever the browser is used to.
    const parts = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    if (style === "full") parts.second = "2-digit";
    if (style === "full" || date.toDateString() !== now.toDateString())
      Object.assign(parts, { day: "numeric", month: "short" });
    if (date.getFullYear() !== now.getFullYear()) parts.year = "numeric";
    return new Intl.DateTimeFormat(undefined, parts).format(date);
  };
  const localize = (root) => {
    for (const time of all("time[datetime]", root)) {
      const date = new Date(time.dateTime);
      if (Number.isNaN(date.getTime())) continue;
      time.title = time.dateTime.replace("T", " ").replace("Z", " UTC");
      time.textContent = format(date, time.dataset.style);
    }
    for (const title of all("title[data-at]", root)) {
      const text = title.textContent;
      title.textContent = format(new Date(title.dataset.at), "short") + text.slice(text.indexOf(" UTC") + 4);
      title.removeAttribute("data-at");
    }
  };
  const dress = (root) => {
    localize(root);
    if (navigator.clipboard) for (const button of all("[data-copy], [data-copy-file]", root)) button.hidden = false;
    mark(isFollowing);
  };

  // --- buttons and forms ---
  const copyFor = async (button) => {
    const label = (button.dataset.label ??= button.textContent);
    const { copy, copyFile } = button.dataset;
    try {
      const text = copy ? document.getElementById(copy).textContent : await (await fetch(copyFile)).text();
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => {
      button.textContent = label;
    }, 1500);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy], [data-copy-file]");
    if (button) void copyFor(button);
  });
  document.addEventListener("submit", ({ target: form }) => {
    // Filters left empty stay out of the address.
    if (form.matches("[data-sparse]"))
      for (const field of form.elements) if (field.name && field.value === "") field.disabled = true;
    // One click, one act.
    if (form.method === "post")
      for (const button of all("button", form))
        setTimeout(() => {
          button.disabled = true;
        });
    setTimeout(() => {
      if (form.matches("[data-sparse]")) enable();
    }, 500);
  });
  const enable = () => {
    for (const field of all("form[data-sparse] :disabled, form[method=post] button:disabled")) field.disabled = false;
  };
  document.addEventListener("htmx:configRequest", ({ detail }) => {
    const { formData } = detail;
    for (const name of new Set(formData.keys())) {
      const values = formData.getAll(name).filter((value) => value !== "");
      formData.delete(name);
      for (const value of values) formData.append(name, value);
    }
  });

  // --- pictures and recordings that are not there ---
  const withoutPicture = (image) => {
    const words = document.createElement("span");
    words.className = "soft caption";
    words.textContent = "Screenshot not available";
    image.closest("a").replaceWith(words);
  };
  const withoutRecording = async (video) => {
    video.hidden = true;
    const firstByte = async () => {
      const answer = await fetch(video.src, { headers: { range: "bytes=0-0" } });
      const { value } = await answer.body.getReader().read();
      return answer.ok && value !== undefined;
    };
    const isThere = await firstByte().catch(() => false);
    for (const note of all("[data-recording]", video.parentElement))
      note.hidden = note.dataset.recording !== (isThere ? "unplayable" : "gone");
    for (const row of all("[data-recording-actions]", video.parentElement)) row.hidden = !isThere;
  };
  const isPicture = (one) => one.matches("main a > img");
  document.addEventListener(
    "error",
    ({ target }) => {
      if (target instanceof HTMLVideoElement) void withoutRecording(target);
      else if (target instanceof HTMLImageElement && isPicture(target)) withoutPicture(target);
    },
    // Errors of media do not bubble.
    true,
  );
  // Those that failed before this script ran.
  for (const image of all("main a > img")) if (image.complete && image.naturalWidth === 0) withoutPicture(image);
  for (const video of all("video")) if (video.error) void withoutRecording(video);
  // Skyvern is asked for a recording's first bytes once its place is seen.
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      target.preload = "metadata";
    }
  });
  for (const video of all("video")) seen.observe(video);

  // --- following along ---
  let isFollowing = false;
  const mark = (is) => {
    isFollowing = is;
    for (const one of all("[data-live-mark]")) one.hidden = !is;
    for (const one of all("[data-live-hide]")) one.hidden = is;
  };
  const source = document.querySelector("[data-live]");
  const newItems = document.querySelector("[data-new-items]");
  const changed = () => document.body.dispatchEvent(new Event("relay:changed"));
  const offer = (text, act) => {
    if (!newItems) return;
    if (newItems.textContent !== text) newItems.textContent = text;
    newItems.hidden = false;
    // oxlint-disable-next-line unicorn/prefer-add-event-listener -- it takes the place of the act before
    newItems.onclick = act;
  };
  /** Asked for by the reader: then nothing is held back. */
  let isWanted = false;
  const show = () => {
    isWanted = true;
    scrollTo({ top: 0 });
    changed();
  };
  const isBusy = (part) =>
    part.contains(document.activeElement) ||
    part.querySelector("details[open]") !== null ||
    (!getSelection().isCollapsed && part.contains(getSelection().anchorNode));

  /** Rows that are shown already are changed where they stand; how many others there are is offered. */
  const hold = (part, fresh) => {
    let unseen = 0;
    for (const row of all("tr[id]", fresh)) {
      const known = document.getElementById(row.id);
      if (!known) unseen += 1;
      else if (!known.contains(document.activeElement)) {
        localize(row);
        if (known.innerHTML !== row.innerHTML) known.replaceWith(document.adoptNode(row));
      }
    }
    const what = newItems.dataset.newItems === "delivery" ? ["delivery", "deliveries"] : ["run", "runs"];
    const most = all("tr[id]", fresh).length;
    if (unseen > 0)
      offer(unseen + (unseen >= 50 && unseen >= most ? "+" : "") + " new " + what[unseen === 1 ? 0 : 1], show);
  };
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.requestConfig?.triggeringEvent?.type !== "relay:changed" || !detail.shouldSwap) return;
    const page = new DOMParser().parseFromString(detail.serverResponse, "text/html");
    const part = detail.target;
    const fresh = page.getElementById(part.id);
    const versionOf = (root) => root.querySelector("[data-version]")?.dataset.version;
    if (!fresh) detail.shouldSwap = false;
    else if (versionOf(page) !== versionOf(document)) {
      detail.shouldSwap = false;
      offer("This run changed: show it", () => location.reload());
    } else if (!isWanted && part.id === "results" && (scrollY > 120 || isBusy(part))) {
      detail.shouldSwap = false;
      hold(part, fresh);
    } else if (!isWanted && part.id !== "results") {
      const also = (part.getAttribute("hx-select-oob") ?? "").split(",").filter(Boolean);
      const parts = [part, ...also.map((id) => document.querySelector(id))];
      if (parts.some((one) => one && isBusy(one))) {
        detail.shouldSwap = false;
        offer("Something changed: show it", show);
      }
    }
    if (detail.shouldSwap) {
      isWanted = false;
      if (newItems) newItems.hidden = true;
      const known = new Set([...all("tr[id]")].map(({ id }) => id));
      unknown = (row) => known.size > 0 && !known.has(row.id);
    }
  });
  let unknown = null;
  const swapped = () => {
    dress(document);
    if (unknown) for (const row of all("tr[id]")) if (unknown(row)) row.classList.add("fresh");
    unknown = null;
  };
  document.addEventListener("htmx:afterSwap", swapped);
  document.addEventListener("htmx:oobAfterSwap", swapped);

  if (source && window.EventSource && window.htmx) {
    const address = new URL(source.dataset.live, location.href);
    const isFirst = source.hasAttribute("data-live-reload");
    let stream = null;
    let timer = 0;
    let toldAt = 0;
    const report = () => {
      timer = 0;
      toldAt = Date.now();
      if (isFirst) location.reload();
      else changed();
    };
    const leave = () => {
      stream?.close();
      stream = null;
      mark(false);
    };
    const follow = () => {
      if (document.hidden) return leave();
      if (stream) return;
      stream = new EventSource(address);
      stream.addEventListener("open", () => mark(true));
      stream.addEventListener("error", () => mark(false));
      stream.addEventListener("changed", ({ lastEventId }) => {
        address.searchParams.set("after", lastEventId);
        // At most once in two seconds, however much happens.
        timer ||= setTimeout(report, Math.max(100, toldAt + 2000 - Date.now()));
      });
    };
    // A browser has six connections to one relay: a tab that nobody sees needs none.
    document.addEventListener("visibilitychange", follow);
    addEventListener("pagehide", leave);
    addEventListener("pageshow", follow);
    follow();
  }
  addEventListener("pageshow", enable);
  for (const place of all("[data-zone]")) if (zone) place.textContent = "Times are in your zone, " + zone + ".";
  dress(document);
})();
