// @ts-check
/** From what was dropped or picked to the files of one model. */

/**
 * Where a folder has files of several kinds, those of the first are the model; an index says which shard holds what.
 * @type {{files: RegExp, index?: RegExp}[]}
 */
const KINDS = [
  { files: /\.safetensors$/i, index: /\.safetensors\.index\.json$/i },
  { files: /^pytorch_model.*\.bin$/i, index: /\.bin\.index\.json$/i },
  { files: /\.gguf$/i },
  { files: /\.(bin|pth|pt)$/i },
  { files: /\.(npz|npy)$/i },
];
/** Says how quantized weights are packed. */
const CONFIG = "config.json";
/** Says by how much an adapter is scaled. */
const ADAPTER = "adapter_config.json";
const WANTED = "drop a model file (.safetensors, .gguf, .bin, .pth, .npz), all shards of a model, or its folder.";
/** A folder with more entries than this is hardly a model: stop walking. */
const MAX_ENTRIES = 20_000;

/**
 * A file and the folder it came from ("" when it was given by itself).
 * @typedef {{file: import("./types.js").Source, folder: string}} Found
 */

/** What the user gave can't be a model; the message says why. */
export class FilesError extends Error {
  name = "files";
}

/**
 * The files of a drop, folders walked. Must be called in the event handler itself: the browser empties the list after it.
 * @param {DataTransfer} transfer
 * @returns {Promise<Found[]>}
 */
export async function filesOfDrop(transfer) {
  const given = Array.from(transfer.items ?? [])
    .filter((item) => item.kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry?.() ?? null, file: item.getAsFile() }));
  /** @type {Found[]} */
  const found = [];
  for (const { entry, file } of given) {
    if (entry) await walk(entry, "", found);
    else if (file) found.push({ file, folder: "" });
  }
  return found;
}

/**
 * The files of an `<input type=file>`, of the folder kind or not.
 * @param {FileList} list
 * @returns {Found[]}
 */
export function filesOfInput(list) {
  return Array.from(list, (file) => ({ file, folder: file.webkitRelativePath.split("/").slice(0, -1).join("/") }));
}

/**
 * Picks the model: every file of one kind and index of one folder, in the order of their names.
 * A single file of any other name is passed on, so that the parser can say what is wrong with it.
 * @param {Found[]} found
 * @returns {{files: import("./types.js").Source[], ignored: number, adapter: import("./types.js").Source | null}} with the settings of an adapter, if they are there
 */
export function chooseModel(found) {
  if (found.length === 0) throw new FilesError(`There is no file in what you gave: ${WANTED}`);
  const kind = KINDS.find(({ files, index }) => found.some(({ file }) => files.test(file.name) || index?.test(file.name)));
  const single = found[0];
  if (!kind && found.length === 1 && single.folder === "") return { files: [single.file], ignored: 0, adapter: null };
  if (!kind) throw new FilesError(`There is no model file among the ${count(found.length, "file")} you gave: ${WANTED}`);
  const models = found.filter(({ file }) => kind.files.test(file.name));
  const kept = found.filter(({ file }) => kind.files.test(file.name) || kind.index?.test(file.name) || file.name === CONFIG);
  const depth = (/** @type {Found} */ { folder }) => (folder === "" ? 0 : folder.split("/").length);
  const top = Math.min(...(models.length ? models : kept).map(depth));
  const folders = [...new Set((models.length ? models : kept).filter((each) => depth(each) === top).map(({ folder }) => folder))];
  if (folders.length > 1) throw new FilesError(`Several folders hold a model (${folders.slice(0, 5).join(", ")}${folders.length > 5 ? ", …" : ""}): drop one of them.`);
  const files = kept.filter(({ folder }) => folder === folders[0]).map(({ file }) => file);
  files.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const twice = files.find((file, i) => i > 0 && files[i - 1].name === file.name);
  if (twice) throw new FilesError(`Two files are named ${twice.name}: drop the files of one model only.`);
  const adapter = found.find(({ file, folder }) => file.name === ADAPTER && folder === folders[0])?.file ?? null;
  return { files, ignored: found.length - files.length - (adapter ? 1 : 0), adapter };
}

/**
 * @param {FileSystemEntry} entry
 * @param {string} folder
 * @param {Found[]} found
 */
async function walk(entry, folder, found) {
  if (found.length >= MAX_ENTRIES) throw new FilesError(`This folder holds more than ${MAX_ENTRIES} files: drop the model's own folder.`);
  if (entry.isFile) {
    /** @type {File} */
    const file = await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject)).catch((error) => {
      throw new FilesError(`${entry.name} can't be read: ${error.message}`);
    });
    found.push({ file, folder });
    return;
  }
  const inside = folder === "" ? entry.name : `${folder}/${entry.name}`;
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  for (;;) {
    // readEntries gives at most 100 at a time, and an empty list at the end
    /** @type {FileSystemEntry[]} */
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return;
    for (const each of entries) await walk(each, inside, found);
  }
}

/** @param {number} n @param {string} noun */
function count(n, noun) {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
