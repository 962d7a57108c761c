/** The book of running processes: who runs, under what, and who was ended for what they did. */
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import type { Posture, SandboxExit, SandboxedProcess } from '../../src/sandbox/backend.ts';
import { runningBook } from '../../src/sandbox/running.ts';

const posture = (memoryLimit: Posture['memoryLimit']): Posture => ({
  backend: 'bubblewrap',
  version: '1',
  hostUser: 'dropped',
  memoryLimit,
  processLimit: 'cgroup',
  cpuLimit: 'cgroup',
  systemCalls: 'filtered',
  notes: [],
});

function processes() {
  const ends: Array<(exit: SandboxExit) => void> = [];
  const told: string[] = [];
  let at = 0;
  const book = runningBook(
    () => ++at,
    (server, reason, { backend }) => told.push(`${server} ${reason} ${backend}`),
  );
  const start = book.watched(({ memory }: { serverId: string; memory: Posture['memoryLimit'] }) => {
    const exited = new Promise<SandboxExit>((resolve) => ends.push(resolve));
    const process: SandboxedProcess = {
      pid: 1,
      stdin: new PassThrough(),
      stdout: new PassThrough(),
      stderr: new PassThrough(),
      exited,
      posture: posture(memory),
      stop: () => exited,
    };
    return Promise.resolve(process);
  });
  const end = async (i: number, exit: SandboxExit): Promise<void> => {
    ends[i]?.(exit);
    await new Promise(setImmediate);
  };
  return { book, start, end, told };
}

test('EX-09: each process stands in the book with its own posture, until nothing of it is left', async () => {
  const { book, start, end } = processes();
  await start({ serverId: 'a', memory: 'cgroup' });
  await start({ serverId: 'a', memory: 'rlimit+watchdog' });
  await start({ serverId: 'b', memory: 'cgroup' });
  expect(book.of('a')).toEqual([
    { since: 1, posture: posture('cgroup') },
    { since: 2, posture: posture('rlimit+watchdog') },
  ]);
  await end(0, { code: 0, signal: null });
  expect(book.of('a')).toEqual([{ since: 2, posture: posture('rlimit+watchdog') }]);
  await end(1, { code: 0, signal: null });
  expect([book.of('a'), book.of('b').length, book.of('nobody')]).toEqual([[], 1, []]);
});

test.each([
  ['memory', true],
  ['processes', true],
  ['cpu', true],
  ['output', true],
  ['protocol', true],
  ['stopped', false],
  ['its definition changed', false],
  [undefined, false],
])('EX-07: an end for %s is told: %s', async (reason, tells) => {
  const { start, end, told } = processes();
  await start({ serverId: 'a', memory: 'cgroup' });
  await end(0, { code: null, signal: 'SIGKILL', ...(reason !== undefined && { reason }) });
  expect(told).toEqual(tells ? [`a ${reason} bubblewrap`] : []);
});

test('one that cannot be started is not in the book', async () => {
  const book = runningBook(
    () => 0,
    () => undefined,
  );
  const start = book.watched<{ serverId: string }>(() => Promise.reject(new Error('no')));
  await expect(start({ serverId: 'a' })).rejects.toThrow('no');
  expect(book.of('a')).toEqual([]);
});
