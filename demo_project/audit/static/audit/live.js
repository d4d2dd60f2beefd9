// While an audit runs, fetches its page again and shows the new one's content in place.
// Without this file the page reloads itself once a second (noscript in audit.html).
"use strict";

const LOOK_EVERY = 500; // milliseconds
const AFTER_AN_ERROR = 2000;

async function refresh() {
  let wait = LOOK_EVERY;
  try {
    const response = await fetch(location.href);
    if (!response.ok) throw new Error(response.status);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    document.title = page.title;
    document.querySelector("main").replaceWith(page.querySelector("main"));
  } catch {
    wait = AFTER_AN_ERROR; // the site restarts, or the network is away: what is shown stays
  }
  if (document.querySelector("main[data-live]")) setTimeout(refresh, wait);
}

setTimeout(refresh, LOOK_EVERY);
