// Pictures of the page for people to look at, and what can be asserted about them.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "node:test";
import { SHOTS, onPage } from "./frame.mjs";

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
      await page.page.waitForSelector("#chart-distribution canvas");
      await page.page.waitForTimeout(1000);
      assert.ok(await page.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out sideways");
      await page.page.screenshot({ path: join(SHOTS, `${name}-results.png`), fullPage: true });
    }, { options });
  }
});
