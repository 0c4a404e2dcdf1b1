// The wasm module may fail: to load, to start its threads, while it computes.
import assert from "node:assert/strict";
import { describe } from "node:test";
import { named, onPage, small } from "./frame.mjs";
import { matrix, safetensors } from "./safetensors.mjs";

describe("the engine may fail", () => {
  /** Serves another heavytail.js, or other script, than the built one. @param {(source: string) => string} change */
  const changed = (change, script = "heavytail.js") => async (page) => {
    await page.page.context().route(`**/${script}`, async (route) => {
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
    assert.match(await page.alert(), /^The analysis stopped, and the rows finished until then are kept: the worker failed \(unreachable\)\.$/);
    assert.equal(await page.runStatus(), "cancelled");
    await page.give(named("good.safetensors", small()));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.equal(await page.alert(), "");
  });

  onPage("to look at a run for hours: a thread that is done says so", async (page) => {
    await changed((source) => {
      const patient = source.replace("LOOK_MS = 250;", "LOOK_MS = 1e7;");
      assert.notEqual(patient, source);
      return patient;
    }, "www/reading.js")(page);
    assert.match(await page.text("#engine"), /with \d+ threads/);
    await page.give(named("twenty.safetensors", safetensors(Array.from({ length: 20 }, (_, i) => matrix(`layer.${i}.weight`, 32, 48, i)))));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  });

  onPage("because the browser stops its worker: the page says so, and goes on with another", async (page) => {
    await page.give(named("many.safetensors", safetensors(Array.from({ length: 40 }, (_, i) => matrix(`layer.${i}.weight`, 320, 320, i)))));
    await page.hold(4 * 320 * 320, 12);
    await page.page.click("#analyze");
    await page.finished(1);
    const workers = page.page.workers();
    // whether its last answer still arrives is of no matter
    await Promise.all(workers.filter((worker) => worker.url().endsWith("/www/worker.js")).map((worker) => worker.evaluate(() => self.close()).catch(() => {})));
    await page.page.waitForSelector("body[data-run=cancelled]");
    assert.match(await page.alert(), /^The analysis stopped, and the rows finished until then are kept: the worker failed \(the browser stopped it\)\.$/);
    await page.settled();
    assert.ok((await page.filledRows()) >= 6);
    await page.give(named("good.safetensors", small()));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  });

  /** A thread of the pool ends when it is told to. */
  const mortal = changed((source) => {
    const written = source.replace(/super\(new URL\("\.\/thread\.js".*\);/, '$& if (made === 1) new BroadcastChannel("test").onmessage = () => this.terminate();');
    assert.notEqual(written, source);
    return written;
  }, "worker.js");
  const kill = (page) => page.page.evaluate(() => new BroadcastChannel("test").postMessage("die"));

  onPage("because the browser stops a thread of its pool in a run: the page says so, and goes on with another worker", async (page) => {
    await mortal(page);
    assert.match(await page.text("#engine"), /with \d+ threads/);
    await page.give(named("many.safetensors", safetensors(Array.from({ length: 24 }, (_, i) => matrix(`layer.${i}.weight`, 640, 640, i)))));
    await page.hold(4 * 640 * 640, 8);
    await page.page.click("#analyze");
    await page.finished(1);
    await kill(page);
    await page.page.waitForSelector("body[data-run=cancelled]");
    await page.settled();
    assert.match(await page.alert(), /^The analysis stopped, and the rows finished until then are kept: the worker failed \(one of its threads stopped\)\.$/);
    assert.ok((await page.filledRows()) >= 6);
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.equal(await page.filledRows(), 144);
  });

  onPage("because a thread stops before a run: the run takes another worker", async (page) => {
    await mortal(page);
    await page.give(named("good.safetensors", small()));
    await kill(page);
    await page.page.waitForSelector("#alert-text");
    assert.equal(await page.alert(), "The worker failed (one of its threads stopped). It was started again, and what is finished stays.");
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.equal(await page.alert(), "");
  });

  onPage("while it measures how long a run would take: the run takes another worker", async (page) => {
    await changed((source) => source.replace(/async estimate\(.*\{/, '$& reportError(new Error("a fault of the test")); await new Promise(() => {});'), "worker.js")(page);
    await page.give(named("good.safetensors", small()));
    await page.page.waitForSelector("#alert-text");
    assert.match(await page.alert(), /^The worker failed \(.*a fault of the test\)\. It was started again, and what is finished stays\.$/);
    assert.match(await page.text("#estimate"), /a fault of the test/);
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
