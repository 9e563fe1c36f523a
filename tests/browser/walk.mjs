// Walks every page of a running demo in headless Chromium, at three widths, light and dark: no script error, no overflow,
// no serious axe-core finding, keys work, print shows the content without the controls, a lost stream comes back once.
// Usage: [REVGAUGE_KEY=KEY] node walk.mjs SIGN_IN_URL [FOLDER_FOR_SCREENSHOTS | --quick]
// With a key that may send events it also sees whether an open page shows what happens. Quick walks each page at 375 px light
// and at 1440 px dark. Needs `npm install` here (package.json names two packages) and Debian's `chromium`; without them it
// says so and passes.
import { createServer, request } from "node:http";
import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";

const require = createRequire(import.meta.url);
let puppeteer, axe;
try {
  puppeteer = require("puppeteer-core");
  axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
} catch {
  console.log("SKIPPED: the browser walk needs `npm install` in tests/browser");
  process.exit(0);
}
const [signIn, last] = process.argv.slice(2);
if (!signIn) { console.error("usage: node walk.mjs SIGN_IN_URL [FOLDER | --quick]"); process.exit(2); }
const quick = last === "--quick";
const folder = quick ? undefined : last;
const base = new URL(signIn).origin;
if (folder) mkdirSync(folder, { recursive: true });

let browser;
try {
  browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
} catch (error) {
  console.log(`SKIPPED: no Chromium could be started: ${error.message}`);
  process.exit(0);
}
let passed = 0;
const failures = [];
const check = (ok, text) => { if (ok) passed += 1; else { failures.push(text); console.log(`FAILED ${text}`); } };

const tab = await browser.newPage();
// An unoptimised server on a busy machine is no fault of a page.
tab.setDefaultTimeout(60000);
tab.setDefaultNavigationTimeout(60000);
const errors = [];
tab.on("pageerror", (error) => errors.push(String(error)));
tab.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });
await tab.goto(signIn, { waitUntil: "domcontentloaded" });
check(new URL(tab.url()).pathname === "/ui/forecast", `the sign-in link leads to the forecast, not to ${tab.url()}`);

const first = async (list) => {
  await tab.goto(base + list, { waitUntil: "domcontentloaded" });
  return tab.$eval("a.row", (link) => link.getAttribute("href")).catch(() => null);
};
const pages = ["/ui/forecast", "/ui/forecast?quota=500000", "/ui/forecast/what-if", "/ui/accuracy", "/ui/deals", "/ui/deals?view=list", "/ui/leads", "/ui/accounts", "/ui/contacts", "/ui/team", "/ui/coaching", "/ui/tv", "/ui/reports", "/ui/reports/pipeline_by_stage", "/ui/reports/won_by_month", "/ui/saved", "/ui/sql", "/ui/sql?q=SELECT%20*%20FROM%20deals%20LIMIT%205", "/ui/data", "/ui/admin", "/ui/admin/audit", "/ui/admin/definitions/deal_health"];
for (const list of ["/ui/deals", "/ui/contacts", "/ui/accounts"]) { const path = await first(list); if (path) pages.push(path); }

for (const scheme of ["light", "dark"]) {
  await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  for (const width of quick ? [scheme === "light" ? 375 : 1440] : [375, 768, 1440]) {
    await tab.setViewport({ width, height: 900 });
    for (const path of pages) {
      errors.length = 0;
      const answer = await tab.goto(base + path, { waitUntil: "load" });
      const where = `${path} at ${width} ${scheme}`;
      check(answer.status() === 200, `${where}: status ${answer.status()}`);
      const wide = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      check(wide <= 0, `${where}: ${wide} px wider than the screen`);
      // Parts that are fetched after the page stands count too.
      await tab.waitForFunction(() => ![...document.querySelectorAll("[data-loaded]")].some((e) => e.querySelector(":scope > p.empty > a")), {})
        .catch(() => check(false, `${where}: a part was not fetched`));
      check(errors.length === 0, `${where}: ${errors.join(" | ")}`);
      // The devtools protocol evaluates outside the page's content security policy.
      await tab.evaluate(axe);
      const found = await tab.evaluate(async () => (await window.axe.run(document, { resultTypes: ["violations"] })).violations
        .filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => `${v.id} ${v.nodes.length}x ${v.nodes[0].html.slice(0, 160)}`));
      check(found.length === 0, `${where}: axe ${found.join(" || ")}`);
      if (folder) {
        const name = path.replace(/^\/ui\//, "").replace(/\?.*/, (q) => (q.includes("view") ? "-list" : "-rows")).replace(/[^a-z0-9-]+/gi, "-");
        await tab.screenshot({ path: `${folder}/${name}-${width}-${scheme}.png` });
      }
    }
  }
}

await tab.setViewport({ width: 1440, height: 900 });
await tab.goto(`${base}/ui/leads`, { waitUntil: "load" });
await tab.keyboard.press("j");
await tab.keyboard.press("j");
check(await tab.evaluate(() => document.activeElement === document.querySelectorAll("a.row")[1]), "j j is on the second lead");
await Promise.all([tab.waitForNavigation(), tab.keyboard.press("Enter")]);
check(new URL(tab.url()).pathname.startsWith("/ui/contacts/"), "Enter opens the lead");
await tab.keyboard.press("g");
await Promise.all([tab.waitForNavigation(), tab.keyboard.press("d")]);
check(new URL(tab.url()).pathname === "/ui/deals", "g d opens the deals");
await tab.keyboard.press("?");
check(await tab.$eval("#help", (help) => help.open), "? shows the keys");
await tab.keyboard.press("Escape");
await tab.select(".filters select[name=view]", "list");
await tab.waitForFunction(() => location.search.includes("view=list")).then(() => check(true), () => check(false, "a filter changes the page without a reload"));


