// @ts-check
/** @import { Engine } from "../types.js" */
import { make } from "./dom.js";
import { count } from "./numbers.js";

const NO_THREADS = "this server doesn't send the headers (COOP and COEP) that threads need.";
const RELOAD = "load the page again for more.";

/** How the work is done here: with how many threads, and why no more. */
export function engineStatus() {
  let reload = false;
  const element = make("p", { className: "engine", id: "engine", role: "status" }, "Starting …");
  return {
    element,
    on() {},
    /** @param {Engine} engine */
    show({ threads, version }) {
      const why = !self.crossOriginIsolated
        ? `Computing with a single thread: ${reload ? RELOAD : NO_THREADS}`
        : threads > 1
          ? `Computing with ${count(threads, "thread")}`
          : `Computing with a single thread${navigator.hardwareConcurrency > 1 ? ": more did not start" : ""}`;
      element.textContent = why;
      element.title = `HeavyTail ${version}`;
    },
    /** The service worker came when the page was already in use. */
    reloadHelps() {
      reload = true;
      element.textContent = element.textContent?.replace(NO_THREADS, RELOAD) ?? "";
    },
    failed() {
      element.textContent = "Not running";
    },
  };
}
