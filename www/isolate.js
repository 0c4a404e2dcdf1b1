// @ts-check
/** Installs the service worker: threads on hosts that can't send headers, and the page without a network. */
import { engine } from "./engine.js";

const ONCE = "heavytail reloaded";
/** On a slow line the page doesn't wait for ever to learn whether it will be reloaded. */
const PATIENCE_MS = 8000;
/** How long a page waits for the version that waits; and how often it goes on asking, until something is opened in it. */
const RENEWAL_MS = 1000;
const MOST_ASKED = 60;
/** On a busy machine a service worker takes its time to answer. */
const ANSWER_MS = 5000;
/** The version that the service worker gave this page; none when the page came from the host. */
const [, VERSION] = /\/([0-9a-f]{16})\/www\/[^/]*$/.exec(import.meta.url) ?? [];

/**
 * Resolves when it is settled how this page runs; a page that gets its threads by loading again does so here, once.
 * @param {() => boolean} untouched nothing was opened yet that loading again would lose
 * @returns {Promise<"as it is" | "reload helps">}
 */
export async function isolate(untouched) {
  if (!("serviceWorker" in navigator) || !window.isSecureContext) return "as it is";
  const controlled = navigator.serviceWorker.controller !== null;
  // www/serve sends the headers, and shows what was just built
  if (crossOriginIsolated && !controlled && ["localhost", "127.0.0.1"].includes(location.hostname)) return "as it is";
  try {
    const script = new URL(`service_worker.js?engine=${engine().name}`, document.baseURI);
    const registration = await navigator.serviceWorker.register(script, { updateViaCache: "none" });
    if (controlled) {
      navigator.serviceWorker.addEventListener("controllerchange", () => void catchUp(untouched));
      if (untouched() && registration.waiting) await renewed(registration.waiting, untouched);
      await catchUp(untouched);
      return "as it is";
    }
    if (crossOriginIsolated || !(await active(registration))) return "as it is";
    if (!untouched() || sessionStorage.getItem(ONCE)) return "reload helps";
    sessionStorage.setItem(ONCE, "yes");
    return reload();
  } catch {
    return "as it is"; // private windows and strict settings: one thread, and a network
  }
}

/** @returns {Promise<never>} */
function reload() {
  location.reload();
  return new Promise(() => {});
}

/**
 * Until a newer version has taken over, which it does unless another tab runs this one: a tab that was left counts for a moment still.
 * @param {ServiceWorker} waiting @param {() => boolean} untouched
 * @returns {Promise<void>}
 */
function renewed(waiting, untouched) {
  return new Promise((resolve) => {
    navigator.serviceWorker.addEventListener("controllerchange", () => resolve(), { once: true });
    let asked = 0;
    const ask = (/** @type {number} */ pause) => {
      if (waiting.state !== "installed" || !untouched() || (asked += 1) > MOST_ASKED) return;
      waiting.postMessage("take over");
      setTimeout(ask, pause, Math.min(2 * pause, RENEWAL_MS));
    };
    ask(RENEWAL_MS / 20);
    setTimeout(resolve, RENEWAL_MS);
  });
}

/** Loads the page again when a newer version has taken over: asked to, or by itself while this page was on its way. @param {() => boolean} untouched */
async function catchUp(untouched) {
  const { controller } = navigator.serviceWorker;
  const serving = await version(controller);
  if (serving === VERSION) return controller?.postMessage("tidy up");
  if (!serving || !untouched() || sessionStorage.getItem(ONCE) === serving) return;
  sessionStorage.setItem(ONCE, serving);
  return reload();
}

/** @param {ServiceWorker | null} worker @returns {Promise<string | undefined>} none: it doesn't answer */
function version(worker) {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => resolve(data);
    worker?.postMessage("version", [port2]);
    setTimeout(() => resolve(undefined), ANSWER_MS);
  });
}

/** Whether a service worker will serve this page when it is loaded again. @param {ServiceWorkerRegistration} registration @returns {Promise<boolean>} */
function active(registration) {
  if (registration.active) return Promise.resolve(true); // loaded past it, with Shift
  return new Promise((resolve) => {
    registration.installing?.addEventListener("statechange", (event) => {
      const { state } = /** @type {ServiceWorker} */ (event.target);
      if (state === "activated" || state === "redundant") resolve(state === "activated");
    });
    setTimeout(() => resolve(false), PATIENCE_MS);
  });
}
