// @ts-check
/** Installs the service worker: threads on hosts that can't send headers, and the page without a network. */
import { engine } from "./engine.js";

const ONCE = "heavytail reloaded";
/** On a slow line the page doesn't wait for ever to learn whether it will be reloaded. */
const PATIENCE_MS = 8000;
const RENEWAL_MS = 1000;

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
    if (controlled && registration.waiting && untouched() && (await renewed(registration.waiting))) return reload();
    if (crossOriginIsolated || controlled || !(await takesOver(registration))) return "as it is";
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

/** A newer version takes over, unless another tab runs this one. @param {ServiceWorker} waiting @returns {Promise<boolean>} */
function renewed(waiting) {
  return new Promise((resolve) => {
    navigator.serviceWorker.addEventListener("controllerchange", () => resolve(true), { once: true });
    // again and again, because a page that was left may still count for a moment
    const asking = setInterval(() => waiting.postMessage("take over"), RENEWAL_MS / 10);
    setTimeout(() => {
      clearInterval(asking);
      resolve(false);
    }, RENEWAL_MS);
  });
}

/** @param {ServiceWorkerRegistration} registration @returns {Promise<boolean>} */
function takesOver(registration) {
  if (registration.active && !registration.installing) return Promise.resolve(true); // loaded past it, with Shift
  return new Promise((resolve) => {
    navigator.serviceWorker.addEventListener("controllerchange", () => resolve(true), { once: true });
    registration.installing?.addEventListener("statechange", (event) => {
      if (/** @type {ServiceWorker} */ (event.target).state === "redundant") resolve(false);
    });
    setTimeout(() => resolve(false), PATIENCE_MS);
  });
}
