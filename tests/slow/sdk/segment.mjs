// The official Segment SDK: COUNT track calls, a few a second, then a flush.
import { createRequire } from "node:module";
const [host, key, count, modules] = process.argv.slice(2);
const { Analytics } = createRequire(modules + "/")("@segment/analytics-node");
const client = new Analytics({ writeKey: key, host, path: "/v1/batch", flushAt: 10, flushInterval: 300, maxRetries: 10 });
for (let number = 0; number < Number(count); number++) {
  client.track({ userId: `segment-node-${number % 7}`, event: "Email Opened", properties: { number } });
  await new Promise((done) => setTimeout(done, 6000 / Number(count)));
}
await client.closeAndFlush({ timeout: 60000 });
