/** The floor: node:http that reads the body and answers. */
import { createServer } from "node:http";

createServer((request, response) => {
  let size = 0;
  request.on("data", (chunk: Buffer) => {
    size += chunk.length;
  });
  request.on("end", () => {
    response.setHeader("content-type", "application/json");
    response.end(`{"read":${size}}`);
  });
}).listen(Number(process.env.PORT), "127.0.0.1");
