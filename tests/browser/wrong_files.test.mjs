// Files that are no model, and files that go away.
import assert from "node:assert/strict";
import { mkdir, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "node:test";
import { named, onPage, small, stage } from "./frame.mjs";
import { fromHeader, matrix, safetensors } from "./safetensors.mjs";

describe("what may be wrong with a file", () => {
  const f32 = (name, shape, begin, end) => [name, { dtype: "F32", shape, data_offsets: [begin, end] }];
  const header = (...entries) => JSON.stringify(Object.fromEntries(entries));
  const zeros = (n) => Buffer.alloc(n);
  const length = (n) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(n));
    return bytes;
  };
  const shard = (i) => named(`model-0000${i}-of-00002.safetensors`, safetensors([matrix(`layer.${i}.weight`, 16, 16, i)]));
  const index = (map) => named("model.safetensors.index.json", Buffer.from(JSON.stringify({ metadata: {}, weight_map: map })));

  /** What is given, and what the message must speak of. @type {[string, () => any, RegExp][]} */
  const WRONG = [
    ["an empty file", () => named("empty.safetensors", zeros(0)), /empty\.safetensors/],
    ["a text file", () => named("notes.txt", Buffer.from("Dear diary, this is no model at all.\n".repeat(20))), /notes\.txt/],
    ["a header longer than the file", () => named("long.safetensors", Buffer.concat([length(5000), zeros(100)])), /long\.safetensors.*header|header.*long\.safetensors/],
    ["broken JSON", () => named("broken.safetensors", fromHeader('{"a.weight": {"dtype": "F32", ')), /broken\.safetensors/],
    ["JSON nested very deeply", () => named("deep.safetensors", fromHeader('{"a":'.repeat(100_000) + "1" + "}".repeat(100_000))), /deep\.safetensors/],
    ["a tensor named twice", () => named("twice.safetensors", fromHeader('{"a.weight":{"dtype":"F32","shape":[8,8],"data_offsets":[0,256]},"a.weight":{"dtype":"F32","shape":[8,8],"data_offsets":[256,512]}}', zeros(512))), /a\.weight/],
    ["tensors that overlap", () => named("overlap.safetensors", fromHeader(header(f32("a.weight", [8, 8], 0, 256), f32("b.weight", [8, 8], 128, 384)), zeros(384))), /[ab]\.weight/],
    ["a gap between tensors", () => named("gap.safetensors", fromHeader(header(f32("a.weight", [8, 8], 0, 256), f32("b.weight", [8, 8], 300, 556)), zeros(556))), /b\.weight|gap/],
    ["offsets that run backwards", () => named("back.safetensors", fromHeader(header(f32("a.weight", [8, 8], 256, 0)), zeros(256))), /a\.weight/],
    ["offsets past the end of the file", () => named("past.safetensors", fromHeader(header(f32("a.weight", [64, 64], 0, 16384)), zeros(256))), /past\.safetensors|a\.weight/],
    ["an unknown dtype", () => named("dtype.safetensors", fromHeader(JSON.stringify({ "a.weight": { dtype: "Q7", shape: [8, 8], data_offsets: [0, 256] } }), zeros(256))), /Q7/],
    ["a shape that doesn't fit the bytes", () => named("shape.safetensors", fromHeader(header(f32("a.weight", [8, 9], 0, 256)), zeros(256))), /a\.weight/],
    ["a shape whose size overflows", () => named("huge.safetensors", fromHeader(header(f32("a.weight", [4294967295, 4294967295, 4294967295], 0, 256)), zeros(256))), /a\.weight/],
    ["a missing shard", () => [shard(1)], /shards?.*give all of them/],
    ["an index that names a missing shard", () => [shard(1), index({ "layer.1.weight": shard(1).name, "layer.2.weight": shard(2).name })], /00002|layer\.2/],
    ["an index that names a missing tensor", () => [shard(1), shard(2), index({ "layer.1.weight": shard(1).name, "layer.2.weight": shard(2).name, "layer.9.weight": shard(2).name })], /layer\.9\.weight/],
    ["a broken index", () => [shard(1), shard(2), named("model.safetensors.index.json", Buffer.from("{"))], /index\.json/],
    ["files without a model", () => [named("a.txt", zeros(3)), named("b.dat", zeros(3))], /no model file/],
    ["a GGUF file cut short", () => named("cut.gguf", Buffer.from("GGUF\x03\0\0\0")), /cut\.gguf.*cut short/],
    ["a pickle cut short", () => named("old.pth", Buffer.from([0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9])), /old\.pth.*ends early/],
  ];

  onPage("is said in one sentence, and the page goes on", async (page, t) => {
    await page.drop([named("good.safetensors", small())]);
    await page.analyze();
    const before = await page.table("#comparison");
    for (const [what, give, says] of WRONG) {
      await t.test(what, async () => {
        await page.give(give());
        const said = await page.alert();
        assert.match(said, says);
        assert.doesNotMatch(said, /RuntimeError|unreachable|undefined|\[object|panicked/);
        assert.deepEqual(await page.table("#comparison"), before, "earlier results stay");
        assert.equal(await page.text("#model-name"), "good.safetensors", "and so does the model");
        await page.drop([named("good.safetensors", small())]);
        assert.equal(await page.alert(), "", "the next model takes the message away");
      });
    }
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.deepEqual(await page.table("#comparison"), before);
  });

  onPage("a header over 100 MB", async (page) => {
    const path = join(stage.folder, "header.safetensors");
    await writeFile(path, length(150_000_000));
    await truncate(path, 200_000_000);
    await page.give(path);
    assert.match(await page.alert(), /header\.safetensors/);
    assert.match(await page.alert(), /100/);
  });

  onPage("a folder without models", async (page) => {
    const path = join(stage.folder, "nothing");
    await mkdir(path);
    await writeFile(join(path, "readme.txt"), "nothing");
    await page.give(path, "#pick-folder-input");
    assert.match(await page.alert(), /There is no model file among the 1 file you gave/);
  });

  onPage("no matrix in it", async (page) => {
    await page.give(named("vectors.safetensors", safetensors([{ name: "norm.weight", shape: [64], data: Buffer.alloc(256) }])));
    const listed = await page.alert();
    if (listed === "") {
      assert.match(await page.text("#analysed-heading"), /^0 tensors/);
      await page.analyze();
    }
    assert.match(await page.alert(), /\w.*\.$/s);
    await page.give(named("good.safetensors", small()));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  });

  onPage("a file that is gone when it is to be read", async (page) => {
    const path = join(stage.folder, "gone.safetensors");
    await writeFile(path, small());
    await page.give(path);
    await rm(path);
    await page.analyze();
    assert.match(await page.alert(), /gone\.safetensors can't be read: it was changed, moved or locked/);
    await page.give(named("good.safetensors", small()));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  });

  onPage("a file that was changed since it was opened", async (page) => {
    const path = join(stage.folder, "changed.safetensors");
    await writeFile(path, small());
    await page.give(path);
    await writeFile(path, Buffer.concat([small(), Buffer.alloc(100)]));
    await page.analyze();
    assert.match(await page.alert(), /changed\.safetensors can't be read: it was changed, moved or locked/);
  });

  onPage("a file that goes while it is analysed costs the layers not read yet", async (page) => {
    const path = join(stage.folder, "going.safetensors");
    const data = matrix("", 48, 40_000, 8).data;
    await writeFile(path, safetensors(Array.from({ length: 40 }, (_, i) => ({ name: `layer.${i + 10}.weight`, shape: [48, 40_000], data }))));
    await page.give(path);
    const readOn = await page.hold(data.length, 8);
    await page.page.click("#analyze");
    await page.finished(1);
    await rm(path);
    await readOn();
    await page.settled();
    assert.equal(await page.runStatus(), "complete");
    await page.page.selectOption("#layer-level", "");
    const fits = (await page.table("#layers-table")).slice(1).map((row) => row.join(" "));
    const failed = fits.filter((row) => row.includes("failed: going.safetensors can't be read"));
    assert.ok(failed.length > 0 && failed.length < fits.length, `${failed.length} of ${fits.length} rows failed`);
  });
});
