// @ts-check
/** Installs the service worker: threads on hosts that can't send headers, and the page without a network. */
import { engine } from "./engine.js";

const ONCE = "heavytail reloaded";
/** On a slow line the page doesn't wait for ever to learn whether it will be reloaded; it may still be, later. */
const PATIENCE_MS = 8000;
/** How long a page waits for the version that waits; and how often it goes on asking, until something is opened in it. */
const RENEWAL_MS = 1000;
const MOST_ASKED = 60;
/** On a busy machine a service worker takes its time to answer. */
const ANSWER_MS = 5000;
/** The version that the service worker gave this page; none when the page came from the host. */
const [, VERSION] = /\/([0-9a-f]{16})\/www\/[^/]*$/.exec(import.meta.url) ?? [];

/**
 * Resolves when it is settled how this page starts; a page that gets its threads by loading again does so here, once.
 * @param {() => boolean} untouched nothing was opened yet that loading again would lose
 * @param {() => void} reloadHelps called if there would be threads after loading again, which would lose something
 * @returns {Promise<void>}
 */
export async function isolate(untouched, reloadHelps) {
  if (!("serviceWorker" in navigator) || !window.isSecureContext) return;
  const controlled = navigator.serviceWorker.controller !== null;
  // www/serve sends the headers, and shows what was just built
  if (crossOriginIsolated && !controlled && ["localhost", "127.0.0.1"].includes(location.hostname)) return;
  try {
    const script = new URL(`service_worker.js?engine=${engine().name}`, document.baseURI);
    const registration = await navigator.serviceWorker.register(script, { updateViaCache: "none" });
    if (controlled) {
      navigator.serviceWorker.addEventListener("controllerchange", () => void catchUp(untouched));
      if (untouched() && registration.waiting) await renewed(registration.waiting, untouched);
      return await catchUp(untouched);
    }
    if (crossOriginIsolated) return;
    const isolated = active(registration).then((yes) => {
      if (!yes) return;
      if (!untouched() || sessionStorage.getItem(ONCE)) return reloadHelps();
      sessionStorage.setItem(ONCE, "yes");
      return reload();
    });
    await Promise.race([isolated, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
  } catch {
    // private windows and strict settings: one thread, and a network
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

/** Whether a service worker will serve this page when it is loaded again: known once its files are there. @param {ServiceWorkerRegistration} registration @returns {Promise<boolean>} */
function active({ installing }) {
  return new Promise((resolve) => {
    void navigator.serviceWorker.ready.then(() => resolve(true)); // at once where the page was loaded past it, with Shift
    installing?.addEventListener("statechange", () => installing.state === "redundant" && resolve(false));
  });
}
