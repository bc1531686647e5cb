// What a person does on the page at /docs, in headless Chromium.

import { deepEqual, equal, match, notEqual, ok } from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./browser.js";
import { start } from "./server.js";
import { PASSWORD } from "./story.js";

const EMAIL = "reader@example.com";
const TITLE = "Water the <b>plants</b>";

let server;
let browser;
let page;
let api;
const asked = [];
const faults = [];

before(async () => {
  server = await start();
  api = await (await fetch(`${server.address}/openapi.json`)).json();
  browser = await launch();
  page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  page.on("request", (request) => asked.push(request.url()));
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (/Content Security Policy|CORS/.test(message.text())) faults.push(message.text());
  });
  await page.goto(`${server.address}/docs`);
  await page.locator("#ListTasks").waitFor();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

test("the page lists every operation of the document, under its service", async () => {
  const listed = await page.locator("details.operation").evaluateAll((all) =>
    all.map((one) => [one.id, one.querySelector(".verb").textContent, one.querySelector("summary code").textContent]),
  );
  const offered = operations().map(({ verb, path, operationId }) => [operationId, verb.toUpperCase(), path]);
  ok(offered.length > 30, `${offered.length} operations`);
  deepEqual(listed.sort(), offered.sort());
  deepEqual(
    await page.locator("h2").allTextContents(),
    api.tags.map(({ name }) => name),
  );
});

test("the keyboard alone opens an operation", async () => {
  const summary = page.locator("#GetMe > summary");
  await summary.focus();
  await page.keyboard.press("Enter");
  equal(await page.locator("#GetMe").evaluate((one) => one.open), true);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  const focused = await page.evaluate(() => document.activeElement.closest("details.operation")?.id);
  equal(focused, "GetMe");
});

test("an example gives one field of a choice, and nothing that is read only", async () => {
  const undo = JSON.parse(await body("UndoChanges").inputValue());
  deepEqual(
    ["turnId", "range"].filter((name) => name in undo),
    ["turnId"],
  );
  const task = Object.keys(JSON.parse(await body("CreateTask").inputValue()));
  const { properties } = api.components.schemas.Task;
  deepEqual(
    task.filter((name) => properties[name].readOnly),
    [],
  );
  ok(task.includes("title"), task.join());
});

test("no example is refused for more than what it leaves empty", async () => {
  const { credentials } = await signedUp("examples@example.com");
  const headers = { "content-type": "application/json", authorization: `Bearer ${credentials.accessToken}` };
  const sent = operations().filter(({ requestBody }) => requestBody);
  ok(sent.length > 15, `${sent.length} operations take a body`);
  for (const { operationId, verb, path } of sent) {
    const example = await body(operationId).inputValue();
    const url = server.address + path.replace(/\{\w+\}/g, "01890000-0000-7000-8000-000000000001");
    const answer = await fetch(url, { method: verb.toUpperCase(), headers, body: example });
    const said = await answer.text();
    if (answer.status !== 400) continue;
    const violations = JSON.parse(said).details.flatMap(({ fieldViolations = [] }) => fieldViolations);
    notEqual(violations.length, 0, `${operationId}: ${said}`);
    for (const { field } of violations) equal(found(JSON.parse(example), field), "", `${operationId}: ${said}`);
  }
});

test("a call without a token is refused, and the page says why", async () => {
  await send("ListTasks");
  match(await status("ListTasks", "bad"), /^401 Unauthorized – TOKEN_MISSING: /);
  equal(JSON.parse(await answer("ListTasks").textContent()).code, 16);
});

test("a person signs up in its form and pastes the token", async () => {
  await change("SignUp", { email: EMAIL, password: PASSWORD });
  await send("SignUp");
  match(await status("SignUp", "good"), /^200 OK$/);
  const { user, credentials } = JSON.parse(await answer("SignUp").textContent());
  equal(user.email, EMAIL);
  await page.getByLabel("Access token").fill(` ${credentials.accessToken} `);
});

test("the example of a task, with a title, makes one", async () => {
  await change("CreateTask", { title: TITLE });
  await send("CreateTask");
  equal(await status("CreateTask", "good"), "201 Created");
  equal(JSON.parse(await answer("CreateTask").textContent()).title, TITLE);
  equal(await page.locator("pre b").count(), 0, "an answer is shown as text");

  await form("ListTasks").getByLabel("completed (query)").selectOption("false");
  await form("ListTasks").getByLabel("pageSize (query)").fill("10");
  await send("ListTasks");
  equal(await status("ListTasks", "good"), "200 OK");
  deepEqual(
    JSON.parse(await answer("ListTasks").textContent()).tasks.map(({ title }) => title),
    [TITLE],
  );
  ok(asked.includes(`${server.address}/v1/tasks?pageSize=10&completed=false`), asked.join("\n"));
});

test("a field in the path finds the task", async () => {
  const { id } = JSON.parse(await answer("CreateTask").textContent());
  await open("GetTask");
  await form("GetTask").getByLabel("task_id (path, required)").fill(id);
  await send("GetTask");
  equal(await status("GetTask", "good"), "200 OK");
  equal(JSON.parse(await answer("GetTask").textContent()).title, TITLE);
});

