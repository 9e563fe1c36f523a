// Lighthouse over the dashboards: accessibility, best practices and performance of each main page, as on a slow phone with a
// cold cache, and what it transfers.
// Usage: node lighthouse.mjs MODULES SIGN_IN_URL [PATH ...]     (`revgauge demo` prints the URL)
// MODULES is a folder in which `npm install lighthouse@12.8.2 puppeteer-core@24.43.1` was run; Debian's `chromium` is driven.
// Ends with 1 when a score is below 95 or a page transfers 150 kB.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, signIn, ...asked] = process.argv.slice(2);
if (!signIn) { console.error("usage: node lighthouse.mjs MODULES SIGN_IN_URL [PATH ...]"); process.exit(2); }
const require = createRequire(pathToFileURL(`${modules}/package.json`));
const puppeteer = require("puppeteer-core");
const { default: lighthouse } = await import(pathToFileURL(`${modules}/node_modules/lighthouse/core/index.js`));

const base = new URL(signIn).origin;
const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
const first = await browser.newPage();
await first.goto(signIn, { waitUntil: "load" });
let paths = asked;
if (paths.length === 0) {
  await first.goto(`${base}/ui/deals`, { waitUntil: "load" });
  const deal = await first.$eval("a.row", (link) => link.getAttribute("href")).catch(() => null);
  paths = ["/ui/forecast", "/ui/deals", "/ui/deals?view=list", ...(deal ? [deal] : []), "/ui/leads", "/ui/accounts", "/ui/reports", "/ui/reports/pipeline_by_stage"];
}
await first.close();

const categories = ["accessibility", "best-practices", "performance"];
let low = 0;
console.log("| page | accessibility | best practices | performance | first contentful paint | largest | layout shift | transfer |\n|---|---|---|---|---|---|---|---|");
for (const path of paths) {
  const tab = await browser.newPage();
  // The session's cookie stays, what the browser keeps of files goes.
  const flags = { output: "json", logLevel: "error", onlyCategories: categories, clearStorageTypes: ["cache_storage", "shader_cache"] };
  let report;
  // Now and then the tab is not painted at all, which says nothing of the page.
  for (let tries = 0; tries < 3 && !report?.audits["first-contentful-paint"].numericValue; tries += 1) report = (await lighthouse(base + path, flags, undefined, tab)).lhr;
  await tab.close();
  const scores = categories.map((name) => Math.round((report.categories[name].score ?? 0) * 100));
  const bytes = report.audits["total-byte-weight"].numericValue ?? 0;
  if (scores.some((score) => score < 95) || bytes >= 150_000) low += 1;
  const seen = (name) => report.audits[name].displayValue ?? "none";
  console.log(`| \`${path}\` | ${scores.join(" | ")} | ${seen("first-contentful-paint")} | ${seen("largest-contentful-paint")} | ${seen("cumulative-layout-shift")} | ${Math.round(bytes / 1000)} kB |`);
}
await browser.close();
process.exit(low ? 1 : 0);
