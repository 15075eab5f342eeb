// Says what it was asked: method, path and the whole body behind a plus, in hex.
const server = require('http').createServer((request, response) => {
  const parts = [];
  request.on('data', part => parts.push(part));
  request.on('end', () => {
    const seen = `${request.method} ${request.url} +${Buffer.concat(parts).toString('hex')}`;
    response.writeHead(200, { 'X-Seen': seen, 'Content-Length': 0 });
    response.end();
  });
});
server.listen(Number(process.env.PORT), '127.0.0.1');
