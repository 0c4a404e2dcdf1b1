// Lighthouse's scores of the built page; fails below 95. Not among the tests, since the performance score depends on what else the machine does.
//   . tests/setup browser && node tests/browser/lighthouse.mjs
import lighthouse from "lighthouse";
import puppeteer from "puppeteer-core";
import { fileURLToPath } from "node:url";
import { serve } from "./server.mjs";

const LEAST = 0.95;
const DIST = process.env.HEAVYTAIL_DIST || fileURLToPath(new URL("../../dist", import.meta.url));

const server = await serve(DIST, { compress: true });
const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
let worst = 1;
try {
  for (const formFactor of ["mobile", "desktop"]) {
    const page = await browser.newPage();
    const desktop = { formFactor, screenEmulation: { mobile: false, width: 1350, height: 940, deviceScaleFactor: 1, disabled: false }, throttling: { rttMs: 40, throughputKbps: 10240, cpuSlowdownMultiplier: 1, requestLatencyMs: 0, downloadThroughputKbps: 0, uploadThroughputKbps: 0 } };
    const { lhr } = await lighthouse(server.url, { onlyCategories: ["performance", "accessibility", "best-practices"], logLevel: "error", ...(formFactor === "desktop" ? desktop : {}) }, undefined, page);
    for (const { id, score, auditRefs } of Object.values(lhr.categories)) {
      worst = Math.min(worst, score);
      const lacking = auditRefs.map((ref) => lhr.audits[ref.id]).filter((audit) => audit.score !== null && audit.score < 0.9 && audit.scoreDisplayMode !== "informative");
      console.log(`${formFactor} ${id}: ${Math.round(score * 100)}${lacking.map((audit) => `\n  ${audit.id} ${audit.displayValue ?? ""}`).join("")}`);
    }
    const figures = ["first-contentful-paint", "largest-contentful-paint", "total-blocking-time", "cumulative-layout-shift", "interactive", "total-byte-weight"].map((id) => `${id} ${lhr.audits[id]?.displayValue ?? "?"}`);
    console.log(`${formFactor}: ${figures.join(", ")}`);
    await page.close();
  }
} finally {
  await browser.close();
  await server.close();
}
process.exitCode = worst >= LEAST ? 0 : 1;
