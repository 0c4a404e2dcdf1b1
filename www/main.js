// @ts-check
/** Builds the page and ties widgets and controller together. */
import { filesOfAddress } from "./address.js";
import { alphaByLayer } from "./charts/alpha_by_layer.js";
import { alphaDistribution } from "./charts/alpha_distribution.js";
import { Controller } from "./controller.js";
import { resume } from "./resume.js";
import { addressBar } from "./ui/address_bar.js";
import { alert } from "./ui/alert.js";
import { comparisonTable } from "./ui/comparison_table.js";
import { FilesError } from "./files.js";
import { isolate } from "./isolate.js";
import { downloads } from "./ui/downloads.js";
import { dropZone } from "./ui/drop_zone.js";
import { engineStatus } from "./ui/engine_status.js";
import { keptNotice } from "./ui/kept_notice.js";
import { layerTable } from "./ui/layer_table.js";
import { modelCard } from "./ui/model_card.js";
import { runBar } from "./ui/run_bar.js";
import { runNotes } from "./ui/run_notes.js";
import { settings } from "./ui/settings.js";
import { terms } from "./ui/table.js";
import { COMPARISON } from "./ui/terms.js";

/** `?url=https://…` and `?model=organisation/name` open a model. */
const asked = new URLSearchParams(location.search);
const DEMO = new URL("demo/demo.safetensors", document.baseURI);

const controller = new Controller(navigator.hardwareConcurrency || 1);
const widgets = {
  engine: engineStatus(),
  alert: alert(),
  drop: dropZone(),
  address: addressBar(),
  kept: keptNotice(),
  model: modelCard(),
  settings: settings(),
  bar: runBar(),
  notes: runNotes(),
  comparison: comparisonTable(),
  byLayer: alphaByLayer(),
  distribution: alphaDistribution(),
  layers: layerTable(),
  downloads: downloads(),
};

/** @param {string} id */
function place(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html lacks #${id}`);
  return element;
}

place("engine-place").replaceWith(widgets.engine.element);
place("alert-place").replaceWith(widgets.alert.element);
place("drop-place").replaceWith(widgets.drop.element);
place("address-place").replaceWith(widgets.address.element);
place("kept-place").replaceWith(widgets.kept.element);
place("model-place").replaceWith(widgets.model.element);
place("settings-place").replaceWith(widgets.settings.element);
place("run-place").replaceWith(widgets.bar.element);
place("notes-place").replaceWith(widgets.notes.element);
place("comparison-place").replaceWith(widgets.comparison.element, widgets.notes.notes, terms("What the columns mean", COMPARISON));
place("by-layer-place").replaceWith(widgets.byLayer.element);
place("distribution-place").replaceWith(widgets.distribution.element);
place("layers-place").replaceWith(widgets.layers.element);
place("downloads-place").replaceWith(widgets.downloads.element);

let filled = false; // the settings hold the engine's defaults
controller.on("engine", () => {
  if (!controller.engine) return;
  widgets.engine.show(controller.engine);
  if (!filled) widgets.settings.fill(controller.engine.defaults);
  filled = true;
});
controller.on("phase", showPhase);
controller.on("alert", () => widgets.alert.show(controller.alert));

controller.on("model", () => {
  if (!controller.model) return;
  widgets.model.show(controller.model);
  place("model-section").hidden = false;
  /** @type {HTMLDetailsElement} */ (place("intro")).open = false;
  showPhase();
});

controller.on("run", () => {
  if (!controller.run) return;
  const { head } = controller.run;
  place("results-section").hidden = false;
  widgets.notes.begin(head);
  widgets.comparison.begin(head);
  widgets.byLayer.begin(head);
  widgets.distribution.begin(head);
  widgets.layers.begin(head);
  showPhase();
});
controller.on("rows", (rows) => {
  widgets.layers.add(rows);
  widgets.byLayer.add(rows);
  widgets.distribution.add(rows);
});
controller.on("progress", () => widgets.bar.progress());
controller.on("comparison", () => widgets.comparison.show(controller.run?.comparison ?? []));

function showPhase() {
  const { phase, model, run } = controller;
  const running = phase === "running";
  widgets.drop.update({ busy: running || phase === "broken", small: model !== null });
  widgets.address.update(running || phase === "broken");
  widgets.bar.update(run, { ready: phase === "idle" && model !== null, running });
  widgets.downloads.update(run !== null && run.status !== "running" && phase === "idle");
  if (run) widgets.notes.status(run.status);
  if (phase === "broken") widgets.engine.failed();
  document.body.dataset.phase = phase; // what tests wait for
  document.body.dataset.run = run?.status ?? "none";
}

/** @param {() => any} give */
async function open(give) {
  const opened = await controller.open(give, options);
  if (opened) widgets.model.focus();
  return opened;
}

function options() {
  return widgets.settings.options();
}

widgets.drop.on("files", open);
widgets.address.on("address", (address) => open(() => filesOfAddress(address)));
widgets.drop.on("demo", async () => {
  if (await open(demo)) controller.analyze(options());
});
widgets.bar.on("analyze", () => controller.analyze(options()));
widgets.bar.on("cancel", () => controller.cancel());
widgets.alert.on("dismiss", () => controller.dismiss());
widgets.downloads.on("want", async (kind) => {
  const text = await controller.exportFile(kind);
  if (text !== null) widgets.downloads.save(kind, text);
});

/** The demo model, fetched like any file of this site. */
async function demo() {
  const answer = await fetch(DEMO).catch(() => null);
  if (!answer?.ok) throw new FilesError("The demo model can't be fetched: this site was put up without demo/demo.safetensors.");
  return [{ file: new File([await answer.blob()], "demo.safetensors"), folder: "" }];
}

resume(controller, widgets.kept);
showPhase();
void controller.start();
void isolate(() => ["starting", "idle"].includes(controller.phase) && !controller.model).then((how) => {
  if (how === "reload helps") widgets.engine.reloadHelps();
  const address = asked.get("url") ?? asked.get("model");
  if (!address || controller.model) return;
  widgets.address.fill(address);
  void open(() => filesOfAddress(address));
});
