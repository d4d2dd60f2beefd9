/* Renews a part of a page while it is looked at: a fragment with an ETag, no more often than told.
   data-url: where it is; data-seconds: how often; what bears data-ended in it is the end. */
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  for (const place of document.querySelectorAll("[data-url][data-seconds]")) keepFresh(place);

  function keepFresh(place) {
    const stale = document.querySelector(`[data-stale="${place.id}"]`);
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
          show(await answer.text());
        }
        if (stale) stale.hidden = answer.status === 200 || answer.status === 304;
      } catch {
        if (stale) stale.hidden = false;
      } finally {
        waiting = false;
      }
    }

    function show(text) {
      const focused = document.activeElement && place.contains(document.activeElement)
        ? document.activeElement.getAttribute("aria-labelledby") : null;
      const closed = [...place.querySelectorAll("details")].map((one) => !one.open);
      place.innerHTML = text;
      if (focused) place.querySelector(`[aria-labelledby="${focused}"]`)?.focus();
      place.querySelectorAll("details").forEach((one, i) => { if (closed[i]) one.open = false; });
      const ended = place.querySelector("[data-ended]");
      if (ended) {
        ended.hidden = false;
        clearInterval(timer);
        document.removeEventListener("visibilitychange", renew);
      }
    }

    const timer = setInterval(renew, Number(place.dataset.seconds) * 1000);
    document.addEventListener("visibilitychange", renew);
  }
});
