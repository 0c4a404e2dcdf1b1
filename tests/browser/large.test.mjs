// Files of more bytes than wasm can address.
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe } from "node:test";
import { named, onPage, stage } from "./frame.mjs";
import { matrix, safetensors, sparseSafetensors } from "./safetensors.mjs";

describe("large files", () => {
  onPage("a tensor past 4 GiB of a 5 GB file is read and analysed", async (page) => {
    const real = matrix("real.weight", 96, 160, 7);
    const path = join(stage.folder, "large.safetensors");
    await sparseSafetensors(path, [
      { name: "a_hole", dtype: "U8", shape: [4_700_000_000] },
      real,
      { name: "z_hole", dtype: "U8", shape: [300_000_000] },
    ]);
    await page.give(path);
    assert.match(await page.text("#model-facts"), /5\.00 GB/);
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    const numbers = async () => (await page.table("#layers-table")).map(([name, , ...rest]) => [name, ...rest]);
    const large = await numbers();
    await page.give(named("same.safetensors", safetensors([real])));
    await page.analyze();
    assert.deepEqual(await numbers(), large, "the numbers are those of the same tensor in a small file");
    assert.match(large[1].join(" "), /real .* ok/);
  });
});
