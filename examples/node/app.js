// A web service in Node without packages, as segue wants one: it listens where HOST and PORT say,
// and on SIGTERM finishes what it has begun.
"use strict";

const http = require("node:http");

const host = process.env.HOST || "127.0.0.1";
const port = Number(process.env.PORT || 8000);
const version = process.env.VERSION || "1";

const server = http.createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    if (request.url === "/up") {
      response.end("ok\n");
    } else if (request.url === "/") {
      response.end(`hello from version ${version}, process ${process.pid}\n`);
    } else {
      response.statusCode = 404;
      response.end("there is nothing here\n");
    }
  });
});

// The proxy keeps connections open and decides when they close; five seconds, Node's default,
// would close one just as a request is on its way.
server.keepAliveTimeout = 120_000;

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}

server.listen(port, host, () => console.log(`version ${version} listens on ${host}:${port}`));
