// Plain HTTP, as the story needs a client: paths from the contracts' http rules, JSON, and server-sent events for streams.
// A browser's EventSource can send no Authorization, so streams are read with fetch.

import { createFileRegistry, fromBinary, getOption } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { DEADLINE_EXCEEDED, Refusal } from "./refusal.js";

export class Rest {
  /** Whether a stream's messages arrive while it runs. */
  live = true;

  /** `contracts` is a serialized descriptor set. */
  constructor(baseUrl, contracts) {
    this.baseUrl = baseUrl;
    this.registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, contracts));
    this.http = this.registry.getExtension("google.api.http");
  }

  /** Whether the contract has this `package.Service/Method`. */
  has(path) {
    return this.#find(path) !== undefined;
  }

  /** Calls a method with fields in protobuf's JSON and answers in the same. */
  async call(path, fields, options) {
    const answer = await this.#fetch(path, fields, options);
    return answer.json();
  }

  /** Yields the answers of a server stream; leaving the loop ends the stream. */
  async *stream(path, fields, options) {
    const left = new AbortController();
    const answer = await this.#fetch(path, fields, { ...options, signal: left.signal });
    try {
      for await (const { event, data } of events(answer.body.pipeThrough(new TextDecoderStream()))) {
        if (event === "error") throw refusal(data, answer);
        yield data;
      }
    } finally {
      left.abort();
    }
  }

  #find(path) {
    const [service, name] = path.split("/");
    return this.registry.getService(service)?.methods.find((method) => method.name === name);
  }

  async #fetch(path, fields, { token, timeoutMs, headers = {}, signal } = {}) {
    const request = this.#request(this.#find(path), fields);
    const signals = [signal, timeoutMs && AbortSignal.timeout(timeoutMs)].filter(Boolean);
    const answer = await fetch(this.baseUrl + request.url, {
      method: request.verb,
      headers: {
        ...(request.body ? { "content-type": "application/json" } : {}),
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...headers,
      },
      body: request.body && JSON.stringify(request.body),
      signal: AbortSignal.any(signals),
    }).catch((error) => {
      if (error.name !== "TimeoutError") throw error;
      throw new Refusal(DEADLINE_EXCEEDED, "the client waits no longer", []);
    });
    if (!answer.ok) throw refusal(await answer.json(), answer);
    return answer;
  }

  /** What a rule of google.api.http makes of a message. */
  #request(method, fields) {
    const rule = getOption(method, this.http);
    const { case: verb, value: template } = rule.pattern;
    const rest = structuredClone(fields);
    let url = template.replace(/\{([^}]+)\}/g, (_, name) => encodeURIComponent(taken(rest, name.split(".").map(camel))));
    let body;
    if (rule.body === "*") body = rest;
    else if (rule.body) body = taken(rest, [camel(rule.body)]) ?? {};
    if (rule.body !== "*") {
      const query = new URLSearchParams();
      for (const [name, value] of Object.entries(rest)) {
        for (const one of [value].flat()) if (typeof one !== "object") query.append(name, one);
      }
      if (query.size > 0) url += `?${query}`;
    }
    return { verb: verb.toUpperCase(), url, body };
  }
}

function camel(name) {
  return name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
}

/** Takes a field out of a message. */
function taken(message, [name, ...rest]) {
  if (rest.length > 0) return taken(message[name], rest);
  const value = message[name];
  delete message[name];
  return value;
}

/** The events of a stream (HTML, section 9.2), each with its data as JSON. */
async function* events(text) {
  let rest = "";
  for await (const piece of text) {
    rest += piece;
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n").map((line) => line.match(/^(\w*): ?(.*)$/) ?? []);
      const said = (name) => lines.filter(([, field]) => field === name).map(([, , value]) => value);
      if (said("data").length === 0) continue;
      yield { event: said("event").at(-1) ?? "message", data: JSON.parse(said("data").join("\n")) };
    }
  }
}

/** A google.rpc.Status as JSON. */
function refusal({ code, message, details = [] }, answer) {
  const read = details.map(({ "@type": type, ...detail }) => [type.replace(/^.*\//, ""), detail]);
  return new Refusal(code, message, read, answer.headers.get("x-request-id"));
}
