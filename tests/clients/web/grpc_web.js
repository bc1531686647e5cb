// The official gRPC-Web client, `grpc-web`, as the story needs a client.
//
// Its generator comes in no package, so the method descriptors that it would write are made here from the
// descriptor set, with protobuf.js for the messages.

import { GrpcWebClientBase, MethodDescriptor, MethodType } from "grpc-web";
import "protobufjs/ext/descriptor.js";
import protojson from "protobufjs/ext/protojson.js";
import protobuf from "protobufjs/light.js";
import { Refusal } from "./refusal.js";

const { fromJson, toJson } = protojson;

export class GrpcWeb {
  /** `format` is `text` or `binary`; `contracts` is a serialized descriptor set. */
  constructor(baseUrl, contracts, format) {
    this.baseUrl = baseUrl;
    this.root = protobuf.Root.fromDescriptor(contracts).resolveAll();
    this.client = new GrpcWebClientBase({ format });
    // In binary format the library hands out a stream's messages when the stream has ended.
    this.live = format === "text";
  }

  /** Whether the contract has this `package.Service/Method`. */
  has(path) {
    return this.#find(path) !== undefined;
  }

  /** Calls a method with fields in protobuf's JSON and answers in the same. */
  async call(path, fields, options) {
    const method = this.#find(path);
    try {
      const answer = await this.client.unaryCall(...this.#arguments(path, method, fields, options));
      return toJson(method.resolvedResponseType, answer);
    } catch (error) {
      throw this.#refusal(error);
    }
  }

  /** Yields the answers of a server stream; leaving the loop ends the stream. */
  async *stream(path, fields, options) {
    const method = this.#find(path);
    const events = [];
    let wake = () => {};
    const tell = (event) => {
      events.push(event);
      wake();
    };
    const call = this.client.serverStreaming(...this.#arguments(path, method, fields, options));
    call.on("data", (answer) => tell({ answer }));
    call.on("error", (error) => tell({ error }));
    call.on("end", () => tell({ end: true }));
    try {
      for (;;) {
        if (events.length === 0) await new Promise((resolve) => (wake = resolve));
        const { answer, error, end } = events.shift();
        if (error) throw this.#refusal(error);
        if (end) return;
        yield toJson(method.resolvedResponseType, answer);
      }
    } finally {
      call.cancel();
    }
  }

  #find(path) {
    const [service, name] = path.split("/");
    return this.root.lookup(service)?.methods?.[name]?.resolve();
  }

  #arguments(path, method, fields, { token, timeoutMs, headers = {} } = {}) {
    const { resolvedRequestType: request, resolvedResponseType: response } = method;
    const kind = method.responseStream ? MethodType.SERVER_STREAMING : MethodType.UNARY;
    const encode = (message) => request.encode(message).finish();
    const descriptor = new MethodDescriptor(`/${path}`, kind, request.ctor, response.ctor, encode, (bytes) =>
      response.decode(bytes),
    );
    const metadata = { ...headers };
    if (token) metadata.authorization = `Bearer ${token}`;
    if (timeoutMs) metadata.deadline = String(Date.now() + timeoutMs);
    return [`${this.baseUrl}/${path}`, fromJson(request, fields), metadata, descriptor];
  }

  #refusal(error) {
    if (error.metadata === undefined && error.code === undefined) return error;
    const packed = error.metadata?.["grpc-status-details-bin"];
    const details = packed ? this.#details(packed) : [];
    return new Refusal(error.code, error.message, details, error.metadata?.["x-request-id"]);
  }

  #details(packed) {
    const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
    const status = this.root.lookupType("google.rpc.Status").decode(bytes);
    return status.details.map(({ typeUrl: url, value }) => {
      const name = url.slice(url.lastIndexOf("/") + 1);
      const type = this.root.lookupType(name);
      return [name, toJson(type, type.decode(value))];
    });
  }
}
