// What a page of another origin does with the web clients, in headless Chromium.

import { doesNotMatch, equal, match } from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { launch } from "./browser.js";
import { contracts, envoy, start } from "./server.js";
import { tell } from "./tell.js";

let pages;
let server;
let proxy;
let browser;

before(async () => {
  pages = await serve({
    "/": ["text/html", await readFile(here("page.html"))],
    "/page.js": ["text/javascript", await bundle("page.js")],
    "/contracts.binpb": ["application/octet-stream", await contracts()],
  });
  // All of these days begin at one address.
  server = await start("--allowed-origins", origin("app"), "--sign-ups-per-address", "1000");
  if (process.env.ERRAND_ENVOY) proxy = await envoy(server.address, origin("app"));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await proxy?.stop();
  await server?.stop();
  pages?.close();
});

const GRPC_WEB = ["connect-web", "grpc-web in text format", "grpc-web in binary format"];
// Envoy passes Connect on to the gateway, which the other suites call.
const CONNECT = ["connect-web over Connect in JSON", "connect-web over Connect in protobuf"];
const DOORS = { "": () => server, " through Envoy": () => proxy };
const TOLD = [
  ...[...GRPC_WEB, ...CONNECT, "REST with server-sent events"].map((client) => [client, ""]),
  ...GRPC_WEB.map((client) => [client, " through Envoy"]),
];

for (const [client, door] of TOLD) {
  const skip = door !== "" && !process.env.ERRAND_ENVOY ? "there is no Envoy here" : false;

  test(`${client} in Chromium${door}`, { skip }, async (t) => {
    const page = await open("app");
    const { address } = DOORS[door]();
    const steps = await page.evaluate(([client, server]) => globalThis.begin(client, server), [client, address]);
    await tell(
      t,
      steps.map((step, at) => ({ ...step, run: () => page.evaluate((at) => globalThis.step(at), at) })),
    );
    await page.close();
  });

  test(`${client} is kept from the server${door} in a page that is not allowed`, { skip }, async () => {
    const { address } = DOORS[door]();
    const answers = {};
    const said = [];
    for (const name of ["app", "other"]) {
      const page = await open(name);
      page.on("console", (message) => said.push(message.text()));
      await page.evaluate(([client, server]) => globalThis.begin(client, server), [client, address]);
      answers[name] = await page.evaluate(() => globalThis.probe());
      await page.close();
    }
    match(answers.app, /^[1-9]\d* keys$/);
    match(answers.other, /^refused: /);
    match(said.join("\n"), new RegExp(`from origin '${origin("other")}' has been blocked by CORS policy`));
    doesNotMatch(said.join("\n"), new RegExp(origin("app")));
  });
}

function here(name) {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** Where a page comes from. */
function origin(name) {
  return `http://${name}.example:${pages.address().port}`;
}

/** One file of JavaScript that a page can load. */
async function bundle(name) {
  const built = await build({ entryPoints: [here(name)], bundle: true, format: "esm", write: false });
  return built.outputFiles[0].contents;
}

/** Serves these files: path -> [type, content]. */
async function serve(files) {
  const listening = createServer((request, response) => {
    const [type, content] = files[request.url] ?? ["text/plain", ""];
    response.writeHead(files[request.url] ? 200 : 404, { "content-type": type }).end(content);
  }).listen(0, "127.0.0.1");
  await once(listening, "listening");
  return listening;
}

/** Opens the page from an origin and waits until its program runs. */
async function open(name) {
  const page = await browser.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(error.message));
  await page.goto(`${origin(name)}/`);
  await page
    .waitForFunction(() => globalThis.ready, undefined, { timeout: 20_000 })
    .catch((error) => {
      throw new Error(`the page does not run: ${faults.join("; ")}`, { cause: error });
    });
  equal(await page.evaluate(() => globalThis.origin), origin(name));
  return page;
}
