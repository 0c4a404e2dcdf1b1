// @ts-check
/** @import { Session } from "../session.js" */
import { nameOf } from "./model_name.js";
import { events, make } from "./dom.js";

/** @typedef {{tab: HTMLButtonElement, name: HTMLElement, state: HTMLElement}} Line */

/**
 * The opened models, from the second on: one is shown, the others wait. Arrow keys go through them, Enter shows one, Delete closes it. Tells
 * "show" and "close" with a session.
 * @param {HTMLElement} panel what holds the model that is shown
 */
export function tabs(panel) {
  const { on, tell } = events();
  const list = make("div", { role: "tablist", "aria-label": "Opened models", onkeydown: press });
  // The crosses are for a pointer only: nothing may stand inside of a tab. This one is for everybody else.
  const close = make("button", { type: "button", className: "close-tab", onclick: () => shown && leave(shown) });
  const element = make("div", { className: "tabs", id: "tabs", hidden: true }, list, close);
  /** A tab for each, kept so that the focus stays where it is. @type {Map<Session, Line>} */
  const lines = new Map();
  /** @type {Session | null} */
  let shown = null;
  let made = 0;

  /** @param {Session} session */
  function line(session) {
    const [name, state] = [make("span", { className: "tab-name" }), make("small")];
    const cross = make("span", { className: "cross", title: "Close", "aria-hidden": "true", onclick: (/** @type {Event} */ event) => (event.stopPropagation(), leave(session)) }, "×");
    const tab = make("button", { type: "button", role: "tab", id: `tab-${(made += 1)}`, "aria-controls": panel.id, "aria-keyshortcuts": "Delete", onclick: () => tell("show", session) }, name, state, cross);
    return { tab, name, state };
  }

  /** What had the focus is gone: it goes to what is shown now. @param {Session} session */
  function leave(session) {
    tell("close", session);
    if (element.hidden) document.getElementById("model-name")?.focus({ preventScroll: true });
    else if (shown) lines.get(shown)?.tab.focus({ preventScroll: true });
  }

  /** @param {KeyboardEvent} event */
  function press(event) {
    const all = [...lines];
    const at = all.findIndex(([, { tab }]) => tab === document.activeElement);
    if (at < 0) return;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to !== undefined) all[(to + all.length) % all.length][1].tab.focus();
    else if (event.key === "Delete") leave(all[at][0]);
    else return;
    event.preventDefault();
  }

  return {
    element,
    on,
    /** @param {Session[]} sessions @param {Session | null} now @param {Session | null} running */
    show(sessions, now, running) {
      shown = now;
      const many = sessions.length > 1;
      element.hidden = !many;
      for (const [session, { tab }] of lines) {
        if (sessions.includes(session)) continue;
        tab.remove();
        lines.delete(session);
      }
      /** @type {Map<string, number>} */
      const twins = new Map();
      for (const session of sessions) {
        if (!lines.has(session)) {
          lines.set(session, line(session));
          list.append(/** @type {Line} */ (lines.get(session)).tab);
        }
        const { tab, name, state } = /** @type {Line} */ (lines.get(session));
        const title = nameOf(session.model.head.model);
        const nth = (twins.get(title) ?? 0) + 1;
        twins.set(title, nth);
        name.textContent = nth > 1 ? `${title} (${nth})` : title; // models of many sites are called model.safetensors
        tab.title = title;
        state.textContent = session === running ? "running" : words(session);
        tab.setAttribute("aria-selected", String(session === now));
        tab.tabIndex = session === now ? 0 : -1;
        if (session === now) close.textContent = `Close ${name.textContent}`;
      }
      for (const [name, value] of Object.entries({ role: "tabpanel", tabindex: "0", "aria-labelledby": (now && lines.get(now)?.tab.id) ?? "" })) {
        if (many) panel.setAttribute(name, value);
        else panel.removeAttribute(name);
      }
    },
  };
}

/** @param {Session} session */
function words({ run, pairs }) {
  if (run?.status === "cancelled") return "stopped";
  if (run) return "analysed";
  return pairs ? "compared" : "opened";
}
