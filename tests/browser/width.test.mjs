// The page in a window that is made narrower and wider again while it shows something.
import assert from "node:assert/strict";
import { describe } from "node:test";
import { named, onPage } from "./frame.mjs";
import { eventually } from "./page.mjs";
import { matrix, safetensors } from "./safetensors.mjs";

const WIDTHS = [1600, 1400, 1280, 1100, 980, 860, 740, 720, 600, 480, 375];
/** Enough blocks and levels for every chart to need the width it gets. */
const model = () => safetensors(Array.from({ length: 12 }, (_, i) => ["self_attn.q_proj", "mlp.down_proj"].map((module, j) => matrix(`model.layers.${i}.${module}.weight`, 24, 32, 2 * i + j + 1))).flat());

/** What stands over the edge of the window, or of the box that should hold it, once the page has had the time to draw. @param {import("playwright-core").Page} page */
async function sticksOut(page) {
  return page.evaluate(async () => {
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    const root = document.documentElement;
    const out = root.scrollWidth > innerWidth ? [`the page: ${root.scrollWidth} of ${innerWidth} px`] : [];
    for (const box of document.querySelectorAll(".card, .layer-body")) {
      if (box.scrollWidth > box.clientWidth + 1) out.push(`${box.className}: ${box.scrollWidth} of ${box.clientWidth} px`);
    }
    return out;
  });
}

/** Looks at each chart until its drawing is as wide as its place. @param {import("playwright-core").Page} page @param {string} state */
async function drawnAnew(page, state) {
  for (const chart of await page.locator(".chart:has(canvas)").all()) {
    await chart.scrollIntoViewIfNeeded();
    await eventually(async () => {
      const [id, drawn, wide] = await chart.evaluate((element) => [element.id, element.querySelector("canvas").getBoundingClientRect().width, element.clientWidth]);
      assert.equal(drawn, wide, `${id}: ${state}`);
    });
  }
}

/** Narrower step by step, and back. @param {import("playwright-core").Page} page @param {string} state */
async function resized(page, state) {
  for (const width of [...WIDTHS, ...WIDTHS.toReversed()]) {
    await page.setViewportSize({ width, height: 900 });
    await eventually(async () => assert.deepEqual(await sticksOut(page), [], `${state}, ${width} px`));
    if (width === 1100 || width === 375) await drawnAnew(page, `${state}, ${width} px`);
  }
  await drawnAnew(page, `${state}, wide again`);
}

describe("a window made narrower, and wide again", () => {
  onPage("holds the page in every state", async (page) => {
    await resized(page.page, "empty");
    await page.give(named("a model with a long name, longer than a phone is wide, and then some.safetensors", model()));
    await page.page.$$eval("details", (all) => all.forEach((details) => (details.open = true)));
    await resized(page.page, "opened");
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    await page.page.waitForSelector("#chart-layers canvas");
    await resized(page.page, "analysed");
    await page.page.$$eval("details", (all) => all.forEach((details) => (details.open = true)));
    await resized(page.page, "analysed, unfolded");
    await page.page.click("#layers-table .layer-open");
    await page.page.waitForSelector(".layer-view[open] .chart canvas");
    await resized(page.page, "a layer");
  });
});
