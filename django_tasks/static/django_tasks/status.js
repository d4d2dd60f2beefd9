/* Renews a part of a page while it is looked at: a fragment with an ETag, no more often than told.
   data-url: where it is; data-seconds: how often; what bears data-ended in it is the end. */
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  for (const place of document.querySelectorAll("[data-url][data-seconds]")) keepFresh(place);

  function keepFresh(place) {
    const stale = document.querySelector(`[data-stale="${place.id}"]`);
    const said = document.querySelector(`[data-said="${place.id}"]`);
    let tag = "";
    let waiting = false;
    let heard = alarms();

    function alarms() {
      return [...place.querySelectorAll(".uncut-alarms li")].map((one) => one.textContent).join(" ");
    }

    // What a person had: the focus, by whatever names it, and how far each part was scrolled.
    function nameOf(one) {
      for (const name of ["id", "aria-labelledby", "href", "data-name"]) {
        const value = one.getAttribute(name);
        if (value) return `[${name}="${CSS.escape(value)}"]`;
      }
      return "";
    }

    function show(html) {
      const focused = place.contains(document.activeElement) ? nameOf(document.activeElement) : "";
      const scrolled = [...place.querySelectorAll(".uncut-scroll")]
        .map((one) => [nameOf(one), one.scrollLeft, one.scrollTop]);
      const closed = [...place.querySelectorAll("details")].map((one) => !one.open);
      place.innerHTML = html;
      for (const [name, left, top] of scrolled) {
        // A heading may bear the same name's id: what it names is meant.
        const one = name && place.querySelector(`.uncut-scroll${name}`);
        if (one) [one.scrollLeft, one.scrollTop] = [left, top];
      }
      place.querySelectorAll("details").forEach((one, i) => { if (closed[i]) one.open = false; });
      if (focused) place.querySelector(focused)?.focus({preventScroll: true});
      // A reader says an alarm once, not again whenever its number changes.
      const now = alarms();
      if (said && now.replace(/\d+/g, "") !== heard.replace(/\d+/g, "")) said.textContent = now;
      heard = now;
      const ended = place.querySelector("[data-ended]");
      if (ended) {
        ended.hidden = false;
        clearInterval(timer);
        document.removeEventListener("visibilitychange", renew);
      }
    }

    async function renew() {
      if (waiting || document.hidden) return;
      waiting = true;
      try {
        const headers = tag ? {"If-None-Match": tag} : {};
        const answer = await fetch(place.dataset.url, {headers, credentials: "same-origin", cache: "no-store"});
        // Redirected: to the log-in, since the session ended.
        const renewed = answer.status === 200 && !answer.redirected;
        if (renewed) {
          tag = answer.headers.get("ETag") || "";
          show(await answer.text());
        }
        if (stale) stale.hidden = renewed || answer.status === 304;
      } catch {
        if (stale) stale.hidden = false;
      } finally {
        waiting = false;
      }
    }

    const timer = setInterval(renew, Number(place.dataset.seconds) * 1000);
    document.addEventListener("visibilitychange", renew);
  }
});
