// The page that chromium.test.js opens: the clients in a browser, told step by step from outside.

import { ConnectWeb } from "./connect_web.js";
import { GrpcWeb } from "./grpc_web.js";
import { Rest } from "./rest.js";
import { story } from "./story.js";

const fetched = await fetch("/contracts.binpb");
const contracts = new Uint8Array(await fetched.arrayBuffer());

const clients = {
  "connect-web": (server) => new ConnectWeb(server, contracts),
  "connect-web over Connect in JSON": (server) => new ConnectWeb(server, contracts, "JSON"),
  "connect-web over Connect in protobuf": (server) => new ConnectWeb(server, contracts, "protobuf"),
  "grpc-web in text format": (server) => new GrpcWeb(server, contracts, "text"),
  "grpc-web in binary format": (server) => new GrpcWeb(server, contracts, "binary"),
  "REST with server-sent events": (server) => new Rest(server, contracts),
};

let client;
let steps;

/** Begins a story with this client and answers what its steps are. */
globalThis.begin = (name, server) => {
  client = clients[name](server);
  steps = story(client);
  return steps.map(({ name, missing }) => ({ name, missing }));
};

/** Runs one step of the story. */
globalThis.step = (at) => steps[at].run();

/** Makes one call that needs no token and answers what came of it. */
globalThis.probe = () =>
  client.call("errand.auth.v1.AuthService/GetJwks", {}).then(
    ({ keys }) => `${keys.length} keys`,
    (error) => `refused: ${error.message}`,
  );

globalThis.ready = true;
