// What the pages do beyond HTML: filters without a full reload, live updates, keys. Everything works without it too.
"use strict";
(() => {
  const main = () => document.getElementById("main");
  const say = (text) => { const place = document.getElementById("announce"); if (place) place.textContent = text; };
  let loading = null;

  // Fetches an address and puts its content in place; the page's other parts stay.
  async function show(address, { push = false, quiet = false, since = "" } = {}) {
    if (loading) loading.abort();
    const own = (loading = new AbortController());
    own.quiet = quiet;
    try {
      const answer = await fetch(address, { signal: own.signal, headers: since ? { accept: "text/html", "x-revgauge-since": since } : { accept: "text/html" } });
      if (answer.redirected && new URL(answer.url).pathname === "/ui/sign-in") { location.href = answer.url; return; }
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = next.getElementById("main");
      if (!fresh || !main()) { location.href = address; return; }
      const open = new Set([...main().querySelectorAll("details[open] > summary")].map((s) => s.textContent));
      const focus = document.activeElement && document.activeElement.getAttribute("name");
      const rowLink = document.activeElement && document.activeElement.matches("a.row") ? document.activeElement.getAttribute("href") : null;
      const side = [...main().querySelectorAll(".scroll, .board")].map((e) => e.scrollLeft);
      const loaded = new Map([...main().querySelectorAll("[data-loaded]")].map((e) => [e.dataset.load, e]));
      if (quiet) fresh.querySelectorAll("[data-load]").forEach((e) => { const old = loaded.get(e.dataset.load); if (old) e.replaceWith(old); });
      main().replaceChildren(...fresh.childNodes);
      main().querySelectorAll("details > summary").forEach((s) => { if (open.has(s.textContent)) s.parentElement.open = true; });
      main().querySelectorAll(".scroll, .board").forEach((e, i) => { e.scrollLeft = side[i] || 0; });
      const bar = document.querySelector(".asof"), newBar = next.querySelector(".asof");
      if (bar && newBar && !bar.contains(document.activeElement)) bar.replaceWith(newBar);
      document.title = next.title;
      document.body.toggleAttribute("data-live", next.body.hasAttribute("data-live"));
      if (next.body.dataset.again) document.body.dataset.again = next.body.dataset.again; else delete document.body.dataset.again;
      again();
      if (push) history.pushState(null, "", address);
      if (focus) { const again = main().querySelector(`[name="${CSS.escape(focus)}"]`); if (again) again.focus({ preventScroll: true }); }
      if (rowLink) { const again = main().querySelector(`a.row[href="${CSS.escape(rowLink)}"]`); if (again) again.focus({ preventScroll: true }); }
      later();
      if (!quiet) say("Updated");
      if (quiet) { const line = document.querySelector(".fresh"); if (line) line.classList.add("fresh-in"); }
    } catch (error) {
      if (error.name !== "AbortError" && !quiet) location.href = address;
    } finally { if (loading === own) loading = null; }
  }

  // Parts that take the server longer come after the page stands; what is there already stays through live updates.
  let queue = Promise.resolve();
  function later() {
    for (const place of main().querySelectorAll("[data-load]:not([data-loaded])")) {
      if (place.closest("details:not([open])")) continue;
      place.dataset.loaded = "1";
      // One after the other: each is work for the server, and the person reads from the top.
      queue = queue.then(() => fetch(place.dataset.load)).then((answer) => (answer.ok ? answer.text() : Promise.reject(new Error(answer.statusText)))).then((text) => {
        place.replaceChildren(...new DOMParser().parseFromString(text, "text/html").body.childNodes);
      }).catch(() => { const link = place.querySelector("a"); if (link) link.textContent += " (it could not be fetched; open it here)"; });
    }
  }
  document.addEventListener("toggle", later, true);

  function addressOf(form) {
    const pairs = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value !== "") pairs.append(name, value);
    const text = pairs.toString();
    return form.getAttribute("action") + (text ? "?" + text : "");
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.matches("form[data-filter]")) { event.preventDefault(); show(addressOf(form), { push: true }); }
  });
  document.addEventListener("change", (event) => {
    const form = event.target.form;
    if (form && form.matches("form[data-filter]") && event.target.matches("select, input[type=search]")) show(addressOf(form), { push: true });
  });
  addEventListener("popstate", () => show(location.href));

  // Live: the server says that scores changed, the page asks again, at most once a second and never under typing hands.
  // A page with answers from before, because new ones are still being made, says of when it asked, and asks again.
  let stream = null, due = null, last = 0, missed = false, since = "";
  function again() {
    const from = document.body.dataset.again;
    if (!from) return;
    if (Number(from) > Number(since)) since = from;
    if (!due) due = setTimeout(refresh, Math.max(150, 700 - (Date.now() - last)));
  }
  function refresh() {
    // What a person asked for is not cut off by what the page asks for itself.
    if (loading && !loading.quiet) { due = setTimeout(refresh, 300); return; }
    due = null; missed = document.hidden;
    const busy = document.activeElement && document.activeElement.matches("input, select, textarea") && main().contains(document.activeElement);
    if (busy || document.hidden || !document.body.hasAttribute("data-live")) { last = 0; return; }
    last = Date.now();
    show(location.href, { quiet: true, since });
  }
  function listen() {
    if (stream || !document.body.hasAttribute("data-live")) return;
    stream = new EventSource("/ui/live");
    stream.addEventListener("changed", (event) => { since = event.lastEventId || since; if (!due) due = setTimeout(refresh, Math.max(50, 1000 - (Date.now() - last))); });
    // The browser connects again by itself; the stream begins at "now", and the page shows what is: nothing doubles.
    stream.addEventListener("open", () => { if (last) refresh(); last = last || Date.now(); });
  }
  document.addEventListener("visibilitychange", () => { if (missed && !document.hidden) refresh(); });
  addEventListener("pagehide", () => { if (stream) { stream.close(); stream = null; } });
  addEventListener("pageshow", () => { listen(); again(); if (main()) later(); });

  // Keys.
  let waiting = null;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea")) { if (event.key === "Escape") event.target.blur(); return; }
    if (waiting) {
      const link = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
      clearTimeout(waiting); waiting = null;
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    const rows = [...main().querySelectorAll("a.row")].filter((row) => row.checkVisibility());
    const at = rows.indexOf(document.activeElement);
    const go = { j: at + 1, k: at - 1 }[event.key];
    if (go !== undefined && rows.length) { event.preventDefault(); rows[Math.min(rows.length - 1, Math.max(0, go))].focus(); }
    else if (event.key === "g") waiting = setTimeout(() => { waiting = null; }, 1200);
    else if (event.key === "/") { const field = document.querySelector("input[type=search], textarea[name=q], .filters select"); if (field) { event.preventDefault(); field.focus(); } }
    else if (event.key === "?") { const help = document.getElementById("help"); if (help && !help.open) help.showModal(); }
  });
})();
