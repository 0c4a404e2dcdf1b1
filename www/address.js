// @ts-check
/** From an address, or the name of a model on the hub, to files that are read over the network, piece by piece. */
import { bytes, remote } from "./bytes.js";
import { FilesError } from "./files.js";

/** @import { Remote } from "./types.js" */

const HUB = "https://huggingface.co";
/** Files of models, those that are read first where there are several kinds. */
const KINDS = [/\.safetensors$/i, /\.gguf$/i, /\.(bin|pth|pt|npz|npy)$/i];
/** The file of a whole model, or one of its shards, by the names that the hub's libraries give. */
const STANDARD = /(^|\/)(pytorch_)?model(-\d{5}-of-\d{5})?\.(safetensors|bin)$/;
/** What training leaves beside a model, in files of the same kind. */
const NO_MODEL = /(^|\/)(training_args|optimizer|scheduler|scaler|rng_state|random_states)[^/]*$/;
const INDEX = ".safetensors.index.json";
const SHARD = /-(\d{5})-of-(\d{5})(?=\.\w+$)/;
/** Some index of shards: anything larger is something else. */
const MAX_INDEX = 64_000_000;
const MAX_SHARDS = 1000;
/** Headers asked for at a time. */
const AT_ONCE = 8;

/**
 * The files behind what the user typed: `https://…/model.safetensors` (or its index), `org/name` or `org/name/file` on the hub.
 * @param {string} text
 * @returns {Promise<{file: Remote, folder: string}[]>}
 */
export async function filesOfAddress(text) {
  const given = text.trim();
  const onHub = hubPath(given);
  const urls = onHub ? await hubFiles(onHub) : await siblings(address(given));
  const found = [];
  for (let i = 0; i < urls.length; i += AT_ONCE) {
    found.push(...(await Promise.all(urls.slice(i, i + AT_ONCE).map((url) => remote(url.href, nameOf(url))))));
  }
  return found.map((file) => ({ file, folder: "" }));
}

/** @param {string} text */
function address(text) {
  const url = URL.parse ? URL.parse(text) : parsed(text);
  if (!url) throw new FilesError(`${quoted(text)} is neither an address nor the name of a model: write https://… or organisation/model.`);
  const local = ["localhost", "127.0.0.1"].includes(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && local)) throw new FilesError(`${quoted(text)} can't be fetched: an address begins with https://.`);
  url.hash = "";
  return url;
}

