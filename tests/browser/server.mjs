// A static server for one folder, with the headers that a test asks for.
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { createGzip } from "node:zlib";
import { basename, extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".json": "application/json",
};

/** What index.html asks for must hold in the workers too, which take a policy from headers only. @param {string} root */
async function policyOf(root) {
  const [, policy] = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(await readFile(join(root, "index.html"), "utf8")) ?? [];
  return policy;
}

/**
 * @param {string} root the folder; the `root` of the answer may be changed while it runs, as a host is given another version; and its `late`, to hold back
 *   what has that name until the promise is kept
 * @param {{isolated?: boolean, prefix?: string, compress?: boolean}} options isolated: send COOP and COEP, so that the page may use threads, and the content
 *   security policy; without it the server sends no header of use, as many static hosts. prefix: the folder of the site it stands in. compress: as
 *   most hosts do
 */
export async function serve(root, { isolated = true, prefix = "/", compress = false } = {}) {
  const policy = await policyOf(root);
  const site = { root, url: "", requests: /** @type {string[]} */ ([]), late: { name: "", until: Promise.resolve() }, close: () => new Promise((resolve) => server.close(resolve).closeAllConnections()) };
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    site.requests.push(path);
    const file = path.startsWith(prefix) && join(site.root, normalize(`/${path.slice(prefix.length)}${path.endsWith("/") ? "index.html" : ""}`));
    const found = file && (await stat(file).catch(() => null));
    if (!found || !found.isFile()) {
      response.writeHead(404).end();
      return;
    }
    if (basename(file) === site.late.name) await site.late.until;
    response.writeHead(200, {
      "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
      ...(compress ? { "Content-Encoding": "gzip" } : { "Content-Length": found.size }),
      ...(isolated
        ? { "Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" }
        : { "Cache-Control": "max-age=600" }),
    });
    const content = createReadStream(file).on("error", () => response.destroy());
    (compress ? content.pipe(createGzip()) : content).pipe(response);
  });
  // A connection is never closed at the moment at which the browser uses it again.
  Object.assign(server, { keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0 });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  site.url = `http://127.0.0.1:${server.address().port}${encodeURI(prefix)}`;
  return site;
}
