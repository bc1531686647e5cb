// Connect's client for web pages, `@connectrpc/connect-web`, as the story needs a client: over gRPC-Web, and over Connect's
// own protocol in JSON, which is what it speaks unless it is told otherwise, and in protobuf.

import { createFileRegistry, fromBinary, fromJson, toJson } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { Refusal } from "./refusal.js";

const TRANSPORTS = {
  "gRPC-Web": (baseUrl) => createGrpcWebTransport({ baseUrl }),
  JSON: (baseUrl, registry) => createConnectTransport({ baseUrl, jsonOptions: { registry } }),
  protobuf: (baseUrl) => createConnectTransport({ baseUrl, useBinaryFormat: true }),
};

export class ConnectWeb {
  /** Whether a stream's messages arrive while it runs. */
  live = true;

  /** `contracts` is a serialized descriptor set. */
  constructor(baseUrl, contracts, transport = "gRPC-Web") {
    this.registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, contracts));
    this.transport = TRANSPORTS[transport](baseUrl, this.registry);
  }

  /** Whether the contract has this `package.Service/Method`. */
  has(path) {
    return this.#find(path) !== undefined;
  }

  /** Calls a method with fields in protobuf's JSON and answers in the same. */
  async call(path, fields, options) {
    const method = this.#find(path);
    const client = createClient(method.parent, this.transport);
    try {
      const answer = await client[method.localName](fromJson(method.input, fields), this.#options(options));
      return toJson(method.output, answer);
    } catch (error) {
      throw this.#refusal(error);
    }
  }

  /** Yields the answers of a server stream; leaving the loop ends the stream. */
  async *stream(path, fields, options) {
    const method = this.#find(path);
    const client = createClient(method.parent, this.transport);
    const left = new AbortController();
    try {
      const call = { ...this.#options(options), signal: left.signal };
      for await (const answer of client[method.localName](fromJson(method.input, fields), call)) {
        yield toJson(method.output, answer);
      }
    } catch (error) {
      throw this.#refusal(error);
    } finally {
      left.abort();
    }
  }

  #find(path) {
    const [service, name] = path.split("/");
    return this.registry.getService(service)?.methods.find((method) => method.name === name);
  }

  #options({ token, timeoutMs, headers = {} } = {}) {
    return { headers: token ? { authorization: `Bearer ${token}`, ...headers } : headers, timeoutMs };
  }

  #refusal(error) {
    if (!(error instanceof ConnectError)) return error;
    const details = error.details.map(({ type, value }) => {
      const schema = this.registry.getMessage(type);
      return [type, toJson(schema, fromBinary(schema, value), { registry: this.registry })];
    });
    return new Refusal(error.code, error.rawMessage, details, error.metadata.get("x-request-id"));
  }
}
