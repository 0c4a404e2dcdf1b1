// @ts-check
/** @import { Run } from "../controller.js" */
import { events, make } from "./dom.js";
import { about, clock, whole } from "./numbers.js";

/** Before this, the rate seen so far says little about the time left. */
const MIN_SECONDS = 2;
const MIN_FRACTION = 0.005;
/** A screen reader hears of the progress at these steps only. */
const ANNOUNCED = 0.25;

/** Analyze, Preview, Cancel, the time it would take, progress and time left. Tells "analyze", "change" (of a running one), "preview" and "cancel". */
export function runBar() {
  const { on, tell } = events();
  const analyze = make("button", { type: "button", id: "analyze", className: "primary", onclick: () => tell(cancel.disabled ? "analyze" : "change") }, "Analyze");
  const preview = make("button", { type: "button", id: "preview", hidden: true, onclick: () => tell("preview") }, "Preview");
  const estimate = make("p", { className: "estimate", id: "estimate", role: "status" });
  const cancel = make("button", { type: "button", id: "cancel", onclick: () => tell("cancel") }, "Cancel");
  const bar = make("progress", { id: "progress", max: 1, value: 0, "aria-label": "Progress of the analysis" });
  const text = make("p", { className: "progress-text", id: "progress-text" });
  const spoken = make("p", { className: "spoken", role: "status", id: "spoken" });
  const element = make("div", { className: "run-bar" }, estimate, make("div", { className: "buttons" }, analyze, preview, cancel), make("div", { className: "gauge" }, bar, text), spoken);

  /** @type {Run | null} */
  let run = null;
  let seconds = 0;
  let step = 0;
  let ticking = 0;

  function write() {
    if (!run) {
      text.textContent = "";
      bar.value = 0;
      return;
    }
    const { layers_done, layers_total, work_done, work_total } = run.progress;
    if (run.status === "running") seconds = (performance.now() - run.began) / 1000;
    const fraction = work_total > 0 ? work_done / work_total : 0;
    bar.value = run.status === "complete" ? 1 : fraction;
    const done = `${whole(layers_done)} of ${whole(layers_total)} layers`;
    if (run.status !== "running" && seconds === 0) text.textContent = done; // kept from an earlier visit
    else if (run.status === "complete") text.textContent = `${done} in ${clock(seconds)}`;
    else if (run.status === "cancelled") text.textContent = `Stopped after ${clock(seconds)}: ${done}`;
    else if (seconds < MIN_SECONDS || fraction < MIN_FRACTION) text.textContent = `${done} · ${clock(seconds)} · estimating the time left`;
    else text.textContent = `${done} · ${clock(seconds)} · ${about((seconds * (1 - fraction)) / fraction)}`;
    if (run.status === "running" && Math.floor(fraction / ANNOUNCED) > step) {
      step = Math.floor(fraction / ANNOUNCED);
      spoken.textContent = `${done} done`;
    }
  }

  return {
    element,
    on,
    /** @param {Run | null} shown @param {{ready: boolean, running: boolean}} state */
    update(shown, { ready, running }) {
      if (shown !== run) {
        seconds = 0;
        step = 0;
        spoken.textContent = shown ? "Analysis started" : "";
      }
      const was = !cancel.disabled;
      run = shown;
      analyze.disabled = !ready || running;
      analyze.textContent = "Analyze";
      preview.disabled = !ready || running;
      cancel.disabled = !running;
      if (was && !running && run) {
        spoken.textContent = run.status === "complete" ? "Analysis complete" : "Analysis stopped, finished rows are kept";
        if (document.activeElement === document.body) analyze.focus({ preventScroll: true });
      }
      clearInterval(ticking);
      if (running) ticking = setInterval(write, 500);
      write();
    },
    progress: write,
    toTop() {
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      element.scrollIntoView({ block: "start", behavior: calm ? "instant" : "smooth" });
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
