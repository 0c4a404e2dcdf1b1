// @ts-check
/** Ties the second model and the comparison to the controller. */
import { filesOfAddress } from "../address.js";
import { sentence } from "../connection.js";
import { pairView } from "./pair_view.js";
import { pairResults } from "./results.js";
import { secondModel } from "./second_model.js";

/** @import { Controller } from "../controller.js" */
/** @import { Options } from "../types.js" */

/**
 * @param {Controller} controller
 * @param {(id: string) => HTMLElement} place an element of the page
 * @param {() => Options} options as they are set
 * @param {() => void} changed what a run would compute is another
 */
export function comparePage(controller, place, options, changed) {
  const second = secondModel();
  const results = pairResults();
  const view = pairView((row) => controller.pairSpectra(row));
  place("second-place").replaceWith(second.element);
  place("pairs-place").replaceWith(results.element);
  document.body.append(view.element);

  /** @param {() => any} give */
  async function open(give) {
    if (await controller.openSecond(give, options)) second.focus();
  }

  /** What the last second model has in common with its first, for one choice of layers. @type {{model: object, choice: string, found: ReturnType<Controller["match"]>} | null} */
  let asked = null;

  /** Says what both models have in common, of the layers that are chosen. */
  async function match() {
    const { second: model } = controller;
    if (!model) return;
    const set = options();
    const choice = set.layers === "" ? "" : JSON.stringify({ ...set, quantizations: "" });
    if (asked?.model !== model || asked.choice !== choice) asked = { model, choice, found: controller.match(set) };
    const mine = asked;
    try {
      const { report, progress } = await mine.found;
      if (mine === asked && model === controller.second) second.matched(report, progress.layers_total);
    } catch (error) {
      if (mine !== asked) return;
      asked = null; // the next time it is asked for again
      if (model === controller.second && error instanceof Error && error.name !== "cancelled") second.matched(sentence(error));
    }
  }

  second.on("files", open);
  second.on("address", (address) => open(() => filesOfAddress(address)));
  second.on("compare", () => controller.compare(options()));
  second.on("cancel", () => controller.cancel());
  second.on("close", () => {
    controller.closeSecond();
    second.focus();
  });
  second.on("base", (/** @type {boolean} */ isBase) => {
    controller.setBase(isBase);
    changed();
  });
  results.on("open", (row) => view.open(controller.pairs?.report?.pairs ?? [], row));
  results.on("want", async (name) => {
    const text = await controller.exportPairs(name);
    if (text !== null) results.save(name, text);
  });

  results.distances.on("measure", (method) => controller.measureDistances(method));
  results.distances.on("cancel", () => controller.cancel());
  results.distances.on("want", (name) => results.save(name, controller.pairs?.distances?.files[name] ?? ""));
  controller.on("distances", () => {
    results.distances.show(controller.pairs?.distances ?? null);
    update();
  });
  controller.on("distances-progress", () => results.distances.progress());

  controller.on("model", update);
  controller.on("second", () => {
    second.show(controller.second, controller.session?.asBase ?? false);
    if (!controller.second) asked = null;
    void match();
    changed();
    update();
  });
  controller.on("pairs", () => {
    const { pairs } = controller;
    place("pairs-section").hidden = pairs === null;
    view.close();
    results.begin(pairs?.first.head.layers ?? []); // of none too: it lets go of what it showed
    if (pairs?.report) results.show(pairs.report);
    results.distances.show(pairs?.distances ?? null);
    update();
  });
  controller.on("pairs-report", () => {
    if (controller.pairs?.report) results.show(controller.pairs.report);
  });
  controller.on("pairs-progress", () => second.progress());
  controller.on("phase", update);

  function update() {
    const { phase, pairs, second: model } = controller;
    const running = controller.runs("pairs");
    const busy = phase === "running" || phase === "broken";
    second.update(pairs, { busy, ready: phase === "idle" && model !== null, running });
    results.distances.update(pairs?.distances ?? null, { ready: phase === "idle", running: controller.runs("distances") });
    if (pairs) results.status(pairs.status, phase === "idle" && pairs.report !== null);
    document.body.dataset.pairs = pairs?.status ?? "none"; // what tests wait for
  }

  return { open, match };
}
