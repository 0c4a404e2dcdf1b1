// @ts-check
/** @import { Progress, Status } from "../types.js" */
import { make } from "./dom.js";
import { about, clock, whole } from "./numbers.js";

/** Before this, the rate seen so far says little about the time left. */
const MIN_SECONDS = 2;
const MIN_FRACTION = 0.005;
/** So often the time is told anew when nothing else is: more rarely than news come, each of which tells it. */
const TICK_MS = 2000;
/** A screen reader hears of the progress at these steps only. */
const ANNOUNCED = 0.25;

/** @typedef {{progress: Progress, status: "running" | Status, began: number, ended: number | null}} Measured what has progress */

/**
 * How far a run is, and how long it still takes.
 * @param {string} id before the ids of the parts
 * @param {string} work what runs, at the begin of a sentence
 * @param {string} noun what it goes through
 */
export function gauge(id, work, noun) {
  const bar = make("progress", { id: `${id}progress`, max: 1, value: 0, "aria-label": `Progress of the ${work.toLowerCase()}` });
  const text = make("p", { className: "progress-text", id: `${id}progress-text` });
  const spoken = make("p", { className: "spoken", role: "status", id: `${id}spoken` });
  /** @type {Measured | null} */
  let run = null;
  let was = false;
  let step = 0;
  let ticking = 0;
  /** Whose start was told: one may be looked at again. @type {WeakSet<Measured>} */
  const announced = new WeakSet();

  function write() {
    if (!run) {
      text.textContent = "";
      bar.value = 0;
      return;
    }
    const { layers_done, layers_total, work_done, work_total } = run.progress;
    const isKept = run.status !== "running" && run.ended === null;
    const seconds = ((run.ended ?? performance.now()) - run.began) / 1000;
    const fraction = work_total > 0 ? work_done / work_total : 0;
    bar.value = run.status === "complete" ? 1 : fraction;
    const done = `${whole(layers_done)} of ${whole(layers_total)} ${noun}s`;
    if (isKept) text.textContent = done; // kept from an earlier visit
    else if (run.status === "complete") text.textContent = `${done} in ${clock(seconds)}`;
    else if (run.status === "cancelled") text.textContent = `Stopped after ${clock(seconds)}: ${done}`;
    else if (seconds < MIN_SECONDS || fraction < MIN_FRACTION) text.textContent = `${done} · ${clock(seconds)} · estimating the time left`;
    else text.textContent = `${done} · ${clock(seconds)} · ${about((seconds * (1 - fraction)) / fraction)}`;
    if (run.status === "running" && Math.floor(fraction / ANNOUNCED) > step) {
      step = Math.floor(fraction / ANNOUNCED);
      spoken.textContent = `${done} done`;
    }
  }

  /** Now, and when nothing is heard for a while: a clock of its own would paint the page once more between two news. */
  function tick() {
    clearTimeout(ticking);
    if (was) ticking = setTimeout(tick, TICK_MS);
    write();
  }

  return {
    elements: [make("div", { className: "gauge" }, bar, text), spoken],
    /** @param {Measured | null} shown @param {boolean} running */
    update(shown, running) {
      if (shown !== run) {
        step = 0;
        spoken.textContent = running && shown && !announced.has(shown) ? `${work} started` : "";
        if (shown) announced.add(shown);
      } else if (was && !running && run) spoken.textContent = run.status === "complete" ? `${work} complete` : `${work} stopped, finished rows are kept`;
      run = shown;
      was = running;
      tick();
    },
    progress: tick,
  };
}
