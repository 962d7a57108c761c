/**
 * RL-09: whoever is ended before anybody asked who they are (headers or a body by drops, headers without end, no place left) is in the log:
 * counted, as strangers are, in one entry a minute and when the gateway ends.
 */
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { JSON_HEADERS, startRig } from '../support/rig.ts';

test(
  'RL-09: who is ended for being slow, large or one too many is counted in the log',
  { timeout: 120_000 },
  async () => {
    const rig = await startRig({ limits: { concurrentCalls: 1, concurrentPerPerson: 1, concurrentPerServer: 1 } });
    try {
      const { port, host, hostname } = new URL(rig.url);
      const head = `POST ${rig.endpoint('notes')} HTTP/1.1\r\nHost: ${host}\r\n`;
      const lines = Object.entries(JSON_HEADERS).map(([name, value]) => `${name}: ${value}\r\n`);
      const ended = [
        head,
        `${head}${lines.join('')}content-length: 9000\r\n\r\n{`,
        `${head}x: ${'y'.repeat(40_000)}`,
      ].map(
        (first) =>
          new Promise<void>((resolve) => {
            const socket = connect({ port: Number(port), host: hostname });
            socket.on('error', () => undefined).resume();
            socket.once('close', () => resolve());
            socket.write(first);
          }),
      );
      await Promise.all(ended);

      rig.sink().onCall(() => new Promise(() => undefined));
      const stuck = rig.call('notes', 'read_note', { text: 'x' });
      await rig.until('the place is taken', () => rig.sink().calls().length === 1);
      expect((await rig.call('notes', 'read_note', { text: 'y' })).status).toBe(503);
      await rig.gateway.close();
      await stuck.catch(() => undefined);

      const counted = (await rig.entries('admin')).filter(({ event }) => event?.['what'] === 'unauthenticated.counted');
      const counts = counted.flatMap(({ event }) => event!['counts'] as string[]);
      for (const reason of ['headers_too_slow', 'body_too_slow', 'headers_too_large', 'node_full'])
        expect(counts).toContain(`${reason}=1`);
    } finally {
      await rig.stop();
    }
  },
);
