// Shows openapi.json as forms that can be sent. The access token lives in this page only.

const login = document.querySelector("#login");
const about = document.querySelector("#about");

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

// JSON where it is JSON; what stands between may answer in words of its own.
const read = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

const api = await fetch("/openapi.json").then(async (answer) => {
  if (answer.ok) return answer.json();
  throw new Error(`${answer.status} ${answer.statusText}`);
}).catch((error) => {
  about.textContent = `openapi.json can not be read: ${error.message}`;
  throw error;
});
const itself = element("a", { href: "/openapi.json" }, "openapi.json");
about.replaceChildren(`${api.info.summary}. Version ${api.info.version}, `, itself, ".");

// Comments are wrapped at the width of their file; an empty line or a list's dash begins something new.
const prose = (text = "") => text.replace(/(?<!\n)\n(?!\n|\s*- )/g, " ").split("\n").filter(Boolean);

// A text with its `code` as code.
const words = (text) => text.split("`").map((piece, at) => (at % 2 ? element("code", {}, piece) : piece));
document.querySelector("#more").append(...words(api.info.description));

// The reason is what a program goes by; the message is for people.
const refusal = (said) => {
  const reason = said?.details?.find((detail) => detail.reason)?.reason;
  return [reason, said?.message ?? said?.detail].filter(Boolean).join(": ");
};

login.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { email, password } = Object.fromEntries(new FormData(login));
  const output = login.querySelector("output");
  try {
    const answer = await fetch("/v1/auth/login", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ email, password }),
    });
    const said = read(await answer.text());
    if (answer.ok) login.token.value = said.credentials.accessToken;
    output.textContent = answer.ok ? `logged in as ${said.user.email}` : `${answer.status} ${refusal(said)}`;
  } catch (error) {
    output.textContent = error.message;
  }
});

// What stands beside a reference says more than what it refers to.
const resolve = ({ $ref, ...said }) => ($ref ? { ...resolve(api.components.schemas[$ref.split("/").pop()]), ...said } : said);

// The fields that can not be given because another of their choice is: the first of a choice is the example.
const beside = ({ oneOf = [], allOf = [] }) => {
  const left = new Set(oneOf.slice(1).flatMap(({ required }) => required));
  for (const { not } of allOf) {
    const [first, second] = not?.required ?? [];
    if (second && !left.has(first)) left.add(second);
  }
  return left;
};

const mayBeEmpty = ({ format, pattern = "", minLength = 0 }) => !format && minLength === 0 && new RegExp(pattern, "u").test("");

// An example of what a caller may give. A text without an example is left empty where it must be given or can be empty,
// and else left out.
const example = (schema, required = false, depth = 0) => {
  const whole = resolve(schema);
  const { type, properties, items, examples, enum: values, minItems = 0 } = whole;
  if (whole.readOnly || depth > 4) return undefined;
  if (values) return values[1] ?? values[0];
  if (type === "string") {
    // Of a form or empty, as an id: one that is made up leads nowhere.
    if (!required && whole.pattern?.endsWith(")?$")) return "";
    return examples?.[0] ?? (required || mayBeEmpty(whole) ? "" : undefined);
  }
  if (examples) return examples[0];
  if (type === "array") return [example(items, minItems > 0, depth + 1)].filter((item) => item !== undefined);
  if (type === "object" && properties) {
    const left = beside(whole);
    const fields = Object.entries(properties).filter(([name]) => !left.has(name));
    const filled = fields.map(([name, field]) => [name, example(field, whole.required?.includes(name), depth + 1)]);
    return Object.fromEntries(filled.filter(([, value]) => value !== undefined));
  }
  return { integer: 0, number: 0, boolean: false, object: {} }[type];
};

// The fields that a body may have, as rows: name, type, what it is.
const rows = (schema, before = "", depth = 0) => {
  const whole = resolve(schema);
  return Object.entries(whole.properties ?? {}).flatMap(([name, field]) => {
    const one = resolve(field);
    if (one.readOnly) return [];
    const inner = one.type === "array" ? resolve(one.items) : one;
    const type = [one.type === "array" ? `list of ${inner.type}` : one.type, whole.required?.includes(name) ? "required" : ""];
    const choice = Object.keys(whole.properties).filter((key) => chosen(whole, key));
    const texts = [
      ...prose(one.description),
      choice.includes(name) ? `One of ${choice.join(", ")}.` : "",
      inner.enum ? `${inner.enum.join(", ")}.` : "",
    ];
    const row = [before + name, type.filter(Boolean).join(", "), texts.filter(Boolean).join(" ")];
    return [row, ...(depth < 3 ? rows(inner, `${before}${name}.`, depth + 1) : [])];
  });
};

// Whether a field is one of a choice.
const chosen = ({ oneOf = [], allOf = [] }, name) =>
  [...oneOf, ...allOf.map(({ not }) => not)].some((one) => one?.required?.includes(name));

const table = (heads, lines) => {
  const row = (cell, texts) => element("tr", {}, ...texts.map((text) => element(cell, {}, ...words(text))));
  const head = element("thead", {}, row("th", heads));
  const rest = element("tbody", {}, ...lines.map((line) => row("td", line)));
  return element("div", { className: "table" }, element("table", {}, head, rest));
};

const folded = (title, ...inside) => element("details", {}, element("summary", {}, title), ...inside);

