// @ts-check
/**
 * One thread of the pool, in place of wasm-bindgen-rayon's own script, whose messages it answers. Theirs is started from
 * a blob, which a content security policy would have to allow, and says nothing when its thread dies: the run would wait
 * for ever. This one reports it, and holds a lock of its own name while it lives, which tells the page that it is gone even
 * when the browser stopped it, or when its worker waits for it. The engine posts "finished" from here after every task.
 */

/** An error is on its way to the page for so long before the lock becomes free, which says less. */
const LAST_WORDS_MS = 500;

/** @param {MessageEvent<{type: string, mainJS: string, module: WebAssembly.Module, memory: WebAssembly.Memory, receiver: number}>} event */
self.onmessage = async ({ data: { type, mainJS, module, memory, receiver } }) => {
  if (type !== "wasm_bindgen_worker_init") return;
  try {
    const wasm = await import(mainJS);
    await wasm.default({ module_or_path: module, memory });
    if (self.name && navigator.locks) await new Promise((held) => void navigator.locks.request(self.name, () => new Promise(() => held(null))));
    self.postMessage({ type: "wasm_bindgen_worker_ready" });
    wasm.wbg_rayon_start_worker(receiver);
  } catch (error) {
    self.reportError(error);
    setTimeout(() => self.close(), LAST_WORDS_MS);
  }
};
