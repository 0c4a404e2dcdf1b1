// Names in files are untrusted text.
import assert from "node:assert/strict";
import { describe } from "node:test";
import { named, onPage } from "./frame.mjs";
import { fromHeader, matrix, safetensors } from "./safetensors.mjs";

/** Without the content security policy, which would hide a fault. */
const UNGUARDED = { bypassCSP: true };

describe("names from files are text", () => {
  onPage("in tables, tooltips and files", async (page) => {
    const names = ['<img src=x onerror="window.hacked=1">.weight', "<script>window.hacked=1</script>.weight", "bell\u0007 and \u202Ereversed.weight", "a,b\"c\nd.weight"];
    await page.drop([named('<b onclick="window.hacked=1">x.safetensors', safetensors(names.map((name, i) => matrix(name, 24, 32, i + 1))))]);
    assert.equal(await page.alert(), "");
    assert.equal(await page.text("#model-name"), '<b onclick="window.hacked=1">x.safetensors');
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    const shown = (await page.table("#layers-table")).slice(1).map(([name]) => name);
    assert.deepEqual(shown.toSorted(), ['<img src=x onerror="window.hacked=1">', "<script>window.hacked=1</script>", "bell\\u{7} and \\u{202e}reversed", 'a,b"c\\u{a}d'].toSorted());

    await page.tooltips("#chart-layers", shown);

    const inside = "main :is(img, b, script)";
    assert.equal(await page.page.locator(inside).count(), 0);
    assert.equal(await page.page.evaluate(() => window.hacked), undefined);
    const report = JSON.parse(await page.download("report.json"));
    assert.ok(JSON.stringify(report).includes("reversed"));
  }, { options: UNGUARDED });

  onPage("in metadata, in messages and in addresses", async (page) => {
    const evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>';
    const header = JSON.stringify({ __metadata__: { format: evil, [evil]: evil }, "a.weight": { dtype: "F32", shape: [16, 16], data_offsets: [0, 1024] } });
    await page.drop([named("m.safetensors", fromHeader(header, matrix("", 16, 16, 1).data))]);
    assert.equal(await page.alert(), "");
    await page.analyze();
    await page.drop([named(`${evil}.safetensors`, Buffer.alloc(3))]);
    assert.ok((await page.alert()).includes("<img"), "the name is shown as it is");
    for (const address of [evil, `https://localhost:1/${encodeURIComponent(evil)}`]) {
      await page.page.fill("#address", address);
      await page.page.click("#open-address");
      await page.settled();
      assert.match(await page.alert(), /img/);
    }
    await page.page.goto(`${page.page.url()}?model=${encodeURIComponent(evil)}#${encodeURIComponent(evil)}`);
    await page.page.waitForSelector("#alert-text");
    assert.equal(await page.page.locator("main :is(img, script)").count(), 0);
    assert.equal(await page.page.evaluate(() => window.hacked), undefined);
  }, { options: UNGUARDED, complaints: [/ERR_/] });
});
