// @ts-check
/** Builds the page and ties widgets and controller together. */
import { filesOfAddress } from "./address.js";
import { sentence } from "./connection.js";
import { Controller } from "./controller.js";
import { resume } from "./resume.js";
import { addressBar } from "./ui/address_bar.js";
import { forgetCharts } from "./charts/chart.js";
import { nameOf } from "./ui/model_name.js";
import { results } from "./results.js";
import { shown } from "./ui/dom.js";
import { singleFile } from "./single_file.js";
import { alert } from "./ui/alert.js";
import { FilesError } from "./files.js";
import { isolate } from "./isolate.js";
import { layerView } from "./layer/layer_view.js";
import { comparePage } from "./pairs/page.js";
import { downloads } from "./ui/downloads.js";
import { dropZone } from "./ui/drop_zone.js";
import { engineStatus } from "./ui/engine_status.js";
import { keptNotice } from "./ui/kept_notice.js";
import { linkTo, settingsOf } from "./ui/link.js";
import { modelCard } from "./ui/model_card.js";
import { count, duration } from "./ui/numbers.js";
import { runBar } from "./ui/run_bar.js";
import { settings } from "./ui/settings.js";
import { tabs } from "./ui/tabs.js";

/** `?url=https://…` and `?model=organisation/name` open a model. */
const asked = new URLSearchParams(location.search);
/** Settings change key by key: the time they would take is asked for when they rest. */
const REST_MS = 400;
const DEMO = new URL("../demo/demo.safetensors", import.meta.url);