// What a parameter is typed into.
const field = ({ name, required = false, schema, description }, place) => {
  const { type, enum: values, ...whole } = resolve(schema);
  const options = values ?? (type === "boolean" ? ["true", "false"] : undefined);
  const input = options
    ? element("select", { name, required }, ...["", ...options].map((value) => element("option", { value }, value)))
    : element("input", { name, required, autocomplete: "off", spellcheck: false });
  const hint = prose(description ?? whole.description).join(" ");
  return { input, label: element("label", {}, `${name} (${place}${required ? ", required" : ""})`, input, element("small", {}, ...words(hint))) };
};

// Reads the events of a stream for as long as it lasts.
const follow = async (response, status, answer) => {
  const first = status.textContent;
  status.textContent = `${first}: events are shown as they come`;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) answer.append(piece.value);
  status.textContent = `${first}: the stream is over`;
};

// Sends a request and shows what comes of it.
const send = async (request, status, answer) => {
  status.className = "status";
  status.textContent = "…";
  answer.hidden = true;
  answer.textContent = "";
  try {
    const response = await fetch(request);
    status.classList.add(response.ok ? "good" : "bad");
    status.textContent = `${response.status} ${response.statusText}`;
    if (response.headers.get("content-type") === "text/event-stream") {
      answer.hidden = false;
      await follow(response, status, answer);
      return;
    }
    const said = read(await response.text());
    if (!response.ok && refusal(said)) status.append(` – ${refusal(said)}`);
    answer.textContent = typeof said === "string" ? said : JSON.stringify(said, null, 2);
    answer.hidden = answer.textContent === "";
  } catch (error) {
    if (request.signal.aborted) {
      status.append(" – stopped");
      return;
    }
    status.classList.add("bad");
    status.textContent = `There is no answer: ${error.message}`;
  }
};

const form = (path, verb, operation) => {
  const inputs = operation.parameters.map((parameter) => ({ parameter, ...field(parameter, parameter.in) }));
  const schema = operation.requestBody?.content["application/json"].schema;
  const text = schema && JSON.stringify(example(schema, true), null, 2);
  const rows = text && Math.min(text.split("\n").length + 1, 24);
  const body = schema && element("textarea", { name: "body", value: text, rows, spellcheck: false });
  const status = element("p", { className: "status" });
  status.setAttribute("role", "status");
  const answer = element("pre", { hidden: true, tabIndex: 0 });
  answer.setAttribute("aria-label", `The answer of ${operation.operationId}`);
  const stop = element("button", { className: "stop", type: "button", hidden: true }, "Stop");
  const made = element("form", { className: "call" }, ...inputs.map(({ label }) => label));
  made.setAttribute("aria-label", operation.operationId);
  if (body) made.append(element("label", { className: "wide" }, "body (JSON)", body));
  made.append(element("div", { className: "buttons" }, element("button", {}, "Send"), stop));

  let running;
  stop.addEventListener("click", () => running.abort());
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    running?.abort();
    const mine = new AbortController();
    running = mine;
    const query = new URLSearchParams();
    const headers = new Headers();
    let place = path;
    try {
      for (const { parameter, input } of inputs.filter(({ input }) => input.value !== "")) {
        if (parameter.in === "path") place = place.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
        else if (parameter.in === "query") query.append(parameter.name, input.value);
        else headers.set(parameter.name, input.value);
      }
      if (login.token.value) headers.set("authorization", `Bearer ${login.token.value.trim()}`);
    } catch (error) {
      status.className = "status bad";
      status.textContent = `It can not be sent: ${error.message}`;
      return;
    }
    if (body?.value) headers.set("content-type", "application/json");
    const url = query.size > 0 ? `${place}?${query}` : place;
    stop.hidden = false;
    const init = { method: verb.toUpperCase(), headers, body: body?.value || undefined, signal: mine.signal };
    await send(new Request(url, init), status, answer);
    if (running === mine) stop.hidden = true;
  });
  return [made, status, answer];
};

const answers = (operation) => {
  const lines = Object.entries(operation.responses).map(([status, { $ref, description }]) => [
    status,
    description ?? api.components.responses[$ref.split("/").pop()].description,
  ]);
  return folded("What it answers", table(["Status", "What it means"], lines));
};

const shown = (path, verb, operation) => {
  const badge = element("span", { className: `verb ${verb}` }, verb.toUpperCase());
  const summary = element("span", { className: "faint" }, operation.summary);
  const head = element("summary", {}, badge, element("code", {}, path), summary);
  const made = element("details", { id: operation.operationId, className: "operation" }, head);
  made.append(...prose(operation.description).map((text) => element("p", {}, ...words(text))));
  const access = operation.security.length > 0 ? "It needs the access token." : "Anybody may call it, without a token.";
  made.append(element("p", { className: "faint" }, `${operation.operationId}. ${access}`));
  const schema = operation.requestBody?.content["application/json"].schema;
  if (schema) made.append(folded("Fields of the body", table(["Field", "Type", "What it is"], rows(schema))));
  made.append(answers(operation), ...form(path, verb, operation));
  return made;
};

const page = document.querySelector("#operations");
for (const { name, description } of api.tags) {
  document.querySelector("nav").append(element("a", { href: `#service-${name}` }, name));
  page.append(element("h2", { id: `service-${name}` }, name));
  page.append(...prose(description).map((text) => element("p", { className: "faint" }, ...words(text))));
  for (const [path, verbs] of Object.entries(api.paths)) {
    for (const [verb, operation] of Object.entries(verbs).filter(([, one]) => one.tags.includes(name))) {
      page.append(shown(path, verb, operation));
    }
  }
}

// A link to an operation opens it.
const open = () => {
  const named = document.getElementById(location.hash.slice(1));
  if (named?.matches("details")) named.open = true;
  named?.scrollIntoView();
};
addEventListener("hashchange", open);
if (location.hash) open();
