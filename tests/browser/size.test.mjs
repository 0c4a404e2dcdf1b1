// How much has to come over the network before the page can be used.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { DIST, onPage, stage } from "./frame.mjs";

const MODULE = 700_000;
const FIRST_USE = 1_500_000;
const compressed = async (path) => gzipSync(await readFile(join(DIST, path)), { level: 9 }).length;

describe("the size", () => {
  for (const path of ["heavytail_bg.wasm", "plain/heavytail_bg.wasm"]) {
    test(`of ${path}`, async (t) => {
      const size = await compressed(path);
      t.diagnostic(`${size} bytes`);
      assert.ok(size <= MODULE, `${size} bytes compressed`);
    });
  }

  onPage("of all that the page asks for before its first use", async (page, t) => {
    const begun = stage.server.requests.length;
    await page.page.reload();
    await page.page.waitForSelector("body[data-phase=idle]");
    await page.page.waitForLoadState("networkidle");
    const asked = [...new Set(stage.server.requests.slice(begun))].map((path) => (path === "/" ? "index.html" : path.slice(1)));
    assert.ok(asked.includes("heavytail_bg.wasm") && asked.includes("www/main.js"));
    assert.deepEqual(asked.filter((path) => /vendor|demo|plain/.test(path)), []);
    const sizes = await Promise.all(asked.map(compressed));
    const total = sizes.reduce((sum, size) => sum + size, 0);
    t.diagnostic(`${total} bytes in ${asked.length} files`);
    assert.ok(total <= FIRST_USE, `${total} bytes compressed`);
  });
});
