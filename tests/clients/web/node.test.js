// What programs under Node do with the web clients.

import { after, before, test } from "node:test";
import { ConnectWeb } from "./connect_web.js";
import { GrpcWeb } from "./grpc_web.js";
import { Rest } from "./rest.js";
import { contracts, start } from "./server.js";
import { story } from "./story.js";
import { tell } from "./tell.js";
import { XMLHttpRequest } from "./xml_http_request.js";

globalThis.XMLHttpRequest = XMLHttpRequest;

let server;
before(async () => {
  server = await start();
});
after(() => server?.stop());

test("connect-web in Node", async (t) => {
  await tell(t, story(new ConnectWeb(server.address, await contracts())));
});

for (const format of ["JSON", "protobuf"]) {
  test(`connect-web over Connect in ${format} in Node`, async (t) => {
    await tell(t, story(new ConnectWeb(server.address, await contracts(), format)));
  });
}

for (const format of ["text", "binary"]) {
  test(`grpc-web in ${format} format in Node`, async (t) => {
    await tell(t, story(new GrpcWeb(server.address, await contracts(), format)));
  });
}

test("REST with server-sent events in Node", async (t) => {
  await tell(t, story(new Rest(server.address, await contracts())));
});
