// Runs one measurement after the other, on a thread of its own as the page's worker does.
import init, * as wasm from "./heavytail.js";

const loaded = init();

self.onmessage = async ({ data: [name, ...sizes] }) => {
  await loaded;
  const seconds = wasm[name](...sizes);
  self.postMessage(typeof seconds === "number" ? seconds : Array.from(seconds));
};