/** @param {string} text */
function parsed(text) {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

/**
 * `org/name`, `org/name@revision`, `org/name/folder/file`, or an address of the hub's pages, taken apart.
 * @param {string} text
 * @returns {{model: string, revision: string, path: string} | null}
 */
function hubPath(text) {
  const page = /^https:\/\/huggingface\.co\/([\w.-]+\/[\w.-]+)(?:\/(?:tree|blob|resolve)\/([^/?#]+)(?:\/([^?#]+))?)?\/?(?:[?#].*)?$/.exec(text);
  if (page) return { model: page[1], revision: page[2] ?? "main", path: page[3] ?? "" };
  const name = /^([\w-][\w.-]*\/[\w-][\w.-]*)(?:@([\w.-]+))?(?:\/(.+))?$/.exec(text);
  return name && { model: name[1], revision: name[2] ?? "main", path: name[3] ?? "" };
}

/** @param {{model: string, revision: string, path: string}} at */
async function hubFiles({ model, revision, path }) {
  const resolve = (/** @type {string} */ name) => new URL(`${HUB}/${model}/resolve/${revision}/${name.split("/").map(encodeURIComponent).join("/")}`);
  if (/\.[a-z]\w*$/i.test(path)) return siblings(resolve(decodeURI(path)));
  const list = await hubList(`${HUB}/api/models/${model}/tree/${revision}${path ? `/${path}` : ""}`, model);
  const all = list.filter(({ type, path: name }) => type === "file" && !NO_MODEL.test(name)).map(({ path: name }) => name);
  const kind = KINDS.map((files) => all.filter((name) => files.test(name))).find(({ length }) => length > 0) ?? [];
  const standard = kind.filter((name) => STANDARD.test(name));
  const chosen = standard.length ? standard : kind.length === 1 || kind.every((name) => SHARD.test(name)) ? kind : [];
  const config = chosen[0]?.replace(/[^/]*$/, "config.json"); // says how quantized weights are packed
  const beside = list.some((each) => each.path === config) ? [config] : [];
  if (chosen.length) return [...chosen, ...beside].map(resolve);
  if (kind.length === 0) throw new FilesError(`${model} has no .safetensors, .gguf, .bin, .pth, .pt, .npz or .npy file${path ? ` in ${path}` : ""}.`);
  throw new FilesError(`${model} holds several models: write one of them after its name, as ${model}/${kind[0]} (or ${kind.slice(1, 4).join(", ")}${kind.length > 4 ? ", …" : ""}).`);
}

/** @param {string} url @param {string} model @returns {Promise<{type: string, path: string}[]>} */
async function hubList(url, model) {
  const answer = await fetch(url, { credentials: "omit", referrerPolicy: "no-referrer" }).catch(() => null);
  if (!answer) throw new FilesError("huggingface.co can't be reached: check the network, or drop a file.");
  if (answer.status === 401 || answer.status === 403 || answer.status === 404) {
    throw new FilesError(`${model} can't be listed on huggingface.co (${answer.status}): there is no such model, or it asks for an account. Then download it and drop it here.`);
  }
  const list = answer.ok ? await answer.json().catch(() => null) : null;
  if (!Array.isArray(list)) throw new FilesError(`huggingface.co doesn't list ${model} (${answer.status}): try again later, or drop a file.`);
  return list.filter((each) => typeof each?.path === "string");
}

/** All shards of a model of which one, or the index, is named. @param {URL} url @returns {Promise<URL[]>} */
async function siblings(url) {
  const name = nameOf(url);
  if (name.endsWith(INDEX)) return [url, ...(await shardsOf(url, name))];
  const [, , last] = SHARD.exec(name) ?? [];
  const count = Number(last ?? 1);
  if (count === 1) return [url];
  if (count > MAX_SHARDS) throw new FilesError(`${quoted(name)} is one of ${count} shards, more than the ${MAX_SHARDS} that can be opened.`);
  return Array.from({ length: count }, (_, i) => {
    const each = new URL(url);
    each.pathname = url.pathname.replace(SHARD, `-${String(i + 1).padStart(5, "0")}-of-${last}`);
    return each;
  });
}

/** @param {URL} url @param {string} name */
async function shardsOf(url, name) {
  const index = await remote(url.href, name);
  if (index.size > MAX_INDEX) throw new FilesError(`${quoted(name)} has ${index.size} bytes, too many for an index of shards.`);
  /** @type {any} */
  let read;
  try {
    read = JSON.parse(new TextDecoder().decode(await bytes(index, 0, index.size)));
  } catch (error) {
    if (error instanceof SyntaxError) throw new FilesError(`${quoted(name)} is no index of shards: it isn't JSON.`);
    throw error;
  }
  const names = [...new Set(Object.values(read?.weight_map ?? {}))];
  if (names.length === 0 || names.length > MAX_SHARDS || !names.every((each) => typeof each === "string" && /^[^/\\?#]+$/.test(each))) {
    throw new FilesError(`${quoted(name)} is no index of shards: its weight_map doesn't name files beside it.`);
  }
  return names.sort().map((each) => {
    const shard = new URL(url);
    shard.pathname = url.pathname.replace(/[^/]*$/, encodeURIComponent(/** @type {string} */ (each)));
    return shard;
  });
}

/** @param {URL} url */
function nameOf(url) {
  const last = url.pathname.split("/").pop() ?? "";
  try {
    return decodeURIComponent(last) || url.hostname;
  } catch {
    return last;
  }
}

/** @param {string} text */
function quoted(text) {
  return `“${text.length > 120 ? `${text.slice(0, 120)}…` : text}”`;
}
