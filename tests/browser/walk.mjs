// Walks every page of a running demo in headless Chromium, at three widths, light and dark: no script error, no overflow,
// no serious axe-core finding, keys work. Usage: node walk.mjs SIGN_IN_URL [FOLDER_FOR_SCREENSHOTS]
// Needs `npm install puppeteer-core axe-core` beside it and Debian's `chromium`; without them it says so and passes.
import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";

const require = createRequire(import.meta.url);
let puppeteer, axe;
try {
  puppeteer = require("puppeteer-core");
  axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
} catch {
  console.log("SKIPPED: the browser walk needs `npm install puppeteer-core axe-core` in tests/browser");
  process.exit(0);
}
const [signIn, folder] = process.argv.slice(2);
if (!signIn) { console.error("usage: node walk.mjs SIGN_IN_URL [FOLDER]"); process.exit(2); }
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
const errors = [];
tab.on("pageerror", (error) => errors.push(String(error)));
tab.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });
await tab.goto(signIn, { waitUntil: "domcontentloaded" });
check(new URL(tab.url()).pathname === "/ui/forecast", `the sign-in link leads to the forecast, not to ${tab.url()}`);

const first = async (list) => {
  await tab.goto(base + list, { waitUntil: "domcontentloaded" });
  return tab.$eval("a.row", (link) => link.getAttribute("href")).catch(() => null);
};
const pages = ["/ui/forecast", "/ui/deals", "/ui/deals?view=list", "/ui/leads", "/ui/accounts", "/ui/contacts", "/ui/team", "/ui/tv", "/ui/reports", "/ui/reports/pipeline-by-stage", "/ui/sql", "/ui/sql?q=SELECT%20*%20FROM%20deals%20LIMIT%205", "/ui/data", "/ui/admin"];
for (const list of ["/ui/deals", "/ui/contacts", "/ui/accounts"]) { const path = await first(list); if (path) pages.push(path); }

for (const scheme of ["light", "dark"]) {
  await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  for (const width of [375, 768, 1440]) {
    await tab.setViewport({ width, height: 900 });
    for (const path of pages) {
      errors.length = 0;
      const answer = await tab.goto(base + path, { waitUntil: "load" });
      const where = `${path} at ${width} ${scheme}`;
      check(answer.status() === 200, `${where}: status ${answer.status()}`);
      const wide = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      check(wide <= 0, `${where}: ${wide} px wider than the screen`);
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
await tab.waitForFunction(() => location.search.includes("view=list"), { timeout: 5000 }).then(() => check(true), () => check(false, "a filter changes the page without a reload"));

await browser.close();
console.log(`${passed} passed, ${failures.length} failed`);
process.exit(failures.length ? 1 : 0);
