// @ts-check
/**
 * Settings in the address after #s=: what differs from the engine's defaults, never a name or a weight of a model.
 * @import { Options } from "../types.js"
 */
const KEY = "s";

/** @param {Partial<Options>} changes @param {string} [base] */
export function linkTo(changes, base = location.href) {
  const url = new URL(base);
  const hash = new URLSearchParams(url.hash.slice(1));
  hash.set(KEY, new URLSearchParams(Object.entries(changes).map(([key, value]) => [key, JSON.stringify(value)])).toString());
  url.hash = hash.toString();
  return url.href;
}

/**
 * The settings in an address. Whatever is no option of the engine, or of another kind than its default, is left out.
 * @param {Options} defaults
 * @param {string} [href]
 * @returns {Partial<Options>}
 */
export function settingsOf(defaults, href = location.href) {
  const text = new URLSearchParams(new URL(href).hash.slice(1)).get(KEY);
  /** @type {Partial<Options>} */
  const wanted = {};
  for (const [key, json] of new URLSearchParams(text ?? "")) {
    if (!Object.hasOwn(defaults, key)) continue;
    const value = parsed(json);
    const like = defaults[key];
    if (value !== undefined && (typeof value === typeof like || (like === null && typeof value === "number"))) wanted[key] = value;
  }
  return wanted;
}

/** @param {string} json */
function parsed(json) {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
