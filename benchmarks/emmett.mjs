// Appends with Emmett to new streams: `node emmett.mjs URL TASKS SECONDS`, once for each line that comes in.
import { createInterface } from 'node:readline';
import { randomUUID } from 'node:crypto';
import { getPostgreSQLEventStore } from '@event-driven-io/emmett-postgresql';

const [url, tasks, seconds, text] = process.argv.slice(2);
const data = JSON.parse(text);
const store = getPostgreSQLEventStore(url);
await store.schema.migrate();

async function append(end, latencies) {
  do {
    const before = performance.now();
    const event = { type: 'OrderPlaced', data };
    await store.appendToStream(`order-${randomUUID()}`, [event], { expectedStreamVersion: 'STREAM_DOES_NOT_EXIST' });
    latencies.push((performance.now() - before) / 1000);
  } while (performance.now() < end);
}

console.log('ready');
for await (const _ of createInterface({ input: process.stdin })) {
  const begin = performance.now();
  const latencies = [];
  await Promise.all(Array.from({ length: Number(tasks) }, () => append(begin + seconds * 1000, latencies)));
  console.log(JSON.stringify({ seconds: (performance.now() - begin) / 1000, latencies }));
}
await store.close();
