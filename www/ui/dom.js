// @ts-check
/** Building elements. Text always becomes text nodes: nothing here or elsewhere parses HTML. */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [properties] DOM properties, "on…" listeners, or attributes when the name has a dash
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else /** @type {any} */ (element)[name] = value;
  }
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

/**
 * A name from a file as it may be shown: control characters and direction marks, which would hide or reorder text, are spelled out.
 * @param {string} name
 */
export function shown(name) {
  return name.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, (c) => `\\u{${c.codePointAt(0)?.toString(16)}}`);
}

/** What widgets tell: `on` for the outside, `tell` for the widget. */
export function events() {
  /** @type {Map<string, ((what: any) => void)[]>} */
  const listeners = new Map();
  return {
    /** @param {string} event @param {(what: any) => void} fn */
    on(event, fn) {
      listeners.set(event, [...(listeners.get(event) ?? []), fn]);
    },
    /** @param {string} event @param {any} [what] */
    tell(event, what) {
      for (const fn of listeners.get(event) ?? []) fn(what);
    },
  };
}
