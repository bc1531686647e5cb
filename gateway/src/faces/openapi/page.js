// Shows openapi.json as forms that can be sent. The access token lives in this page only.

const api = await (await fetch("/openapi.json")).json();
const login = document.querySelector("#login");
document.querySelector("#about").textContent = `${api.info.summary}. Version ${api.info.version}.`;

login.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { email, password } = Object.fromEntries(new FormData(login));
  const answer = await fetch("/v1/auth/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email, password }),
  });
  const said = await answer.json();
  if (answer.ok) login.token.value = said.credentials.accessToken;
  login.querySelector("output").textContent = answer.ok ? `logged in as ${said.user.email}` : said.message;
});

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

const resolve = (schema) => (schema.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema);

// An example of what a caller may give: the fields that are not read only.
const example = (schema, depth = 0) => {
  const { type, properties, items, examples, enum: values, readOnly } = resolve(schema);
  if (readOnly) return undefined;
  if (examples) return examples[0];
  if (values) return values[1] ?? values[0];
  if (type === "array") return depth > 3 ? [] : [example(items, depth + 1)].filter((item) => item !== undefined);
  if (type === "object" && properties && depth < 4) {
    const fields = Object.entries(properties).map(([name, field]) => [name, field.readOnly ? undefined : example(field, depth + 1)]);
    return Object.fromEntries(fields.filter(([, value]) => value !== undefined));
  }
  return { string: "", integer: 0, number: 0, boolean: false, object: {} }[type];
};

const form = (path, verb, operation) => {
  const inputs = operation.parameters.map((parameter) => ({
    parameter,
    input: element("input", { name: parameter.name, required: parameter.required ?? false, title: parameter.schema.description ?? "" }),
  }));
  const schema = operation.requestBody?.content["application/json"].schema;
  const body = schema && element("textarea", { value: JSON.stringify(example(schema), null, 2), spellcheck: false });
  const answer = element("pre", { hidden: true });
  const made = element("form", {}, ...inputs.map(({ parameter, input }) => element("label", {}, `${parameter.name} (${parameter.in})`, input)));
  if (body) made.append(element("label", { className: "wide" }, "body", body));
  made.append(element("button", {}, "Send"));

  let running;
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    running?.abort();
    running = new AbortController();
    const url = new URL(path, location.origin);
    const headers = new Headers();
    let place = path;
    for (const { parameter, input } of inputs.filter(({ input }) => input.value !== "")) {
      if (parameter.in === "path") place = place.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (parameter.in === "query") url.searchParams.append(parameter.name, input.value);
      else headers.set(parameter.name, input.value);
    }
    if (login.token.value) headers.set("authorization", `Bearer ${login.token.value}`);
    if (body) headers.set("content-type", "application/json");
    answer.hidden = false;
    answer.textContent = "…";
    try {
      const init = { method: verb.toUpperCase(), headers, body: body?.value, signal: running.signal };
      const response = await fetch(place + url.search, init);
      answer.textContent = `${response.status} ${response.statusText}\n`;
      if (response.headers.get("content-type") === "text/event-stream") {
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let piece = await reader.read(); !piece.done; piece = await reader.read()) answer.append(piece.value);
        return;
      }
      const text = await response.text();
      answer.append(text && JSON.stringify(JSON.parse(text), null, 2));
    } catch (error) {
      answer.append(String(error));
    }
  });
  return [made, answer];
};

const page = document.querySelector("#operations");
for (const { name } of api.tags) {
  page.append(element("h2", {}, name));
  for (const [path, verbs] of Object.entries(api.paths)) {
    for (const [verb, operation] of Object.entries(verbs).filter(([, one]) => one.tags.includes(name))) {
      const head = element("summary", {}, element("b", {}, verb.toUpperCase()), element("code", {}, path), operation.summary);
      const text = element("p", { className: "text" }, operation.description);
      page.append(element("details", { id: operation.operationId }, head, text, ...form(path, verb, operation)));
    }
  }
}
