// Models in other formats than safetensors, and quantized ones: the page reads what the native program reads.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "node:test";
import { NATIVE, ROOT, onPage } from "./frame.mjs";

describe("other formats", () => {
  for (const [what, path] of [
    ["a GGUF file", "gguf/small.gguf"],
    ["a GPTQ checkpoint, whose weights are in several tensors", "packed/gptq_4bit_g128_sym.safetensors"],
    ["a PyTorch checkpoint", "archives/training.pth"],
  ]) {
    onPage(`${what} gives the native run's table`, async (page) => {
      await page.give(join(ROOT, "tests/data", path));
      assert.equal(await page.alert(), "");
      await page.analyze();
      assert.equal(await page.runStatus(), "complete");
      const native = await readFile(join(NATIVE, path.split("/")[1], "details.csv"));
      assert.ok((await page.download("details.csv")).equals(native), path);
    });
  }

  onPage("a folder with config.json: it says how the weights are packed", async (page) => {
    const weights = { name: "model.safetensors", mimeType: "", buffer: await readFile(join(ROOT, "tests/data/packed/mlx_affine_g64_b4.safetensors")) };
    const config = { name: "config.json", mimeType: "", buffer: Buffer.from('{"quantization": {"bits": 4, "group_size": 64}}') };
    await page.give([weights]);
    assert.match(await page.alert(), /config\.json/);
    await page.give([weights, config]);
    assert.equal(await page.alert(), "");
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  });
});
