// @ts-check
/**
 * One thread of the pool, in place of wasm-bindgen-rayon's own script, whose messages it answers. Theirs is started from
 * a blob, which a content security policy would have to allow, and says nothing when its thread dies: the run would wait
 * for ever. This one reports it, and the error reaches the page.
 */

/** @param {MessageEvent<{type: string, mainJS: string, module: WebAssembly.Module, memory: WebAssembly.Memory, receiver: number}>} event */
self.onmessage = async ({ data: { type, mainJS, module, memory, receiver } }) => {
  if (type !== "wasm_bindgen_worker_init") return;
  try {
    const wasm = await import(mainJS);
    await wasm.default({ module_or_path: module, memory });
    self.postMessage({ type: "wasm_bindgen_worker_ready" });
    wasm.wbg_rayon_start_worker(receiver);
  } catch (error) {
    self.reportError(error);
  }
};
