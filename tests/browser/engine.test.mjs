// The wasm module may fail: to load, to start its threads, while it computes.
import assert from "node:assert/strict";
import { describe } from "node:test";
import { named, onPage, small } from "./frame.mjs";
import { matrix, safetensors } from "./safetensors.mjs";

describe("the engine may fail", () => {
  /** Serves another heavytail.js than the built one. @param {(source: string) => string} change */
  const changed = (change) => async (page) => {
    await page.page.context().route("**/heavytail.js", async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, body: change(await answer.text()) });
    });
    await page.page.reload();
    await page.page.waitForSelector("body[data-phase=idle]");
  };

  onPage("while it computes: finished rows stay and the next model is analysed", async (page) => {
    await changed((source) => `${source}
      const submit = Analysis.prototype.submit;
      Analysis.prototype.submit = function (task, bytes) {
        if (task === 3) throw new WebAssembly.RuntimeError("unreachable");
        return submit.call(this, task, bytes);
      };`)(page);
    await page.give(named("four.safetensors", safetensors([1, 2, 3, 4].map((i) => matrix(`layer.${i}.weight`, 32, 48, i)))));
    await page.analyze();
    assert.match(await page.alert(), /^The analysis stopped, and the rows finished until then are kept: unreachable\.$/);
    assert.equal(await page.runStatus(), "cancelled");
    await page.give(named("good.safetensors", small()));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.equal(await page.alert(), "");
  });

  onPage("to start its threads: the page goes on with one", async (page) => {
    await changed((source) => source.replace(/export function wbg_rayon_start_worker\(\w*\) \{/, '$& throw new Error("no thread today");'))(page);
    assert.match(await page.text("#engine"), /single thread/);
    await page.give(named("good.safetensors", small()));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  }, { complaints: [/no thread today/] });

  onPage("to load at all: the page says so", async (page) => {
    await page.page.context().route("**/heavytail.js", (route) => route.fulfill({ status: 404, body: "" }));
    await page.page.reload();
    await page.page.waitForSelector("body[data-phase=broken]");
    assert.match(await page.alert(), /^HeavyTail can't start in this browser: /);
  }, { complaints: [/404/] });
});
