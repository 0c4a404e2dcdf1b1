// Measures inside Chromium; tests/benches/page builds what this opens.
import { serve } from "../browser/server.mjs";
import { launch, openPage } from "../browser/page.mjs";

const ROOT = new URL("../..", import.meta.url).pathname;
const [mode, file, runs = "2"] = process.argv.slice(2);

if (mode === "--model" && Number(runs) > 0) await wholeModel(file, Number(runs));
else if (mode) throw new Error("usage: tests/benches/page [--model FILE [RUNS]]");
else await rates();

/** Seconds from the click to the last row, as a user sees them. @param {string} model @param {number} runs */
async function wholeModel(model, runs) {
  const site = await serve(`${ROOT}dist`);
  const browser = await launch();
  for (let run = 0; run < runs; run++) {
    const page = await openPage(browser, site.url, { serviceWorkers: "block" });
    await page.give([model]);
    // What waits for the end looks at every frame otherwise, which costs one of two cores a tenth of its time.
    const seconds = await page.page.evaluate(
      () =>
        new Promise((resolve, reject) => {
          const begun = performance.now();
          const look = () => {
            const { run } = document.body.dataset;
            if (run === "complete") resolve(1e-3 * (performance.now() - begun));
            else if (run === "cancelled") reject(new Error(document.querySelector("#alert-text")?.textContent || "the run was stopped"));
          };
          new MutationObserver(look).observe(document.body, { attributeFilter: ["data-run"] });
          document.getElementById("analyze").click();
        }),
    );
    console.log(`run ${run + 1}: ${seconds.toFixed(2)} s`);
    await page.close();
  }
  await browser.close();
  await site.close();
}

async function rates() {
  const site = await serve(`${ROOT}target/page-rates`);
  const browser = await launch();
  const context = await browser.newContext({ serviceWorkers: "block" });
  const page = await context.newPage();
  await page.goto(site.url);
  /** A worker for each measurement: none inherits what the compiler has learned. @param {(string | number)[]} request */
  const measure = (...request) =>
    page.evaluate(
      ([url, request]) =>
        new Promise((resolve, reject) => {
          const worker = new Worker(url, { type: "module" });
          worker.onmessage = ({ data }) => (worker.terminate(), resolve(data));
          worker.onerror = (event) => reject(new Error(event.message));
          worker.postMessage(request);
        }),
      [`${site.url}page_worker.js`, request],
    );
  const giga = (operations, seconds) => (1e-9 * operations) / seconds;
  const peak = giga(2 * 24 * 24 * 256, await measure("peak_seconds"));
  console.log(`${browser.version()}, one worker, GEMM peak ${peak.toFixed(1)} GF/s\n`);
  console.log("Codes of 8 and of 6 bits, without residues, with one in eight pairs, with all:\n");
  console.log("| m x n | Gram f64 GF/s | 8 bits Gop/s | 1 in 8 | all | 6 bits Gop/s | 1 in 8 | all |\n|---|---|---|---|---|---|---|---|");
  for (const [m, n] of [[576, 192], [576, 576], [1536, 576], [3584, 896], [2048, 2048]]) {
    const work = m * n * n;
    const gram = giga(work, await measure("gram_seconds", m, n)).toFixed(1);
    const codes = [];
    for (const bits of [8, 6])
      for (const every of [0, 8, 1]) codes.push(giga(work, await measure("codes_seconds", m, n, bits, every)).toFixed(1));
    console.log(`| ${m} x ${n} | ${gram} | ${codes.join(" | ")} |`);
  }
  console.log("\n| n | eigenvalues ms | GF/s | band | chase | tridiagonal |\n|---|---|---|---|---|---|");
  for (const n of [192, 576, 896, 2048]) {
    const [band, chase, total] = await measure("eigenvalue_seconds", n);
    const ms = (seconds) => (1e3 * seconds).toFixed(2);
    console.log(`| ${n} | ${ms(total)} | ${giga((4 / 3) * n ** 3, total).toFixed(1)} | ${ms(band)} | ${ms(chase - band)} | ${ms(total - chase)} |`);
  }
  await browser.close();
  await site.close();
}
