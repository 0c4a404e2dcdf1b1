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

  onPage("because the browser stops its worker: the page says so, and goes on with another", async (page) => {
    await page.give(named("many.safetensors", safetensors(Array.from({ length: 40 }, (_, i) => matrix(`layer.${i}.weight`, 320, 320, i)))));
    await page.page.click("#analyze");
    await page.finished(1);
    const workers = page.page.workers();
    await Promise.all(workers.filter((worker) => worker.url().endsWith("/www/worker.js")).map((worker) => worker.evaluate(() => self.close())));
    await page.page.waitForSelector("body[data-run=cancelled]");
    assert.match(await page.alert(), /^The analysis stopped, and the rows finished until then are kept: the worker failed \(the browser stopped it\)\.$/);
    await page.settled();
    assert.ok((await page.filledRows()) >= 6);
    await page.give(named("good.safetensors", small()));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  });

  onPage("to answer for a while, because the tab is frozen: the run goes on afterwards", async (page) => {
    await page.give(named("some.safetensors", safetensors(Array.from({ length: 12 }, (_, i) => matrix(`layer.${i}.weight`, 256, 256, i)))));
    const session = await page.page.context().newCDPSession(page.page);
    await page.page.click("#analyze");
    await session.send("Page.setWebLifecycleState", { state: "frozen" });
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await session.send("Page.setWebLifecycleState", { state: "active" });
    await page.settled();
    assert.equal(await page.runStatus(), "complete");
    assert.equal(await page.filledRows(), 72);
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
