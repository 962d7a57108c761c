/**
 * Names whose servers answer slowly: however many of them sandboxes ask for, one lookup at a time runs for all of them, because the queue of
 * the system's lookups is the gateway's, too. The oracle is the resolver.
 */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { egressDoors } from '../../src/upstream/egress/doors.ts';
import { startProxy } from '../../src/upstream/egress/proxy.ts';
import type { ResolveName } from '../../src/upstream/dial.ts';

const folder = mkdtempSync(join(realpathSync(tmpdir()), 'remit-names-'));
afterAll(() => rmSync(folder, { recursive: true }));
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'].map((letter) => `${letter}.slow.test`);
const egress = NAMES.map((host) => ({ scheme: 'http' as const, host }));

/** Answers with nobody after a moment, and knows how many waited at most. */
function slow(): { resolve: ResolveName; most: () => number; asked: string[] } {
  const asked: string[] = [];
  let [now, most] = [0, 0];
  const resolve: ResolveName = async (name) => {
    asked.push(name);
    most = Math.max(most, ++now);
    for (let turn = 0; turn < 20; turn++) await new Promise((done) => setImmediate(done));
    now--;
    throw new Error('no such name');
  };
  return { resolve, most: () => most, asked };
}

const ask = (socketPath: string, host: string): Promise<number> =>
  new Promise((resolve, reject) => {
    request({ socketPath, path: `http://${host}/`, headers: { host } }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .once('error', reject)
      .end();
  });
const askAll = (socketPath: string): Promise<number[]> => Promise.all(NAMES.map((name) => ask(socketPath, name)));

test('EX-04: of all sandboxes together one name is looked up at a time, and all of them in the end', async () => {
  const { resolve, most, asked } = slow();
  const doors = await egressDoors({ refused: () => undefined, parent: folder, resolve });
  try {
    const open = await Promise.all(
      ['one', 'two'].map((serverId) => doors.open({ serverId, egress, egressNetworks: [] })),
    );
    const said = await Promise.all(open.map((door) => askAll(join(door.folder, 's'))));
    expect(said.flat()).toEqual(said.flat().map(() => 502));
    expect(most()).toBe(1);
    expect(new Set(asked).size).toBe(NAMES.length);
  } finally {
    await doors.close();
  }
});

test('EX-04: one sandbox by itself waits with one name, too', async () => {
  const { resolve, most } = slow();
  const socket = join(folder, 'alone');
  const proxy = await startProxy(socket, { rules: egress, networks: [], refused: () => undefined, resolve });
  expect(await askAll(socket)).toEqual(NAMES.map(() => 502));
  await proxy.close();
  expect(most()).toBe(1);
});

test('EX-04: twin: asked for as they come, they all wait at once', async () => {
  const { resolve, most } = slow();
  await Promise.allSettled(NAMES.map((name) => resolve(name)));
  expect(most()).toBe(NAMES.length);
});
