/* Renews the status while it is looked at: a fragment with an ETag, no more often than told. */
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("uncut-status");
  const stale = document.getElementById("uncut-stale");
  if (!place) return;
  const pause = Number(place.dataset.seconds) * 1000;
  let tag = "";
  let waiting = false;

  async function renew() {
    if (waiting || document.hidden) return;
    waiting = true;
    try {
      const headers = tag ? {"If-None-Match": tag} : {};
      const answer = await fetch(place.dataset.url, {headers, credentials: "same-origin", cache: "no-store"});
      if (answer.status === 200 && !answer.redirected) {
        tag = answer.headers.get("ETag") || "";
        const focused = document.activeElement && place.contains(document.activeElement)
          ? document.activeElement.getAttribute("aria-labelledby") : null;
        place.innerHTML = await answer.text();
        if (focused) place.querySelector(`[aria-labelledby="${focused}"]`)?.focus();
      }
      stale.hidden = answer.status === 200 || answer.status === 304;
    } catch {
      stale.hidden = false;
    } finally {
      waiting = false;
    }
  }

  setInterval(renew, pause);
  document.addEventListener("visibilitychange", renew);
});
