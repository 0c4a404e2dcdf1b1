// @ts-check
/** @import { Engine } from "../types.js" */
import { make } from "./dom.js";
import { count } from "./numbers.js";

/** How the work is done here: with how many threads, and why no more. */
export function engineStatus() {
  const element = make("p", { className: "engine", id: "engine", role: "status" }, "Starting …");
  return {
    element,
    on() {},
    /** @param {Engine} engine */
    show({ threads, version }) {
      const why = !self.crossOriginIsolated
        ? "Computing with a single thread: this server doesn't send the headers (COOP and COEP) that threads need."
        : threads > 1
          ? `Computing with ${count(threads, "thread")}`
          : `Computing with a single thread${navigator.hardwareConcurrency > 1 ? ": more did not start" : ""}`;
      element.textContent = why;
      element.title = `HeavyTail ${version}`;
    },
    failed() {
      element.textContent = "Not running";
    },
  };
}
