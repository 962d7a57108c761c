/** What every connection to a server keeps, whatever its transport and era. Run with real servers. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { type Connection, type Era, UpstreamFault } from '../../src/upstream/connection.ts';
import { listItems } from '../../src/upstream/lists.ts';
import { until } from '../support/upstreams/open.ts';

export interface Opened {
  readonly connection: Connection;
  /** Makes the server say that its tools changed. */
  changeTools?(): void | Promise<void>;
  close(): Promise<void>;
}

export interface Expected {
  readonly era: Era;
  readonly name: string;
}

const never = new AbortController().signal;

export const call = (connection: Connection, name: string, args: JsonObject = {}, signal: AbortSignal = never) =>
  connection.request({ method: 'tools/call', params: { name, arguments: args } }, signal);

/** The text of a successful tools/call. */
export async function textOf(connection: Connection, name: string, args: JsonObject = {}): Promise<string> {
  const reply = await call(connection, name, args);
  if (reply.kind === 'error') throw new Error(`${reply.error.code} ${reply.error.message}`);
  return (reply.result['content'] as ReadonlyArray<{ text: string }>).map(({ text }) => text).join();
}

export async function faultOf(promise: Promise<unknown>): Promise<UpstreamFault> {
  const error: unknown = await promise.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof UpstreamFault)) throw error;
  return error;
}

/** `open` may be called several times; `timeoutMs` is the server's own limit. The server has tools echo, fail, slow, cancelled. */
export function connectionContract(
  name: string,
  expected: Expected,
  open: (timeoutMs: number) => Promise<Opened>,
): void {
  describe(`connection: ${name}`, () => {
    let opened: Opened;
    beforeAll(async () => {
      opened = await open(20_000);
    });
    afterAll(() => opened?.close());

    test('knows era, version and name of the server', () => {
      const { era, protocolVersion, serverInfo, capabilities } = opened.connection.identity;
      expect({ era, protocolVersion, name: serverInfo['name'] }).toEqual({
        era: expected.era,
        protocolVersion: expected.era === 'modern' ? '2026-07-28' : '2025-11-25',
        name: expected.name,
      });
      expect(capabilities['tools']).toBeDefined();
    });

    test('lists the tools', async () => {
      const names = (await listItems(opened.connection, 'tool', never)).items.map((tool) => tool['name']);
      expect(names).toEqual(expect.arrayContaining(['echo', 'fail', 'slow', 'cancelled']));
    });

    test('returns what a tool returns', async () => {
      expect(await textOf(opened.connection, 'echo', { text: 'hällo\n"\u2028' })).toContain('hällo');
    });

    test('gives each of many concurrent callers their own answer', async () => {
      const numbers = Array.from({ length: 25 }, (_, i) => `n${i}n`);
      const answers = await Promise.all(numbers.map((text) => textOf(opened.connection, 'echo', { text })));
      answers.forEach((answer, i) => expect(answer).toContain(numbers[i]));
    });

    test('passes a tool failure on as a result', async () => {
      const reply = await call(opened.connection, 'fail');
      expect(reply).toMatchObject({ kind: 'result', result: { isError: true } });
    });

    test('passes a JSON-RPC error on as an error', async () => {
      const reply = await opened.connection.request({ method: 'no/such-method', params: {} }, never);
      expect(reply).toMatchObject({ kind: 'error', error: { code: -32601 } });
    });

    test('sends nothing for a caller who has already gone', async () => {
      const fault = await faultOf(call(opened.connection, 'echo', { text: 'late' }, AbortSignal.abort('caller left')));
      expect(fault).toMatchObject({ code: 'upstream_cancelled', dispatched: 'no' });
    });

    test('tells the server that a call was cancelled', async () => {
      const before = Number(await textOf(opened.connection, 'cancelled'));
      const caller = new AbortController();
      const pending = faultOf(call(opened.connection, 'slow', {}, caller.signal));
      await textOf(opened.connection, 'echo', { text: 'the slow one was sent before' });
      caller.abort('lock');
      expect(await pending).toMatchObject({
        code: 'upstream_cancelled',
        message: 'the request was cancelled',
        dispatched: 'unknown',
      });
      await until('the server saw it', async () => Number(await textOf(opened.connection, 'cancelled')) > before);
    });

    test('fails as a timeout when the caller had a deadline', async () => {
      const caller = new AbortController();
      const pending = faultOf(call(opened.connection, 'slow', {}, caller.signal));
      caller.abort('deadline');
      expect(await pending).toMatchObject({ code: 'upstream_timeout', dispatched: 'unknown' });
    });

    test('ends a call at the limit of the server, whatever its caller allows, and goes on working', async () => {
      const impatient = await open(800);
      const fault = await faultOf(call(impatient.connection, 'slow'));
      expect(fault).toMatchObject({ code: 'upstream_timeout', message: 'the server did not answer in time' });
      expect(await textOf(impatient.connection, 'echo', { text: 'still here' })).toContain('still here');
      await impatient.close();
    });

    test('hears that the tools changed', async ({ skip }) => {
      if (opened.changeTools === undefined) return skip('this server never changes its tools');
      let heard = 0;
      const stop = opened.connection.onChange(() => heard++);
      await until('the change was heard', async () => {
        await opened.changeTools?.();
        return heard > 0;
      });
      stop();
    });

    test('fails what is in flight when it closes, and refuses what comes after', async () => {
      const closing = await open(20_000);
      const pending = faultOf(call(closing.connection, 'slow'));
      await textOf(closing.connection, 'echo', { text: 'the slow one was sent before' });
      await closing.connection.close();
      expect(await pending).toMatchObject({ code: 'upstream_closed', dispatched: 'unknown' });
      await expect(closing.connection.closed).resolves.toMatchObject({ reason: expect.any(String) });
      expect(await faultOf(call(closing.connection, 'echo'))).toMatchObject({
        code: 'upstream_closed',
        dispatched: 'no',
      });
      await closing.close();
    });
  });
}
