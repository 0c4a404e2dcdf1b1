// For everybody: what axe-core finds, the keyboard alone, less motion.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe } from "node:test";
import { findings } from "./axe.mjs";
import { DEMO, named, onPage } from "./frame.mjs";
import { matrix, safetensors } from "./safetensors.mjs";

/** A fit, a failed one, and a name of no respect. */
const mixed = () => {
  const bad = matrix("<b>bad</b>.weight", 32, 48, 1);
  new DataView(bad.data.buffer).setFloat32(40, NaN, true);
  return safetensors([bad, matrix("good.weight", 32, 48, 2)]);
};

describe("axe-core finds nothing", () => {
  /** Opens everything that unfolds. */
  const unfold = (page) => page.page.$$eval("details", (all) => all.forEach((details) => (details.open = true)));
  async function done(page) {
    await page.give(named("mixed.safetensors", mixed()));
    await page.analyze();
    await page.page.waitForSelector("#chart-layers canvas");
    await unfold(page);
    assert.deepEqual(await findings(page), [], "done");
  }

  onPage("when empty, with a message, opened, computing, done", async (page) => {
    assert.deepEqual(await findings(page), [], "empty");
    await page.give(named("empty.safetensors", Buffer.alloc(0)));
    assert.deepEqual(await findings(page), [], "with a message");
    await page.give(named("some.safetensors", safetensors(Array.from({ length: 12 }, (_, i) => matrix(`layer.${i}.weight`, 200, 200, i)))));
    await unfold(page);
    assert.deepEqual(await findings(page), [], "opened");
    await page.hold(4 * 200 * 200, 4);
    await page.page.click("#analyze");
    await page.finished(1);
    assert.deepEqual(await findings(page), [], "computing");
    await page.page.click("#cancel");
    await page.page.waitForSelector("body[data-run=cancelled]");
    await page.settled();
    await done(page);
  });
  onPage("in the dark", done, { options: { colorScheme: "dark" } });
  onPage("on a phone", done, { options: { viewport: { width: 375, height: 800 } } });
});

describe("the keyboard alone", () => {
  /** Presses Tab until the element has the focus. */
  async function tabTo(page, selector) {
    for (let i = 0; i < 150; i += 1) {
      await page.page.keyboard.press("Tab");
      const at = await page.page.evaluate((selector) => {
        const element = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        return { there: element.matches(selector), seen: element === document.body || (outlineStyle !== "none" && Number.parseFloat(outlineWidth) > 0), what: element.outerHTML.slice(0, 120) };
      }, selector);
      assert.ok(at.seen, `where the focus is can't be seen: ${at.what}`);
      if (at.there) return;
    }
    assert.fail(`${selector} can't be reached`);
  }

  onPage("opens, analyses, looks and saves", async (page) => {
    await tabTo(page, ".skip");
    await page.page.keyboard.press("Enter");
    await tabTo(page, "#pick-files");
    await page.pick(() => page.page.keyboard.press("Enter"), DEMO);
    await page.page.waitForSelector("#analyze:enabled");
    assert.equal(await page.page.evaluate(() => document.activeElement.id), "model-name", "the focus follows");
    await tabTo(page, "#scheme-panel summary");
    await page.page.keyboard.press("Enter");
    await page.page.waitForSelector("#scheme-panel input[value='3bit']"); // the list is made a moment after it is opened
    await tabTo(page, "#scheme-panel input[value='3bit']");
    await page.page.keyboard.press("Space");
    await tabTo(page, "#analyze");
    await page.page.keyboard.press("Enter");
    await page.settled();
    assert.equal(await page.runStatus(), "complete");
    assert.match(await page.text("#spoken"), /complete/i);
    await tabTo(page, "[data-file='report.json']");
    const [download] = await Promise.all([page.page.waitForEvent("download"), page.page.keyboard.press("Enter")]);
    const report = JSON.parse(await readFile(await download.path(), "utf8"));
    assert.ok(report.levels.some((level) => level.name === "3bit"));
    await tabTo(page, ".legend button");
    await page.page.keyboard.press("Space");
    assert.equal(await page.page.evaluate(() => document.activeElement.getAttribute("aria-pressed")), "false");
    await tabTo(page, "#layer-filter");
    await page.page.keyboard.type("attention");
    assert.match(await page.text("#layer-count"), /^8 rows/);
    await tabTo(page, ".box:has(#layers-table)");
    await page.page.keyboard.press("ArrowRight");
    await page.page.waitForFunction(() => document.activeElement.scrollLeft > 0);
  });
});

describe("less motion", () => {
  onPage("nothing moves for those who ask for it", async (page) => {
    await page.demo();
    await page.page.waitForSelector("#chart-layers canvas");
    const moving = await page.page.evaluate(() =>
      [...document.querySelectorAll("*")].filter((element) => {
        const { transitionDuration, animationName, scrollBehavior } = getComputedStyle(element);
        return !/^(0s(, )?)+$/.test(transitionDuration) || animationName !== "none" || scrollBehavior === "smooth";
      }).map((element) => element.outerHTML.slice(0, 100)),
    );
    assert.deepEqual(moving, []);
  }, { options: { reducedMotion: "reduce" } });
});
