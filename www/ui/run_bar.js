// @ts-check
/** @import { Run } from "../session.js" */
import { events, make } from "./dom.js";
import { gauge } from "./gauge.js";

/** Analyze, Preview, Cancel, the time it would take, progress and time left. Tells "analyze", "change" (of a running one), "preview" and "cancel". */
export function runBar() {
  const { on, tell } = events();
  const analyze = make("button", { type: "button", id: "analyze", className: "primary", onclick: () => tell(cancel.disabled ? "analyze" : "change") }, "Analyze");
  const preview = make("button", { type: "button", id: "preview", hidden: true, onclick: () => tell("preview") }, "Preview");
  const estimate = make("p", { className: "estimate", id: "estimate", role: "status" });
  const cancel = make("button", { type: "button", id: "cancel", onclick: () => tell("cancel") }, "Cancel");
  const shown = gauge("", "Analysis", "layer");
  const element = make("div", { className: "run-bar" }, estimate, make("div", { className: "buttons" }, analyze, preview, cancel), ...shown.elements);

  return {
    element,
    on,
    /** @param {Run | null} run @param {{ready: boolean, running: boolean}} state */
    update(run, { ready, running }) {
      const was = !cancel.disabled;
      analyze.disabled = !ready || running;
      analyze.textContent = "Analyze";
      preview.disabled = !ready || running;
      cancel.disabled = !running;
      if (was && !running && run && document.activeElement === document.body) analyze.focus({ preventScroll: true });
      shown.update(run, running);
    },
    progress: shown.progress,
    /** At once: a glide would be half a second of frames, just when the engine begins. */
    toTop() {
      element.scrollIntoView();
    },
    /** While an analysis runs: the settings are no longer those it was started with. */
    offerChange() {
      if (cancel.disabled) return;
      analyze.textContent = "Apply changes";
      analyze.disabled = false;
    },
    /** @param {string} sentence what would be computed and how long that would take */
    estimate(sentence) {
      estimate.textContent = sentence;
    },
    /** @param {number} every so many-th block is looked at first; 0: no preview is offered */
    offerPreview(every) {
      preview.hidden = every === 0;
      preview.textContent = `Preview every ${ordinal(every)} block`;
    },
  };
}

/** @param {number} n */
function ordinal(n) {
  const tail = n % 100 >= 11 && n % 100 <= 13 ? 0 : n % 10;
  return `${n}${["th", "st", "nd", "rd"][tail] ?? "th"}`;
}
