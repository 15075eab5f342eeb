// Says what it was asked: method, path and the whole body behind a plus, in hex. Prints method and path
// as soon as it knows them.
const server = require('http').createServer((request, response) => {
  console.log(request.method, request.url);
  const parts = [];
  request.on('data', part => parts.push(part));
  request.on('end', () => {
    const seen = `${request.method} ${request.url} +${Buffer.concat(parts).toString('hex')}`;
    response.writeHead(200, { 'X-Seen': seen, 'Content-Length': 0 });
    response.end();
  });
});
const { KEEP_ALIVE_MS, BUSY_MS } = process.env;
if (KEEP_ALIVE_MS) server.keepAliveTimeout = Number(KEEP_ALIVE_MS);
// Half of the time it has no eye for its sockets, as an app that computes.
if (BUSY_MS) setInterval(() => {
  const until = Date.now() + Number(BUSY_MS);
  while (Date.now() < until);
}, 2 * BUSY_MS);
server.listen(Number(process.env.PORT), '127.0.0.1');