test("what is refused is shown with its reason", async () => {
  await change("CreateTask", { title: "" });
  await send("CreateTask");
  match(await status("CreateTask", "bad"), /^400 Bad Request – INVALID_FIELDS: /);
  match(await answer("CreateTask").textContent(), /"fieldViolations"/);
  await body("CreateTask").fill("{");
  await send("CreateTask");
  await page.waitForFunction(() => !document.querySelector("#CreateTask pre").textContent.includes("fieldViolations"));
  match(await status("CreateTask", "bad"), /^400 Bad Request – [A-Z]+(_[A-Z]+)*: /);
});

test("a stream shows its events as they come, until it is stopped", async () => {
  await send("WatchTasks");
  match(await status("WatchTasks", "good"), /^200 OK: events are shown as they come$/);
  await change("CreateTask", { title: "Feed the cat" });
  await send("CreateTask");
  await answer("WatchTasks").filter({ hasText: "Feed the cat" }).waitFor();
  match(await answer("WatchTasks").textContent(), /^event: change$/m);
  await form("WatchTasks").getByRole("button", { name: "Stop" }).click();
  await page.locator("#WatchTasks .status").filter({ hasText: "stopped" }).waitFor();
  equal(await form("WatchTasks").getByRole("button", { name: "Stop" }).isVisible(), false);
});

test("the turn of the assistant is a stream that ends", async () => {
  await change("StreamMessage", { content: "what's due this week?" });
  await send("StreamMessage");
  await page.locator("#StreamMessage .status.good").filter({ hasText: "the stream is over" }).waitFor();
  match(await answer("StreamMessage").textContent(), /^event: replied$/m);
});

test("a person logs in with a password, and a wrong one is refused", async () => {
  const login = page.locator("#login");
  await login.getByLabel("E-mail").fill(EMAIL);
  await login.getByLabel("Password").fill("not the password");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.locator("#login output").filter({ hasText: "401 CREDENTIALS_INVALID: " }).waitFor();
  await page.getByLabel("Access token").fill("");
  await login.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.locator("#login output").filter({ hasText: `logged in as ${EMAIL}` }).waitFor();
  await send("GetMe");
  equal(await status("GetMe", "good"), "200 OK");
});

for (const colorScheme of ["light", "dark"]) {
  test(`texts stand out from what is behind them in ${colorScheme}`, async () => {
    await page.emulateMedia({ colorScheme });
    const ratios = await page.evaluate(contrasts, "p, code, label, small, input, button, pre, h1, h2, td, .verb, .status");
    ok(ratios.length > 100, `${ratios.length} texts`);
    // WCAG 2.2, 1.4.3.
    deepEqual(
      ratios.filter(({ ratio }) => ratio < 4.5),
      [],
    );
  });
}

test("a link to an operation opens it", async () => {
  await page.goto(`${server.address}/docs#UndoTurn`);
  await page.reload();
  await body("UndoTurn").waitFor({ state: "visible" });
});

test("all of this asked the server alone, and nothing went wrong in the page", async () => {
  ok(asked.length > 15, `${asked.length} requests`);
  deepEqual(
    asked.filter((url) => new URL(url).origin !== server.address),
    [],
  );
  deepEqual(faults, []);
  const policy = (await fetch(`${server.address}/docs`)).headers.get("content-security-policy");
  match(policy, /^default-src 'self';/);
});

/** What the document offers. */
function operations() {
  return Object.entries(api.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, operation]) => ({ ...operation, path, verb })),
  );
}

/** The value at a path like `settings.tools[0].tool`; a body that is a field of its request does not have that one's name. */
function found(body, path) {
  const [first, ...rest] = path.split(/[.[\]]+/).filter(Boolean);
  return (first in body ? [first, ...rest] : rest).reduce((value, name) => value?.[name], body);
}

async function signedUp(email) {
  const answer = await fetch(`${server.address}/v1/auth/signup`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email, password: PASSWORD }),
  });
  equal(answer.status, 200);
  return answer.json();
}

function form(operation) {
  return page.locator(`#${operation} form`);
}

function body(operation) {
  return page.locator(`#${operation} textarea`);
}

function answer(operation) {
  return page.locator(`#${operation} pre`);
}

/** Unfolds an operation. */
async function open(operation) {
  if (!(await form(operation).isVisible())) await page.locator(`#${operation} > summary`).click();
}

/** Changes some fields of the body that stands in an operation's form. */
async function change(operation, fields) {
  await open(operation);
  const stands = await body(operation)
    .inputValue()
    .then(JSON.parse)
    .catch(() => ({}));
  await body(operation).fill(JSON.stringify({ ...stands, ...fields }));
}

async function send(operation) {
  await open(operation);
  await form(operation).getByRole("button", { name: "Send" }).click();
}

/** What an operation's form says of its answer, once that is good or bad. */
async function status(operation, kind) {
  const line = page.locator(`#${operation} .status.${kind}`);
  await line.waitFor();
  return line.textContent();
}

/** The contrast of each visible text with what is painted behind it (WCAG 2.2); runs in the page. */
function contrasts(selector) {
  const read = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    const color = read(getComputedStyle(one).backgroundColor);
    return color[3] === 0 && one.parentElement ? behind(one.parentElement) : color;
  };
  return [...document.querySelectorAll(selector)]
    .filter((one) => one.checkVisibility())
    .map((one) => {
      const [text, ground] = [read(getComputedStyle(one).color), behind(one)].map(luminance);
      const ratio = (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
      return { what: `${one.tagName} ${one.className} ${one.textContent.slice(0, 30)}`, ratio };
    });
}