// Tab reaches the skip link first, then the navigation; every stop is to be seen.
await tab.goto(`${base}/ui/forecast`, { waitUntil: "load" });
await tab.keyboard.press("Tab");
check(await tab.evaluate(() => document.activeElement.matches("a.skip")), "the first Tab is on the skip link");
const unseen = [];
for (let stop = 0; stop < 30; stop += 1) {
  await tab.keyboard.press("Tab");
  unseen.push(...await tab.evaluate(() => {
    const element = document.activeElement, box = element.getBoundingClientRect();
    const outlined = getComputedStyle(element).outlineStyle !== "none" || element.matches(".skip");
    return element === document.body || (box.width > 0 && box.height > 0 && outlined) ? [] : [element.outerHTML.slice(0, 120)];
  }));
}
check(unseen.length === 0, `stops of the Tab key that are not to be seen: ${unseen.join(" ")}`);

// Print: the content without navigation, filters and buttons, on white.
await tab.emulateMediaType("print");
for (const path of ["/ui/forecast", "/ui/deals?view=list", "/ui/reports/pipeline_by_stage"]) {
  await tab.goto(base + path, { waitUntil: "load" });
  const seen = await tab.evaluate(() => [...document.querySelectorAll("header.top nav, .filters, .asof form, .out")].filter((e) => e.getClientRects().length).length);
  check(seen === 0, `${path} in print still shows ${seen} controls`);
  const pdf = await tab.pdf({ format: "A4" });
  check(pdf.length > 5000, `${path} in print gives a PDF of ${pdf.length} bytes`);
  if (folder) { const { writeFileSync } = await import("node:fs"); writeFileSync(`${folder}/print${path.replace(/[^a-z]+/g, "-")}.pdf`, pdf); }
}
await tab.emulateMediaType(null);

// Live: what happens shows on an open page, also after the connection broke in between; nothing doubles.
// A relay of our own stands between, so that breaking is breaking: every socket through it is destroyed.
const sockets = new Set();
const relay = createServer((asked, answer) => {
  const up = request(base + asked.url, { method: asked.method, headers: asked.headers }, (got) => { answer.writeHead(got.statusCode, got.headers); got.pipe(answer); });
  up.on("error", () => answer.destroy());
  answer.on("close", () => up.destroy());
  asked.pipe(up);
});
relay.on("connection", (socket) => { sockets.add(socket); socket.on("close", () => sockets.delete(socket)); });
await new Promise((ready) => relay.listen(0, "127.0.0.1", ready));
const through = `http://127.0.0.1:${relay.address().port}`;
const streams = new Set();
let refreshed = 0;
tab.on("request", (asked) => { if (asked.url().endsWith("/ui/live")) streams.add(asked); if (asked.url() === `${through}/ui/leads` && !asked.isNavigationRequest()) refreshed += 1; });
for (const end of ["requestfailed", "requestfinished"]) tab.on(end, (asked) => streams.delete(asked));
const until = async (ok, limit) => { const began = Date.now(); while (!ok() && Date.now() - began < limit) await new Promise((later) => setTimeout(later, 20)); return Date.now() - began; };
await tab.goto(`${through}/ui/leads`, { waitUntil: "load" });
await until(() => streams.size === 1, 20000);
for (const socket of sockets) socket.destroy();
await until(() => streams.size === 0, 5000);
check(await until(() => streams.size === 1, 20000) < 20000, "a broken stream is opened again");
await tab.evaluate(() => { dispatchEvent(new Event("pagehide")); dispatchEvent(new Event("pageshow")); dispatchEvent(new Event("pageshow")); });
await new Promise((later) => setTimeout(later, 700));
check(streams.size === 1, `${streams.size} streams open after coming back, one is enough`);
if (process.env.REVGAUGE_KEY) {
  const contact = await tab.$$eval("ol.queue a.row", (all) => decodeURIComponent(all.at(-1).pathname.split("/").pop()));
  const events = ["meeting.attended", "form.submitted", "email.replied"].map((type) => JSON.stringify({ type, event_id: `walk-${type}-${Date.now()}`, contact_id: contact }));
  refreshed = 0;
  const began = Date.now();
  const answer = await fetch(`${base}/v1/events`, { method: "POST", headers: { authorization: `Bearer ${process.env.REVGAUGE_KEY}`, "content-type": "application/x-ndjson" }, body: events.join("\n") });
  check(answer.ok, `events of a contact are taken, not ${answer.status}`);
  await until(() => refreshed > 0, 60000);
  check(refreshed > 0, "what a contact did shows on an open page");
  console.log(`the open page asks again ${Date.now() - began} ms after the events`);
} else console.log("SKIPPED: the live update needs REVGAUGE_KEY");
const twice = await tab.$$eval("ol.queue a.row", (all) => all.length - new Set(all.map((one) => one.href)).size);
check(twice === 0, `${twice} leads stand in the queue twice`);
relay.close();
for (const socket of sockets) socket.destroy();

await browser.close();
console.log(`${passed} passed, ${failures.length} failed`);
process.exit(failures.length ? 1 : 0);
