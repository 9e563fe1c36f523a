// The official RudderStack SDK: COUNT track calls, a few a second, then a flush.
import { createRequire } from "node:module";
const [host, key, count, modules] = process.argv.slice(2);
const RudderAnalytics = createRequire(modules + "/")("@rudderstack/rudder-sdk-node");
const Client = RudderAnalytics.default ?? RudderAnalytics;
const client = new Client(key, { dataPlaneUrl: host, flushAt: 10, flushInterval: 300, retryCount: 10 });
for (let number = 0; number < Number(count); number++) {
  client.track({ userId: `rudder-node-${number % 7}`, event: "Email Opened", properties: { number } });
  await new Promise((done) => setTimeout(done, 6000 / Number(count)));
}
await new Promise((done) => client.flush(() => done()));
await new Promise((done) => setTimeout(done, 3000));
process.exit(0);