const controller = new Controller(navigator.hardwareConcurrency || 1);
const widgets = {
  engine: engineStatus(),
  alert: alert(),
  drop: dropZone(),
  address: addressBar(),
  kept: keptNotice(),
  tabs: tabs(place("model-panel")),
  model: modelCard(),
  settings: settings(),
  bar: runBar(),
  results: results(),
  downloads: downloads(),
  layer: layerView(controller),
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
place("tabs-place").replaceWith(widgets.tabs.element);
place("model-place").replaceWith(widgets.model.element);
place("settings-place").replaceWith(widgets.settings.element);
place("run-place").replaceWith(widgets.bar.element);
place("results-place").replaceWith(widgets.results.element);
place("downloads-place").replaceWith(widgets.downloads.element);
document.body.append(widgets.layer.element);
const second = comparePage(controller, place, options, estimate);

let filled = false; // the settings hold the engine's defaults
controller.on("engine", () => {
  if (!controller.engine) return;
  widgets.engine.show(controller.engine);
  const { defaults, schemes } = controller.engine;
  if (!filled) widgets.settings.fill(defaults, schemes, settingsOf(defaults));
  filled = true;
});
controller.on("phase", showPhase);
controller.on("alert", () => widgets.alert.show(controller.alert));

controller.on("sessions", showTabs);
controller.on("model", () => {
  const { session } = controller;
  place("model-section").hidden = session === null;
  forgetCharts();
  showPhase();
  if (!session) return;
  const { model } = session;
  widgets.model.show(model);
  widgets.settings.model(model.head.layers, model.lora_alpha);
  if (session.options) widgets.settings.set(session.options);
  else controller.choose(options());
  estimate();
  /** @type {HTMLDetailsElement} */ (place("intro")).open = false;
});

controller.on("run", () => {
  const { run } = controller;
  place("results-section").hidden = run === null;
  for (const widget of [widgets.results, widgets.layer]) {
    if (run) widget.begin(run.head);
    else widget.forget();
  }
  showPhase();
  if (unseen && controller.runs("analyze")) widgets.bar.toTop(); // its progress, and under it the results as they come
  unseen = false;
});
controller.on("rows", (rows) => widgets.results.add(rows));
controller.on("progress", () => widgets.bar.progress());
controller.on("comparison", showComparison);

function showComparison() {
  const { run } = controller;
  if (run) widgets.results.compare(run.comparison, run.verdict, run.status !== "complete");
}

function showPhase() {
  const { phase, model, run } = controller;
  const busy = phase === "running" || phase === "broken";
  const running = controller.runs("analyze");
  widgets.drop.update({ busy, small: model !== null });
  widgets.address.update(busy);
  widgets.bar.update(run, { ready: phase === "idle" && model !== null, running });
  if (controller.running?.isChanged && running) widgets.bar.offerChange();
  widgets.downloads.update(run !== null && run.status !== "running" && phase !== "broken");
  if (run) {
    widgets.results.status(run.status);
    showComparison();
  }
  showTabs();
  if (phase === "idle") estimate();
  if (phase === "broken") widgets.engine.failed();
  document.body.dataset.phase = phase; // what tests wait for
  document.body.dataset.run = run?.status ?? "none";
}

let waited = false; // it was said that another model is at work

function showTabs() {
  const { sessions, session, running } = controller;
  widgets.tabs.show(sessions, session, running?.session ?? null);
  const waits = running !== null && running.session !== session;
  if (waits) widgets.bar.estimate(`${nameOf(running.session.model.head.model)} is being ${running.what === "analyze" ? "analysed" : "compared"}: this model's turn comes after it.`);
  else if (waited) widgets.bar.estimate("");
  waited = waits;
}

/** @param {() => any} give @param {string} [address] where it comes from, if from a server */
async function open(give, address = "") {
  const done = widgets.address.opening(address);
  const opened = await controller.open(give, options);
  done();
  if (opened) widgets.model.focus();
  return opened;
}

function options() {
  return widgets.settings.options();
}

let unseen = false; // a run was asked for, and is to come into view when it begins

/** @param {import("./types.js").Options} chosen */
function analyze(chosen) {
  unseen = true;
  void controller.analyze(chosen);
}

widgets.drop.on("files", open);
widgets.drop.on("second", second.open);
widgets.address.on("address", (address) => open(() => filesOfAddress(address), address));
widgets.drop.on("demo", async () => {
  if (await open(demo)) analyze(options());
});
widgets.tabs.on("show", (session) => controller.show(session));
widgets.tabs.on("close", (session) => controller.close(session));
widgets.bar.on("analyze", () => analyze(options()));
widgets.bar.on("preview", () => analyze(widgets.settings.preview(options(), widgets.settings.previewStep())));
widgets.settings.on("change", () => {
  controller.choose(options());
  estimate();
  widgets.bar.offerChange();
});
widgets.bar.on("change", () => controller.change(options()));
widgets.results.on("visible", (ids) => controller.prioritize(ids));
widgets.results.on("open", ({ name, level }) => openLayer(name, level));
widgets.bar.on("cancel", () => controller.cancel());
widgets.alert.on("dismiss", () => controller.dismiss());
widgets.downloads.on("want", async (kind) => {
  const text = kind === "report.html" ? await htmlReport() : await controller.exportFile(kind);
  if (text !== null) widgets.downloads.save(kind, text);
});
widgets.downloads.on("link", async () => {
  const link = linkTo(widgets.settings.changes());
  history.replaceState(null, "", link); // and where the clipboard is closed, the address bar has it
  const copying = navigator.clipboard?.writeText(link) ?? Promise.reject();
  widgets.downloads.copied(await copying.then(() => true, () => false));
});

async function htmlReport() {
  const { run } = controller;
  if (!run || run.status === "running") return null;
  const { head, rows, comparison, verdict, status } = run;
  try {
    return await singleFile({ head, rows, comparison, verdict, status });
  } catch (error) {
    widgets.alert.show(`report.html can't be written: ${sentence(error)}`);
    return null;
  }
}

let resting = 0;
/** Says what the chosen settings would compute and how long that takes, or what is wrong with them. */
function estimate() {
  clearTimeout(resting);
  resting = setTimeout(async () => {
    widgets.bar.offerPreview(widgets.settings.previewStep());
    void second.match();
    if (controller.phase !== "idle" || !controller.model) return;
    const asked = resting;
    const words = await controller.estimate(options()).then(expected, (error) => (error.name === "cancelled" ? "" : sentence(error)));
    if (asked === resting && controller.phase === "idle") widgets.bar.estimate(words);
  }, REST_MS);
}

/** @param {{layers: number, levels: number, seconds: number | null, measured: string}} what */
function expected({ layers, levels, seconds, measured }) {
  if (layers === 0) return "Everything chosen is computed already.";
  const time = seconds === null ? "the time is known once the first layers are through" : `${duration(seconds)}, ${shown(measured)}`;
  return `${count(layers, "layer")} at ${count(levels, "level")}: ${time}.`;
}

/** What a picture or a table row leads to. @param {string} name of the layer @param {string} level */
function openLayer(name, level) {
  widgets.layer.open(name, level);
}

/** The demo model, fetched like any file of this site. */
async function demo() {
  const answer = await fetch(DEMO).catch(() => null);
  if (!answer?.ok) throw new FilesError("The demo model can't be fetched: this site was put up without demo/demo.safetensors.");
  // Of one date, so that it is the same file every time.
  return [{ file: new File([await answer.blob()], "demo.safetensors", { lastModified: 0 }), folder: "" }];
}

resume(controller, widgets.kept);
showPhase();
void controller.start();
/** Nothing is opened, nor typed. */
const untouched = () => ["starting", "idle"].includes(controller.phase) && !controller.model && !document.activeElement?.matches("input");
void isolate(untouched, () => widgets.engine.reloadHelps()).then(() => {
  const address = asked.get("url") ?? asked.get("model");
  if (!address || controller.model) return;
  widgets.address.fill(address);
  void open(() => filesOfAddress(address), address);
});
