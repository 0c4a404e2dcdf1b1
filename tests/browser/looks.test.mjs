// Pictures of the page for people to look at, and what can be asserted about them.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "node:test";
import { SHOTS, onPage } from "./frame.mjs";
import { eventually } from "./page.mjs";

/** The part of the page that www/picture.png shows: from the results' heading to the end of the map. @param {import("playwright-core").Page} page */
async function overview(page) {
  const [top, bottom] = await page.evaluate(() => [document.getElementById("results-section"), document.getElementById("chart-heat").closest(".card")].map((element, i) => element.getBoundingClientRect()[["top", "bottom"][i]] + scrollY));
  return { x: 0, y: top - 16, width: 1280, height: bottom - top + 24 };
}

describe("looks", () => {
  for (const [name, options] of [
    ["light", { colorScheme: "light" }],
    ["dark", { colorScheme: "dark" }],
    ["phone", { colorScheme: "light", viewport: { width: 375, height: 800 } }],
  ]) {
    onPage(`${name}: screenshots of the empty page and of results`, async (page) => {
      await mkdir(SHOTS, { recursive: true });
      await page.page.screenshot({ path: join(SHOTS, `${name}-empty.png`), fullPage: true });
      await page.demo();
      assert.equal(await page.alert(), "");
      for (const chart of ["trade", "summary", "heat", "layers", "distribution", "spread"]) await page.page.waitForSelector(`#chart-${chart} canvas`);
      await page.page.waitForTimeout(1000); // for people to look at: what is drawn last is drawn
      await eventually(async () => assert.ok(await page.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out sideways"));
      await page.page.screenshot({ path: join(SHOTS, `${name}-results.png`), fullPage: true });
      if (name === "light") await page.page.screenshot({ path: join(SHOTS, "picture.png"), fullPage: true, clip: await overview(page.page) });
    }, { options });
  }
});

describe("numbers", () => {
  onPage("that round to nothing have no sign", async (page) => {
    const written = await page.page.evaluate(async () => {
      const { change, fixed, signed } = await import(new URL("www/ui/numbers.js", document.baseURI).href);
      return [fixed(-0.0004, 3), fixed(-0, 1), fixed(-0.0006, 3), signed(-0.0004, 3), signed(0.0004, 3), signed(0.0006, 3), change(-0.001), change(0.001), change(0.1), change(-12.5), signed(Infinity, 1), signed(-Infinity, 1), signed(null, 2), change(null)];
    });
    assert.deepEqual(written, ["0.000", "0.0", "−0.001", "0.000", "0.000", "+0.001", "0.00%", "0.00%", "+0.10%", "−12.50%", "+∞", "−∞", "–", "–"]);
  });
});
